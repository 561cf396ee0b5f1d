# SPDX-License-Identifier: Apache-2.0
"""What conf.d ships, tried on the real httpd: it loads, every directive of the
modules stands in it and in the README, every commented default is a value that
httpd takes, and a wrong one stops `httpd -t` with a sentence.
"""
import os
import pathlib
import re
import subprocess
import tempfile

HTTPD_MODULES = ["mpm_event", "authn_core", "authz_core", "unixd", "log_config", "logio", "watchdog"]


class Site:
    """A private configuration in a folder of its own."""

    def __init__(self, env, root):
        self.env, self.root = env, pathlib.Path(root)
        (self.root / "run").mkdir()

    def own_modules(self):
        lines = []
        for name in HTTPD_MODULES:
            path = f"{self.env.libexecdir}/mod_{name}.so"
            if os.path.exists(path):
                lines.append(f"<IfModule !{name}_module>\nLoadModule {name}_module {path}\n</IfModule>")
        if os.geteuid() == 0:
            lines.append("User www-data\nGroup www-data")
        return "\n".join(lines)

    def run(self, main, *options):
        conf = self.root / "httpd.conf"
        conf.write_text(f"""{self.own_modules()}
ServerRoot {self.root}
ServerName localhost
DefaultRuntimeDir {self.root}/run
PidFile {self.root}/run/httpd.pid
ErrorLog {self.root}/error.log
Define GB_MODULES {self.env.build}/.libs
Define GB_CONF {self.env.srcdir}/conf.d
{main}
""")
        env = {"PATH": os.environ["PATH"]}
        return subprocess.run([self.env.httpd, "-f", conf, *(options or ["-t"])], env=env,
                              capture_output=True, text=True, timeout=60)


INCLUDES = 'Include "${GB_CONF}/gbalance.conf"\n'
SITE = INCLUDES + 'Include "${GB_CONF}/gbalance-site.conf"\n'


def accepted(result):
    return [] if result.returncode == 0 else result.stderr.strip().splitlines()[-3:]


def directives(env, site):
    """Names of all directives that our modules register."""
    text = site.run(INCLUDES, "-L").stdout
    return sorted(set(re.findall(r"^(GBalance\w*) \(mod_gbalance", text, flags=re.M)))


def undocumented(env, names):
    confs = "\n".join(path.read_text() for path in (env.srcdir / "conf.d").glob("*.conf"))
    problems = []
    for name in names:
        if not re.search(rf"^\s*#?{name} ", confs, flags=re.M):
            problems.append(f"{name} has no entry in conf.d")
        if not re.search(rf"`{name}[ `]", (env.srcdir / "README.md").read_text()):
            problems.append(f"{name} has no row in README.md")
    return problems


def refused(site, line, *words):
    result = site.run(SITE + line)
    if result.returncode == 0:
        return [f"httpd -t accepts: {line}"]
    return [f"{line}: the message does not say {word!r}: {result.stderr.strip()}"
            for word in words if word not in result.stderr]


def checks(env):
    with tempfile.TemporaryDirectory() as tmp:
        site = Site(env, tmp)
        yield "conf.d: the ready site loads", accepted(site.run(SITE))
        yield ("conf.d: two VirtualHosts take the API, one below a prefix",
               accepted(site.run(INCLUDES + """Listen 127.0.0.1:9
<VirtualHost 127.0.0.1:9>
ServerName a
GBalance On
Define GB_PREFIX /llm
Include "${GB_CONF}/gbalance-api.conf"
UnDefine GB_PREFIX
</VirtualHost>
<VirtualHost 127.0.0.1:9>
ServerName b
GBalance On
Include "${GB_CONF}/gbalance-api.conf"
</VirtualHost>""")))
        names = directives(env, site)
        yield ("conf.d: every directive has an entry and a row in the README",
               undocumented(env, names) if len(names) > 90 else [f"only {len(names)} directives are registered"])
        defaults = subprocess.run([env.printer, "directives"], check=True, capture_output=True, text=True).stdout
        yield "conf.d: httpd takes every default", accepted(site.run(INCLUDES + defaults))
        yield "conf.d: a number out of bounds is refused", refused(
            site, "GBalanceMaxRetries 0", "GBalanceMaxRetries", "from 1 to 20")
        yield "conf.d: an unknown choice is refused", refused(
            site, "GBalanceKeyPolicy any", "GBalanceKeyPolicy", "round_robin, least_used, headroom, sticky")
        yield "conf.d: a bad .env file is refused", refused(
            site, "GBalanceEnvFile /nonexistent/.env", "/nonexistent/.env")


def self_tests(env):
    yield ("conf.d: notices a directive without an entry",
           [] if len(undocumented(env, ["GBalanceNoSuchThing"])) == 2 else ["it was not seen"])
