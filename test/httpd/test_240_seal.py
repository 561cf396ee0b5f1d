# SPDX-License-Identifier: Apache-2.0
"""Secrets at rest: sealed with GBalanceSecretFile, opened with nothing else."""
import base64
import os
import shutil

import pytest

from conf import Conf
from store import Database
from test_230_config import ADMIN, MOUNT, admin, put
from tools import wait_until
from wire import Gemini, OpenAI, ask

WORD = "picture-host-word-0123456789"
REFUSED = (r"GB8031: .*answer 503",)


def secret(site, name, content=None):
    path = os.path.join(site.root, name)
    with open(path, "wb") as f:
        f.write(os.urandom(32) if content is None else content)
    os.chmod(path, 0o600)
    return path


@pytest.fixture(params=["sqlite3", "mysql"])
def sealed(request, make_site):
    """A site with a secret file and something sealed."""
    db = Database(request.param)
    site = make_site(Conf(api=MOUNT, claims=REFUSED), start=False)
    site.conf.main = f"{db.main}\nGBalanceSecretFile {secret(site, 'one')}"
    site.start()
    site.db = db.of(site)
    site.db.await_tables()
    put(site, SMMS_SECRET_TOKEN=WORD, MAX_RETRIES=4)
    return site


def stored(site, key="SMMS_SECRET_TOKEN"):
    return site.db.value(f"SELECT value FROM t_settings WHERE `key` = '{key}'")


def shown(site):
    return admin(site, "POST", "/reveal", json={"names": ["SMMS_SECRET_TOKEN"]})["SMMS_SECRET_TOKEN"]


def await_refusal(site):
    """A MySQL server may hang, so not the parent but the first child that reaches it finds out."""
    wait_until(lambda: site.db.maria is None or ask(site, OpenAI).status == 503, "the secret to be refused")


def test_nothing_is_in_clear_on_disk(sealed):
    site = sealed
    assert stored(site).startswith("gb1:") and str(stored(site, "MAX_RETRIES")) == "4"
    assert shown(site) == WORD
    assert site.stop()
    assert WORD.encode() not in site.all_logs()
    site.start()
    assert shown(site) == WORD


def snapshot(site):
    """The copy for a start without the database."""
    with open(os.path.join(site.state, "settings.snapshot"), "rb") as f:
        return f.read()


@pytest.mark.parametrize("kind", ["sqlite3", "mysql"])
def test_clear_values_are_sealed_on_the_first_start(make_site, kind):
    db = Database(kind)
    site = make_site(Conf(api=MOUNT, main=db.main))
    site.db = db.of(site)
    site.db.await_tables()
    put(site, SMMS_SECRET_TOKEN=WORD)
    assert stored(site) == WORD and WORD.encode() in base64.b64decode(snapshot(site))
    site.configure(main=f"{db.main}\nGBalanceSecretFile {secret(site, 'one')}")
    site.graceful()
    wait_until(lambda: stored(site).startswith("gb1:") and shown(site) == WORD, "the value to be sealed")
    wait_until(lambda: snapshot(site).startswith(b"gb1:"), "the copy to be sealed, too")
    assert site.log.matching("GB6022")
    first = snapshot(site)
    site.configure(main=f"{db.main}\nGBalanceSecretFile {secret(site, 'two')} {site.root}/one")
    site.graceful()
    wait_until(lambda: snapshot(site) != first, "the copy to be sealed anew")


@pytest.mark.parametrize("content", [None, b"short", b""], ids=["another", "short", "empty"])
def test_a_wrong_secret(sealed, content):
    """503 that says why; what is sealed stays as it is; with the right one all is well again."""
    site, before = sealed, stored(sealed)
    right = site.conf.main
    site.configure(main=f"{site.db.main}\nGBalanceSecretFile {secret(site, 'wrong', content)}")
    assert site.configtest().returncode == 0
    site.graceful()
    await_refusal(site)
    for surface in (OpenAI, Gemini):
        error = surface.check_error(ask(site, surface), 503)
        assert "secret" in error["message"]
    assert "secret" in admin(site, "GET", status=503)["error"]["message"]
    assert site.plain.get("/").status == 200
    assert stored(site) == before
    site.configure(main=right)
    site.graceful()
    wait_until(lambda: ask(site, OpenAI).status == 200, "the site to serve again")
    assert shown(site) == WORD


@pytest.mark.parametrize("line", ["GBalanceSecretFile /nonexistent/secret", ""], ids=["missing", "not-named"])
def test_no_secret(sealed, line):
    site, before = sealed, stored(sealed)
    site.log.claim("GB8052")
    site.configure(main=f"{site.db.main}\n{line}")
    assert site.stop()
    site.start()
    await_refusal(site)
    error = OpenAI.check_error(ask(site, OpenAI), 503)
    assert "secret" in error["message"] and stored(site) == before


def test_a_missing_file_that_comes_back(sealed):
    """No restart is needed where the server's user may read it."""
    site = sealed
    path, away = os.path.join(site.root, "one"), os.path.join(site.root, "away")
    os.rename(path, away)
    site.graceful()
    assert ask(site, OpenAI).status == 503
    shutil.copy(away, path)
    os.chmod(path, 0o644)
    wait_until(lambda: ask(site, OpenAI).status == 200, "the site to serve again", timeout=15)
    assert shown(site) == WORD


def test_a_new_secret(sealed):
    """Named with the one before, everything is sealed anew; then the old one opens nothing."""
    site, before = sealed, stored(sealed)
    site.configure(main=f"{site.db.main}\nGBalanceSecretFile {secret(site, 'two')} {site.root}/one")
    site.graceful()
    assert shown(site) == WORD and stored(site) != before
    site.configure(main=f"{site.db.main}\nGBalanceSecretFile {site.root}/two")
    site.graceful()
    assert shown(site) == WORD
    history = admin(site, "GET", "/history")["changes"]
    back = next(c["id"] for c in history if c["action"] == "save")
    assert admin(site, "POST", "/restore", json={"change": back})["SMMS_SECRET_TOKEN"] == ""
    site.configure(main=f"{site.db.main}\nGBalanceSecretFile {site.root}/one")
    site.graceful()
    await_refusal(site)
    assert ask(site, OpenAI).status == 503


@pytest.mark.parametrize("sealed", ["sqlite3"], indirect=True)
def test_the_copy_for_a_start_without_the_database(sealed):
    """It is sealed, too."""
    site = sealed
    site.log.claim(r"GB8031: .*gbalance goes on")
    assert site.stop()
    shutil.move(os.path.join(site.state, "gbalance.db"), os.path.join(site.state, "away.db"))
    for suffix in ("-wal", "-shm"):
        if os.path.exists(os.path.join(site.state, "gbalance.db" + suffix)):
            os.unlink(os.path.join(site.state, "gbalance.db" + suffix))
    os.makedirs(os.path.join(site.state, "gbalance.db"))        # nothing can be opened there
    site.start()
    assert admin(site, "GET")["MAX_RETRIES"] == 4 and shown(site) == WORD
    assert ADMIN not in site.log.text()
