# SPDX-License-Identifier: Apache-2.0
"""Records of files outlive httpd: whose a file is, and with which key it can be used, is known
after a stop and after kill -9; a gemini-balance's records count; expired ones go."""
import datetime
import hashlib
import json
import os
import shutil
import time

import pytest

import tools
from conf import KEYS, TOKEN, Conf
from google_apis import GRANULARITY, Google
from store import Database
from test_240_seal import secret as secret_file
from test_330_files import OTHER, PROXY, send, session, upload
from tools import wait_until
from wire import MODEL, Gemini

COLUMNS = ("name, mime_type, size_bytes, state, create_time, update_time, expiration_time, uri, api_key, user_token, key_id")


def digest_id(secret):
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


@pytest.fixture(scope="class")
def google():
    made = Google()
    yield made
    made.stop()


@pytest.fixture(scope="class", params=["sqlite3", "mysql"])
def kept(request, google, make_site):
    return site_with(request.param, google, make_site)


@pytest.fixture(scope="class")
def kept_in_a_file(google, make_site):
    return site_with("sqlite3", google, make_site)


def site_with(kind, google, make_site):
    db = Database(kind)
    site = make_site(Conf(keys=KEYS, tokens=(TOKEN, OTHER), upstream=google.url + "/v1beta", modules=PROXY, main=db.main,
                          claims=(r"AH00098:",)),
                     sim=False)
    site.db = db.of(site)
    site.db.await_tables()
    return site


def record(site, name):
    found = site.db.rows(f"SELECT * FROM t_file_records WHERE name = '{name}'")
    return found[0] if found else None


def await_record(site, name, there=True):
    wait_until(lambda: bool(record(site, name)) == there, f"the record of {name}", step=0.05)
    return record(site, name)


def insert(site, name, expires_in, key, token, ours):
    """A row as a gemini-balance writes it, or one of ours."""
    now = datetime.datetime.now(datetime.timezone.utc)
    times = [str(now + datetime.timedelta(seconds=s))[:19] for s in (-3600, -3600, expires_in)]
    values = [name, "text/plain", 5, "ACTIVE", *times, "https://x/" + name, digest_id(key) if ours else key,
              digest_id(token) if ours else token, digest_id(key) if ours else None]
    listed = ", ".join("NULL" if v is None else f"'{v}'" for v in values)
    site.db.run(f"INSERT INTO t_file_records ({COLUMNS}) VALUES ({listed})")


def usable(site, made, google):
    """Found with its key by its owner, hidden from others, and in the list."""
    assert site.api.get("/v1beta/" + made["name"]).status == 200
    body = {"contents": [{"parts": [{"fileData": {"fileUri": made["uri"]}}]}]}
    assert site.api.post(Gemini.path(), json=body).status == 200
    google.reset()
    Gemini.check_error(site.client_of(OTHER).get("/v1beta/" + made["name"]), 404)
    assert google.calls == []
    listed = {f["name"]: f for f in site.api.get("/v1beta/files?pageSize=100").json()["files"]}
    for member in ("mimeType", "sizeBytes", "sha256Hash", "uri", "state"):
        assert listed[made["name"]][member] == made[member]


