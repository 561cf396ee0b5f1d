# SPDX-License-Identifier: Apache-2.0
"""The database behind a site: SQLite in its state directory, or one on a private
MariaDB server that the test run starts when it is first asked for.
"""
import contextlib
import os
import pwd
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

import tools
from tools import wait_until


@contextlib.contextmanager
def servers_user():
    """What SQLite makes beside its file has to be the server's, also when it is us who open it first."""
    if not tools.AS_ROOT:
        yield
        return
    os.seteuid(pwd.getpwnam("www-data").pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


class Sqlite:
    """The file of a site."""

    kind = "sqlite3"

    def __init__(self, path):
        self.path = path

    def rows(self, sql, *args):
        with servers_user(), contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=10)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql, args)]

    def run(self, sql, *args):
        with servers_user(), contextlib.closing(sqlite3.connect(self.path, timeout=10)) as db, db:
            db.execute(sql, args)


class MariaServer:
    """A private server, started once."""

    one = None

    @classmethod
    def get(cls):
        if cls.one is None:
            cls.one = cls()
        return cls.one

    def __init__(self):
        if not shutil.which("mariadbd"):
            if tools.CI:
                raise FileNotFoundError("mariadbd: CI runs with a MariaDB server (mariadb-server-core)")
            import pytest
            pytest.skip("no MariaDB server (mariadb-server-core)")
        self.folder = tempfile.mkdtemp(prefix="gbalance-maria-")
        os.chmod(self.folder, 0o755)
        self.socket = os.path.join(self.folder, "sock")
        self.port = tools.free_port()
        self.user = ["--user=root"] if tools.AS_ROOT else []
        self.databases = 0
        self.proc = None
        tools.run(["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal",
                   "--skip-test-db", "--skip-name-resolve", "--force", f"--datadir={self.folder}/data", *self.user], timeout=120)
        self.start()
        self.run("CREATE USER 'gb'@'%' IDENTIFIED BY 'gb-test-word'")
        self.run("CREATE USER 'gb'@'localhost' IDENTIFIED BY 'gb-test-word'")

    def start(self):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.proc = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "mariadbd", "--no-defaults", f"--datadir={self.folder}/data",
                 f"--socket={self.socket}", f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve",
                 f"--pid-file={self.folder}/pid", "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2",
                 *self.user], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self.answers, "the MariaDB server to answer", timeout=60)

    def answers(self):
        return tools.run(["mariadb-admin", "--no-defaults", "-u", "root", "-S", self.socket, "ping"]).returncode == 0

    def kill(self):
        self.proc.kill()
        self.proc.wait(10)

    def hang(self):
        self.proc.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.proc.send_signal(signal.SIGCONT)

    def run(self, sql, database=""):
        argv = ["mariadb", "--no-defaults", "-u", "root", "-S", self.socket, "--batch", "--default-character-set=utf8mb4"]
        done = subprocess.run(argv + ([database] if database else []), input=sql, text=True, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def database(self):
        self.databases += 1
        name = f"site{self.databases}"
        self.run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4; GRANT ALL ON {name}.* TO 'gb'@'%'; "
                 f"GRANT ALL ON {name}.* TO 'gb'@'localhost'")
        return Maria(self, name)

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.go_on()
            self.proc.terminate()
            self.proc.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)


class Maria:
    """One database of that server."""

    kind = "mysql"

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.conf = f"mysql:host=127.0.0.1,port={server.port},user=gb,pass=gb-test-word,dbname={name}"

    def rows(self, sql, *args):
        assert not args
        lines = self.server.run(sql, self.name).splitlines()
        names = lines[0].split("\t") if lines else []
        return [{name: self._value(text) for name, text in zip(names, line.split("\t"))} for line in lines[1:]]

    @staticmethod
    def _value(text):
        if text == "NULL":
            return None
        if text.lstrip("-").isdigit() and len(text) < 19:
            return int(text)
        return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t", "0": "\0"}.get(m[1], m[1]), text)

    def run(self, sql, *args):
        assert not args
        self.server.run(sql, self.name)


class Database:
    """What a test asks of a site's database, whatever its kind."""

    def __init__(self, kind):
        self.maria = MariaServer.get().database() if kind == "mysql" else None
        self.site = None

    @property
    def main(self):
        """The directive."""
        return f'GBalanceDatabase "{self.maria.conf}"' if self.maria else ""

    def of(self, site):
        self.site = site
        return self

    @property
    def _db(self):
        return self.maria or Sqlite(os.path.join(self.site.state, "gbalance.db"))

    def rows(self, sql, *args):
        return self._db.rows(sql, *args)

    def run(self, sql, *args):
        return self._db.run(sql, *args)

    def value(self, sql):
        found = self.rows(sql)
        return list(found[0].values())[0] if found else None

    def await_tables(self):
        """A child makes them when it first reaches the server."""
        files = len(os.listdir(os.path.join(tools.SRCDIR, "schema", "sqlite3")))

        def there():
            try:
                return self.value("SELECT COUNT(*) FROM gb_schema WHERE step = 0") == files
            except (sqlite3.Error, AssertionError):
                return False
        wait_until(there, "the tables of the database", step=0.1)

    def await_rows(self, count, table="t_request_log", timeout=15):
        def there():
            try:
                return self.value(f"SELECT COUNT(*) FROM {table}") == count
            except (sqlite3.Error, AssertionError):
                return False
        try:
            wait_until(there, f"{count} rows in {table}", timeout, step=0.1)
        except AssertionError as e:
            raise AssertionError(f"{e}: {self.value(f'SELECT COUNT(*) FROM {table}')}") from None
        return self.rows(f"SELECT * FROM {table} ORDER BY at, id")


    def await_attempts(self, site, unseen=("service",), timeout=30):
        """Every attempt that the upstream has seen gets exactly one row; a row that it has not seen is of an attempt
        that did not reach it.  Rows by request id and number."""
        site.sim.wait_quiet()
        seen = [call["request_id"] for call in site.sim.calls()]
        assert len(seen) == len(set(seen)) > 100

        def named():
            rows = self.rows("SELECT request_id, attempt, class, uid FROM t_request_log")
            found = {f"{row['request_id']}.{row['attempt']}": row for row in rows}
            assert len(found) == len(rows) == len({row["uid"] for row in rows})
            return found
        wait_until(lambda: not set(seen) - set(named()), "a row of every attempt", timeout, step=0.3)
        found = named()
        classes = {found[name]["class"] for name in set(found) - set(seen)}
        assert classes <= set(unseen), classes
        return found


def settled(seconds=0.5):
    """Time for the journal's writer: it is at most 1 s behind."""
    time.sleep(seconds)
