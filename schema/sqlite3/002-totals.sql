-- SPDX-License-Identifier: Apache-2.0
--
-- The roll-ups as the pages ask for them: narrow sums of everything, of each key and of
-- each caller, and counts by class, status and latency beside them.  They take the place
-- of gb_rollup, which had a row for every key with every caller.

-- step: gb_totals
CREATE TABLE IF NOT EXISTS gb_totals (
    period INTEGER NOT NULL,
    part VARCHAR(8) NOT NULL,
    start BIGINT NOT NULL,
    pool VARCHAR(32) NOT NULL,
    name VARCHAR(100) NOT NULL,
    model VARCHAR(100) NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    failures BIGINT NOT NULL DEFAULT 0,
    quota BIGINT NOT NULL DEFAULT 0,
    calls BIGINT NOT NULL DEFAULT 0,
    successes BIGINT NOT NULL DEFAULT 0,
    call_failures BIGINT NOT NULL DEFAULT 0,
    prompt_tokens BIGINT NOT NULL DEFAULT 0,
    completion_tokens BIGINT NOT NULL DEFAULT 0,
    thought_tokens BIGINT NOT NULL DEFAULT 0,
    cached_tokens BIGINT NOT NULL DEFAULT 0,
    latency_ms BIGINT NOT NULL DEFAULT 0,
    first_byte_ms BIGINT NOT NULL DEFAULT 0,
    first_bytes BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (period, part, start, pool, name, model)
) WITHOUT ROWID

-- step: index of gb_totals: part, name, period, start
CREATE INDEX gb_totals_name ON gb_totals (part, name, period, start)

-- step: gb_tally
CREATE TABLE IF NOT EXISTS gb_tally (
    period INTEGER NOT NULL,
    part VARCHAR(8) NOT NULL,
    kind VARCHAR(8) NOT NULL,
    start BIGINT NOT NULL,
    pool VARCHAR(32) NOT NULL,
    value VARCHAR(20) NOT NULL,
    name VARCHAR(100) NOT NULL,
    model VARCHAR(100) NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    calls BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (period, part, kind, start, pool, value, name, model)
) WITHOUT ROWID

-- step: index of gb_tally: part, name, period, start
CREATE INDEX gb_tally_name ON gb_tally (part, name, period, start)

-- step: totals of gb_rollup
INSERT OR IGNORE INTO gb_totals (period, part, start, pool, name, model, attempts, failures, calls,
    successes, call_failures, prompt_tokens, completion_tokens, thought_tokens, cached_tokens,
    latency_ms, first_byte_ms, first_bytes)
SELECT period, 'all', start, pool, '', model, SUM(attempts), SUM(failures), SUM(calls),
    SUM(calls) - SUM(call_failures), SUM(call_failures), SUM(prompt_tokens),
    SUM(completion_tokens), SUM(thought_tokens), SUM(cached_tokens), SUM(latency_ms),
    SUM(first_byte_ms), SUM(first_bytes)
FROM gb_rollup GROUP BY period, start, pool, model

-- step: keys of gb_rollup
INSERT OR IGNORE INTO gb_totals (period, part, start, pool, name, model, attempts, failures, calls,
    successes, call_failures, prompt_tokens, completion_tokens, thought_tokens, cached_tokens,
    latency_ms, first_byte_ms, first_bytes)
SELECT period, 'key', start, pool, key_id, model, SUM(attempts), SUM(failures), SUM(calls),
    SUM(calls) - SUM(call_failures), SUM(call_failures), SUM(prompt_tokens),
    SUM(completion_tokens), SUM(thought_tokens), SUM(cached_tokens), SUM(latency_ms),
    SUM(first_byte_ms), SUM(first_bytes)
FROM gb_rollup GROUP BY period, start, pool, key_id, model

-- step: callers of gb_rollup
INSERT OR IGNORE INTO gb_totals (period, part, start, pool, name, model, attempts, failures, calls,
    successes, call_failures, prompt_tokens, completion_tokens, thought_tokens, cached_tokens,
    latency_ms, first_byte_ms, first_bytes)
SELECT period, 'caller', start, pool, caller, model, SUM(attempts), SUM(failures), SUM(calls),
    SUM(calls) - SUM(call_failures), SUM(call_failures), SUM(prompt_tokens),
    SUM(completion_tokens), SUM(thought_tokens), SUM(cached_tokens), SUM(latency_ms),
    SUM(first_byte_ms), SUM(first_bytes)
FROM gb_rollup GROUP BY period, start, pool, caller, model

-- step: without gb_rollup
DROP TABLE gb_rollup