class TestRecords:
    def test_columns(self, kept, google):
        made = upload(kept.api, b"hello", display_name="ä" * 200)
        row = await_record(kept, made["name"])
        assert row["display_name"] == "ä" * 127 and row["mime_type"] == "text/plain" and row["size_bytes"] == 5
        assert row["sha256_hash"] == made["sha256Hash"] and row["state"] == "ACTIVE" and row["uri"] == made["uri"]
        for column, member in (("create_time", "createTime"), ("expiration_time", "expirationTime")):
            assert str(row[column])[:19] == made[member][:19].replace("T", " ")
        assert row["key_id"] == row["api_key"] == digest_id(google.owner(made["name"]))
        assert row["user_token"] == digest_id(TOKEN) and row["pool"] == "default" and row["upload_completed"]

    @pytest.mark.parametrize("end", ["stop", "kill"])
    def test_known_after(self, kept, google, end):
        made = [upload(kept.api, b"data") for _ in range(4)]
        if end == "stop":
            assert kept.stop()
        else:
            kept.kill()
        kept.start()
        if kept.db.maria:        # a child reads it there, the parent asks files alone
            wait_until(lambda: len(kept.api.get("/v1beta/files?pageSize=100").json().get("files", [])) >= 4, "the records")
        for one in made:
            usable(kept, one, google)

    def test_what_a_killed_server_had_not_written(self, kept, google):
        """It stands in the spool: known with the first call, where the parent can read the database."""
        assert kept.stop()
        name = f"files/spooled{kept.db.maria is None:d}"
        google.put(name, KEYS[2], {"name": name, "state": "ACTIVE"})
        now = int(time.time() * 1000)
        line = {"made": now, "ends": now + 3600_000, "name": name, "pool": "default", "key_id": digest_id(KEYS[2]),
                "caller": digest_id(TOKEN), "file": {"name": name, "mimeType": "text/plain", "state": "ACTIVE"}}
        path = os.path.join(kept.state, "spool", "files.cur")
        with open(path, "a", encoding="ascii") as f:
            f.write("\n" + json.dumps(line)[:50] + "\n" + json.dumps(line) + "\n")       # a full disk has cut one
        if tools.AS_ROOT:
            shutil.chown(path, "www-data", "www-data")
        kept.start()
        if kept.db.maria:
            wait_until(lambda: name in str(kept.api.get("/v1beta/files?pageSize=100").json()), "it to be known")
        for _ in range(4):
            assert kept.api.get("/v1beta/" + name).status == 200
        Gemini.check_error(kept.client_of(OTHER).get("/v1beta/" + name), 404)
        assert record(kept, name)["key_id"] == digest_id(KEYS[2])

    def test_caches_and_the_like_too(self, kept, google):
        made = [kept.api.post("/v1beta/cachedContents", json={"model": f"models/{MODEL}"}).json()["name"] for _ in range(5)]
        gone = made.pop()
        assert kept.api.request("DELETE", "/v1beta/" + gone).status == 200
        kept.kill()
        kept.start()
        if kept.db.maria:
            wait_until(lambda: kept.db.value("SELECT COUNT(*) FROM gb_made") == 4, "what the spool had")
            wait_until(lambda: all(kept.api.get("/v1beta/" + name).status == 200 for name in made), "it to be known", step=1)
        for name in made:
            for _ in range(3):
                assert kept.api.get("/v1beta/" + name).status == 200
        wait_until(lambda: kept.db.value("SELECT COUNT(*) FROM gb_made") == 4, "the one that was deleted to go")

    def test_a_new_state_is_written_once(self, kept, google):
        made = upload(kept.api, b"data")
        await_record(kept, made["name"])
        google.things[made["name"]][1]["state"] = "FAILED"
        assert kept.api.get("/v1beta/" + made["name"]).status == 200
        wait_until(lambda: record(kept, made["name"])["state"] == "FAILED", "the new state")

    def test_deleted(self, kept, google):
        made = upload(kept.api, b"data")
        assert kept.api.request("DELETE", "/v1beta/" + made["name"]).status == 200
        await_record(kept, made["name"], there=False)
        kept.stop()
        kept.start()
        assert made["name"] not in [f["name"] for f in kept.api.get("/v1beta/files?pageSize=100").json().get("files", [])]

    def test_those_of_a_gemini_balance(self, kept, google):
        made = {"name": f"files/theirs{kept.db.maria is None:d}", "uri": "", "mimeType": "text/plain", "sizeBytes": "5",
                "state": "ACTIVE", "sha256Hash": None}
        made["uri"] = "https://x/" + made["name"]
        google.put(made["name"], KEYS[1], dict(made))
        insert(kept, made["name"], 3600, KEYS[1], TOKEN, ours=False)
        wait_until(lambda: record(kept, made["name"])["key_id"], "its adoption")
        wait_until(lambda: made["name"] in str(kept.api.get("/v1beta/files?pageSize=100").json()), "it to be known")
        for _ in range(4):
            assert kept.api.get("/v1beta/" + made["name"]).status == 200
        Gemini.check_error(kept.client_of(OTHER).get("/v1beta/" + made["name"]), 404)


