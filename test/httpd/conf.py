# SPDX-License-Identifier: Apache-2.0
"""The configuration of one private httpd, as text.

A test class says how it differs from the ordinary one:

    class TestSlowClients:
        CONF = Conf(mpm="worker", api="GBalanceParking Off")
"""
import dataclasses
import glob
import os

import tools

KEYS = ("AIzaSyTestKeyOne000000000000000000000001",
        "AIzaSyTestKeyTwo000000000000000000000002",
        "AQ.TestKeyThree0000000000000000000000003")
TOKEN = "sk-test-token-0123456789abcdef"

BASIC_MODULES = ["authn_core", "authz_core", "authz_host", "alias", "dir", "env", "headers", "mime",
                 "setenvif", "status", "reqtimeout", "log_config", "logio", "unixd", "watchdog",
                 "dbd", "socache_shmcb"]

# Debian's stock values, with as many parked connections as a test may open.
MPM = {
    "event": """
StartServers 2
ServerLimit 16
ThreadLimit 64
MinSpareThreads 25
MaxSpareThreads 75
ThreadsPerChild 25
MaxRequestWorkers 150
AsyncRequestWorkerFactor 400
MaxConnectionsPerChild 0
""",
    "worker": """
StartServers 2
ServerLimit 4
MinSpareThreads 25
MaxSpareThreads 75
ThreadsPerChild 25
MaxRequestWorkers 100
MaxConnectionsPerChild 0
""",
    "prefork": """
StartServers 5
ServerLimit 30
MinSpareServers 5
MaxSpareServers 10
MaxRequestWorkers 30
MaxConnectionsPerChild 0
""",
}


@dataclasses.dataclass
class Conf:
    mpm: str = "event"
    mpm_lines: str = ""             # behind the defaults, so that they win
    modules: tuple = ()             # more of httpd's own, "deflate"
    gbalance: bool = True           # load ours and mount the API
    keys: tuple = KEYS[:1]
    tokens: tuple = (TOKEN,)
    upstream: str | None = None     # BASE_URL; None: the simulator
    main: str = ""                  # more for the main server
    api: str = ""                   # more for the VirtualHost with GBalance On
    plain: str = ""                 # more for the VirtualHost without
    parking: str | None = None      # "On", "Off", None: not said
    tls: bool = False               # the API speaks TLS
    tls_names: tuple = ("localhost",)   # whom its certificate names
    protocols: str = ""             # "h2 http/1.1"
    log_level: str = "info"
    prefix: str = ""                # GB_PREFIX
    state: bool = True              # has a state directory
    sim_args: tuple = ()            # more arguments of the simulator
    environment: dict = dataclasses.field(default_factory=dict)
    claims: tuple = ()              # error-log lines that this class expects


def load_module(name):
    """A LoadModule line, or nothing where it is compiled in."""
    if name in tools.static_modules():
        return ""
    path = os.path.join(tools.apxs("LIBEXECDIR"), f"mod_{name}.so")
    if not os.path.exists(path):
        raise FileNotFoundError(f"httpd has no mod_{name} ({path})")
    return f"LoadModule {name}_module {path}"


def quoted(items):
    return '"' + ",".join(items) + '"'


class Writer:
    """Turns a Conf and the facts of one Server into the text of httpd.conf."""

    def __init__(self, conf, server):
        self.conf, self.server = conf, server

    def modules(self):
        names = [f"mpm_{self.conf.mpm}", *BASIC_MODULES]
        if self.conf.tls or "ssl" in self.conf.modules:
            names.append("ssl")
        if "h2" in self.conf.protocols:
            names.append("http2")
        names += [m for m in self.conf.modules if m not in names]
        lines = [load_module(n) for n in names]
        if self.conf.gbalance:
            lines += [f"LoadModule {n} {p}" for n, p in tools.gbalance_modules().items()]
        return "\n".join(line for line in lines if line)

    def identity(self):
        return "User www-data\nGroup www-data" if tools.AS_ROOT else ""

    def gbalance(self):
        if not self.conf.gbalance:
            return ""
        lines = [f"Define GB_HTDOCS {self.server.root}/assets"]
        if self.conf.state:
            lines.insert(0, f"GBalanceStateDir {self.server.state}")
        if self.conf.prefix:
            lines.insert(0, f"Define GB_PREFIX {self.conf.prefix}")
        return "\n".join(lines)

    def api(self):
        conf, lines = self.conf, []
        if conf.gbalance:
            lines += ["GBalance On", f"GBalanceBaseUrl {conf.upstream or self.server.sim_url}"]
            if conf.keys:
                lines.append(f"GBalanceApiKeys {quoted(conf.keys)}")
            if conf.tokens:
                lines.append(f"GBalanceAllowedTokens {quoted(conf.tokens)}")
            if conf.parking:
                lines.append(f"GBalanceParking {conf.parking}")
            lines.append(f"Include {tools.SRCDIR}/conf.d/gbalance-api.conf")
        if conf.tls:
            cert, key = self.server.certificate
            lines += ["SSLEngine On", f"SSLCertificateFile {cert}", f"SSLCertificateKeyFile {key}"]
        if conf.protocols:
            lines.append(f"Protocols {conf.protocols}")
        return "\n".join(lines + [conf.api])

    def text(self):
        s, conf = self.server, self.conf
        assert glob.glob(tools.apxs("LIBEXECDIR")), "httpd's module folder is missing"
        return f"""{self.modules()}
ServerRoot {s.root}
DefaultRuntimeDir {s.root}
PidFile {s.root}/httpd.pid
ServerName localhost
Listen 127.0.0.1:{s.port}
Listen 127.0.0.1:{s.plain_port}
{self.identity()}
{MPM[conf.mpm]}
{conf.mpm_lines}
GracefulShutdownTimeout 20
Timeout 60
KeepAlive On
KeepAliveTimeout 15
MaxKeepAliveRequests 0
ErrorLog {s.root}/error.log
LogLevel {conf.log_level}
LogFormat "%h %l %u %t \\"%r\\" %>s %b \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\" %U%q %X" test
CustomLog {s.root}/access.log test
ExtendedStatus On
TypesConfig {s.root}/mime.types
DocumentRoot {s.root}/htdocs
<Directory {s.root}/htdocs>
    Require all granted
</Directory>
{'SSLSessionCache shmcb:' + s.root + '/sslcache(512000)' if conf.tls or 'ssl' in conf.modules else ''}
{self.gbalance()}
{conf.main}
<VirtualHost 127.0.0.1:{s.port}>
ServerName localhost
{self.api()}
</VirtualHost>
<VirtualHost 127.0.0.1:{s.plain_port}>
ServerName plain.localhost
<Location /server-status>
    SetHandler server-status
    Require all granted
</Location>
{conf.plain}
</VirtualHost>
"""
