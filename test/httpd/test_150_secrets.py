# SPDX-License-Identifier: Apache-2.0
"""No key and no token in any log, error or file, at any log level."""
import os

import pytest

from conf import KEYS, TOKEN, Conf
from wire import SURFACES, Gemini, OpenAI, ask, begin

SECRETS = [*KEYS, TOKEN, "sk-client-sent-this-wrong-one"]


class TestSecrets:
    CONF = Conf(keys=KEYS, main="GBalanceLogLevel DEBUG", log_level="info gbalance:trace8 gbalance_keys:trace8 gbalance_openai:trace8 "
                "gbalance_gemini:trace8", claims=(r"GB\d{4}:",))

    def everything(self, site):
        """One of each kind of request, good and bad; gives the bodies of all errors."""
        sim, errors = site.sim, []
        for surface in SURFACES:
            for stream in (False, True):
                ask(site, surface, stream=stream)
                errors.append(ask(site, surface, stream=stream, headers={"Authorization": f"Bearer {SECRETS[-1]}"}))
        for query in (f"key={TOKEN}", f"key={SECRETS[-1]}", f"a=1&key={TOKEN}", f"%6bey={TOKEN}&key={TOKEN}"):
            site.api.get(f"/v1beta/models?{query}", anonymous=True)
            errors.append(site.api.get(f"/v1beta/nothing?{query}", anonymous=True))
        for kind in ("suspended", "key_invalid", "leaked", "quota_day"):
            sim.reset()
            sim.fault(kind, count=3)
            for surface in SURFACES:
                errors.append(ask(site, surface))
        sim.reset()
        sim.fault("midstream_error", after=2, message=f"key={KEYS[2]} is bad, api_key:{KEYS[0]}")
        errors.append(begin(site, OpenAI, "[[chunks=5 interval=5]]"))
        errors[-1].read()
        return errors

    def test_nowhere(self, site):
        errors = self.everything(site)
        site.graceful()
        logs = site.all_logs()
        assert b"POST /v1/chat/completions" in logs
        for secret in SECRETS:
            assert secret.encode() not in logs, f"{secret} is in a log"
            for answer in errors:
                assert secret.encode() not in answer.body, f"{secret} is in {answer}"
                assert secret not in str(list(answer.headers))

    def test_not_on_the_command_line_nor_in_the_environment(self, site):
        seen = 0
        for pid in site.processes():
            for name in ("cmdline", "environ"):
                try:
                    with open(f"/proc/{pid}/{name}", "rb") as f:
                        text = f.read()
                except OSError:
                    continue            # a spare child that the MPM has ended meanwhile
                seen += 1
                assert not any(s.encode() in text for s in SECRETS)
        assert seen >= 2

    def test_state_files_are_private(self, site):
        for folder, _, names in os.walk(site.state):
            for name in names:
                assert os.stat(os.path.join(folder, name)).st_mode & 0o007 == 0, name

    def test_the_status_page_has_none(self, site):
        for query in ("", "?auto"):
            page = site.plain.get("/server-status" + query).text
            assert not any(s in page for s in SECRETS)

    @pytest.mark.parametrize("args", [f"key={TOKEN}", f"x=1&key={TOKEN}"])
    def test_a_running_request_shows_none(self, site, args):
        """The scoreboard keeps request lines while they run."""
        answer = site.api.open("POST", f"{Gemini.path(True)}&{args}", headers={"Authorization": ""},
                               json=Gemini.body("[[chunks=20 interval=50 seq]]"))
        page = site.plain.get("/server-status").text
        answer.conn.close()
        assert TOKEN not in page