class TestSessions:
    """An upload that was begun before a stop goes on after it."""

    @pytest.mark.parametrize("secret", [False, True], ids=["a secret of its own", "GBalanceSecretFile"])
    @pytest.mark.parametrize("end", ["stop", "kill"])
    def test_goes_on(self, google, make_site, secret, end):
        site = make_site(Conf(keys=KEYS, tokens=(TOKEN, OTHER), upstream=google.url + "/v1beta", modules=PROXY,
                              claims=(r"AH00098:",)), sim=False, start=False)
        site.configure(main=f"GBalanceSecretFile {secret_file(site, 'one')}" if secret else "")
        site.start()
        data = os.urandom(GRANULARITY + 5)
        address = session(site.api, len(data))
        assert send(site.api, address, data[:GRANULARITY], command="upload").status == 200
        site.stop() if end == "stop" else site.kill()
        site.start()
        kept_in = os.path.join(site.state, "signing.secret")
        assert os.path.exists(kept_in) != secret
        if not secret:
            assert os.stat(kept_in).st_mode & 0o777 == 0o600 and os.stat(kept_in).st_uid == os.stat(site.state).st_uid
        Gemini.check_error(send(site.client_of(OTHER), address, b"", command="query", anonymous=False), 404)
        answer = send(site.api, address, b"", command="query")
        assert answer.status == 200 and answer.headers.get("X-Goog-Upload-Size-Received") == str(GRANULARITY)
        answer = send(site.api, address, data[GRANULARITY:], GRANULARITY)
        assert answer.json()["file"]["sha256Hash"] == hashlib.sha256(data).hexdigest()

    def test_a_damaged_secret_is_said(self, google, make_site):
        site = make_site(Conf(keys=KEYS, upstream=google.url + "/v1beta", modules=PROXY,
                              claims=(r"GB8102: .*signing\.secret must hold exactly 32 bytes",)), sim=False, start=False)
        with open(os.path.join(site.state, "signing.secret"), "wb") as f:
            f.write(b"short")
        site.start()
        upload(site.api, b"data")
        assert b"GB8102" in site.all_logs()


def await_round(kept):
    wait_until(lambda: kept.db.value("SELECT COUNT(*) FROM gb_meta WHERE name = 'files_cleanup default'"), "the end of a round")


class TestCleanup:
    def test_expired_ones_go_here_and_at_google(self, kept, google):
        await_round(kept)  # else that may take the file, and be stopped before it asks Google
        google.put("files/old1", KEYS[2], {"name": "files/old1"})
        insert(kept, "files/old1", -60, KEYS[2], TOKEN, ours=True)
        insert(kept, "files/young1", 600, KEYS[2], TOKEN, ours=True)
        assert kept.stop()
        kept.db.run("DELETE FROM gb_meta WHERE name LIKE 'files_cleanup%'")
        google.reset()
        kept.start()
        await_record(kept, "files/old1", there=False)
        wait_until(lambda: "files/old1" not in google.things, "the file to go at Google")
        (call,) = [c for c in google.calls if c["method"] == "DELETE"]
        assert call["key"] == KEYS[2] and record(kept, "files/young1")


class TestRounds:
    @pytest.fixture(scope="class")
    @classmethod
    def kept(cls, kept_in_a_file):
        return kept_in_a_file

    def test_not_before_its_hour(self, kept, google):
        await_round(kept)
        insert(kept, "files/old2", -60, KEYS[2], TOKEN, ours=True)
        google.put("files/after", KEYS[0], {})
        insert(kept, "files/after", 600, KEYS[0], TOKEN, ours=True)
        wait_until(lambda: "files/after" in str(kept.api.get("/v1beta/files?pageSize=100").json()), "a step that looks at files")
        assert record(kept, "files/old2")

    def test_switched_off(self, kept, google):
        kept.stop()
        kept.db.run("DELETE FROM gb_meta WHERE name LIKE 'files_cleanup%'")
        kept.conf.main = kept.db.main + "\nGBalanceFilesCleanupEnabled Off"
        kept.start()
        insert(kept, "files/later", 600, KEYS[0], TOKEN, ours=True)
        wait_until(lambda: "files/later" in str(kept.api.get("/v1beta/files?pageSize=100").json()), "a step that looks at files")
        assert record(kept, "files/old2")
