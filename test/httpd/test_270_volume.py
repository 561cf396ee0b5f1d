# SPDX-License-Identifier: Apache-2.0
"""Many rows: figures stay fast, and deleting most of them delays nobody.  With
GB_SOAK=1 a million rows.  That no question reads a whole table is
test_store_stats.c's business.
"""
import time

from conf import Conf
from load import Case, load
from rows import DAY, Rows, fill
from store import Database
from test_230_config import ADMIN, MOUNT, put
from test_250_adopt import zone_at_night
from tools import SOAK, soak, wait_until
from wire import OpenAI

ROWS = soak(30_000, 1_000_000)

FIGURES = [
    "/api/stats/attention-keys", "/api/stats/attention-keys?status_code=200", "/api/key-usage-details/key00007",
    "/api/stats/key-details?period=24h&key_id=key00007", "/api/stats/details?period=1m",
    "/api/logs/errors?limit=50", "/api/logs/errors?limit=50&key_search=key00007", "/api/logs/errors?limit=50&error_code_search=429",
]


def old_and_new(count):
    """Nine of ten rows are older than what is kept."""
    now = int(time.time() * 1000)
    return now, Rows(count, lambda n: now - (40 * DAY if n < count * 9 // 10 else DAY) + n, [f"key{n:05}" for n in range(500)])


class TestVolume:
    CONF = Conf(api=MOUNT, claims=(r"GB8031: .*locked",),
                main=f"GBalanceTimezone {zone_at_night()}\nGBalanceAutoDeleteRequestLogsEnabled Off\nGBalanceAutoDeleteErrorLogsEnabled Off")

    def p99(self, site):
        report = load(site.port, [Case("POST", OpenAI.path(), OpenAI.body("x"))], token=site.api.token, connections=8,
                      rate=200, duration=soak(2, 30))
        assert set(report.statuses) == {"200"} and report.failed == 0
        return report.latency_us["p99"]

    def slowest_figure(self, site):
        slowest = 0
        for path in FIGURES:
            for _ in range(3):      # the last of them counts: nobody else has the disk then
                began = time.monotonic()
                answer = site.api.request("GET", path, token=ADMIN)
                took = time.monotonic() - began
            assert answer.status == 200, answer.text
            slowest = max(slowest, took)
        return slowest

    def test_figures_and_deletion(self, site):
        db = Database("sqlite3").of(site)
        db.await_tables()
        now, rows = old_and_new(ROWS)
        fill(site, rows)
        slowest = self.slowest_figure(site)
        print(f"{ROWS} rows: the slowest figure takes {slowest * 1000:.1f} ms")
        quiet = min(self.p99(site), self.p99(site))
        db.run("DELETE FROM gb_meta WHERE name LIKE 'retention_day%'")
        put(site, AUTO_DELETE_REQUEST_LOGS_ENABLED=True)
        wait_until(lambda: db.value("SELECT COUNT(*) FROM t_request_log WHERE uid = 'fill1'") == 0, "the deletion to begin", timeout=20)
        busy = self.p99(site)
        wait_until(lambda: db.value("SELECT MIN(at) FROM t_request_log") > now - 2 * DAY, "the deletion to end",
                   timeout=soak(60, 1200), step=0.5)
        print(f"p99 of calls: {quiet} us before, {busy} us while rows were deleted")
        assert db.value("SELECT COUNT(*) FROM t_request_log WHERE uid LIKE 'fill%'") == ROWS - ROWS * 9 // 10
        assert db.value("SELECT SUM(attempts) FROM gb_totals WHERE period = 86400 AND part = 'all'") >= ROWS
        if SOAK:
            assert slowest < 0.05
            assert busy < 1.5 * quiet
