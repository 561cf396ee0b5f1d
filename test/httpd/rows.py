# SPDX-License-Identifier: Apache-2.0
"""Many rows at once: log rows written straight into a site's SQLite file, and the
roll-ups that the server would have made of them.
"""
import dataclasses
import functools
import os
import sqlite3
import time

DAY = 86_400_000
MODELS, CALLERS = 7, 40
TOKENS = 10, 20             # of each prompt, of each answer
FAILS = 50                  # every fiftieth met a limit
BATCH = 10_000              # rows of a transaction, so that the server's own writer has its turn

REQUESTS = ("INSERT INTO t_request_log (uid, at, is_success, status_code, latency_ms, first_byte_ms, pool, key_id, api_key, model_name, "
            "class, caller, request_id, attempt, surface, operation, prompt_tokens, completion_tokens) VALUES "
            f"(?, ?, ?, ?, ?, ?, 'default', ?, 'AIza…0001', ?, ?, ?, ?, 1, 'openai', 'chat', {TOKENS[0]}, {TOKENS[1]})")
ERRORS = ("INSERT INTO t_error_logs (uid, at, pool, key_id, gemini_key, model_name, error_type, error_code, error_log, request_id) "
          "VALUES (?, ?, 'default', ?, 'AIza…0001', ?, 'openai-chat-non-stream', 429, 'quota', ?)")

# Seconds, and which parts have rows of that length: as modules/store/totals.c has it.
PERIODS = ((60, ("all",)), (3600, ("all", "key", "caller")), (86400, ("all", "key", "caller")))
NAMES = {"all": "''", "key": "key_id", "caller": "caller"}
# Kind, its value, which rows, which parts, whether of these by model, from which length on.
TALLIES = (("class", "class", "1", ("all", "key", "caller"), 60), ("status", "status_code", "1", ("all", "key"), 3600),
           ("latency", "gb_bucket(latency_ms)", "is_success", ("all",), 60),
           ("first", "gb_bucket(first_byte_ms)", "is_success", ("all",), 60))


@dataclasses.dataclass
class Rows:
    """What is to be written: `at` gives the time of the nth row, in milliseconds."""
    count: int
    at: object
    keys: list

    def requests(self, numbers):
        for n in numbers:
            fails = n % FAILS == 0
            yield (f"fill{n}", self.at(n), not fails, 429 if fails else 200, 5 + n % 900, 3 + n % 400, self.keys[n % len(self.keys)],
                   f"model-{n % MODELS}", "quota" if fails else "success", f"caller{n % CALLERS}", f"call{n}")

    def errors(self, numbers):
        for n in numbers:
            if n % FAILS == 0:
                yield f"fill{n}", self.at(n), self.keys[n % len(self.keys)], f"model-{n % MODELS}", f"call{n}"


@functools.cache
def bucket(ms):
    """gb_bucket_of()."""
    if ms < 4:
        return ms
    power = ms.bit_length() - 1
    return min((power - 1) * 4 + (ms >> (power - 2) & 3), 95)


def add_totals(db, period, part):
    db.execute(f"""
        INSERT INTO gb_totals (period, part, start, pool, name, model, attempts, failures, quota, calls, successes, call_failures,
                               prompt_tokens, completion_tokens, latency_ms, first_byte_ms, first_bytes)
        SELECT {period}, '{part}', at / {period}000 * {period} AS start, pool, {NAMES[part]} AS name, model_name,
               COUNT(*), COUNT(*) - SUM(is_success), SUM(status_code = 429), COUNT(*), SUM(is_success), COUNT(*) - SUM(is_success),
               SUM(prompt_tokens), SUM(completion_tokens), SUM(is_success * latency_ms), SUM(is_success * first_byte_ms), SUM(is_success)
        FROM t_request_log WHERE uid LIKE 'fill%' GROUP BY start, pool, name, model_name""")


def add_tallies(db, period, part, kind, value, where):
    model = "model_name" if part == "all" else "''"
    db.execute(f"""
        INSERT INTO gb_tally (period, part, kind, start, pool, value, name, model, attempts, calls)
        SELECT {period}, '{part}', '{kind}', at / {period}000 * {period} AS start, pool, {value} AS counted, {NAMES[part]} AS name,
               {model} AS model, COUNT(*), COUNT(*)
        FROM t_request_log WHERE uid LIKE 'fill%' AND {where} GROUP BY start, pool, counted, name, model""")


def fill(site, rows):
    """The server may run; days are those of UTC."""
    with sqlite3.connect(os.path.join(site.state, "gbalance.db"), timeout=60) as db:
        db.create_function("gb_bucket", 1, bucket, deterministic=True)
        db.execute("PRAGMA synchronous=OFF")
        db.execute("PRAGMA cache_size=-262144")
        for first in range(0, rows.count, BATCH):
            numbers = range(first, min(first + BATCH, rows.count))
            db.executemany(REQUESTS, rows.requests(numbers))
            db.executemany(ERRORS, rows.errors(numbers))
            db.commit()
        for period, parts in PERIODS:
            for part in parts:
                add_totals(db, period, part)
                db.commit()
                for kind, value, where, counted, least in TALLIES:
                    if part in counted and period >= least:
                        add_tallies(db, period, part, kind, value, where)
                        db.commit()
    db.close()


def lately(count, keys):
    """Half of them within twelve hours, the others 2 to 29 days ago: what the last 24 hours had does not change while a test looks."""
    now, half = int(time.time() * 1000), count // 2
    return Rows(count, lambda n: now - 600_000 - (n * DAY // 2 // half if n < half else 2 * DAY + (n - half) * 27 * DAY // half), keys)
