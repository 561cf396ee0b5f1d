# SPDX-License-Identifier: Apache-2.0
"""Apache's own authentication in the place of tokens, as the examples of
conf.d/gbalance-auth.conf say, with a real htpasswd file.
"""
import base64
import hashlib
import re
import ssl
import subprocess

import pytest

import certs
import tools
from client import Client
from conf import TOKEN, Conf
from store import Database
from test_600_admin_login import ADMIN, API, MOUNT
from tools import wait_until
from wire import SURFACES

BASIC = ("auth_basic", "authn_file", "authz_user")
# What httpd itself writes about whom it does not let in.
REFUSED = ("AH01614", "AH01617", "AH01618", "AH01630", "AH01631")
EXAMPLES = f"{tools.SRCDIR}/conf.d/gbalance-auth.conf"


def example(title, **words):
    """The directives of one example, uncommented."""
    with open(EXAMPLES, encoding="utf-8") as f:
        text = f.read()
    part = text.split(f"# ---- {title}", 1)[1].split("\n# ----", 1)[0]
    lines = [line[1:] for line in part.splitlines() if re.match(r"#[A-Z<]|#    [A-Z]", line)]
    text = "\n".join(lines) + "\n"
    for old, new in words.items():
        text = text.replace(old, new)
    return text


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def token_id(token):
    return hashlib.sha256(token.encode()).hexdigest()[:8]


def htpasswd(site, *users):
    path = f"{site.root}/htpasswd"
    open(path, "w").close()
    for user, password in users:
        subprocess.run(["htpasswd", "-b", "-B", "-C", "4", path, user, password], check=True, capture_output=True)
    return path


def ask(site, path, headers=None, method="GET", **kwargs):
    return site.api.request(method, path, anonymous=True, headers=headers or {}, **kwargs)


class TestHtpasswd:
    """The first example as it stands there."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site, request):
        db = Database("sqlite3")
        server = make_site(Conf(modules=BASIC, main=db.main, api=API, claims=REFUSED), start=False)
        path = htpasswd(server, ("anna", "pw-anna-1"), ("eve", "pw-eve-1"),
                        ("\udce4nne", "pw-aenne-1"))
        server.conf.api = API + example("Basic with a file").replace("/etc/apache2/gbalance.htpasswd", path)
        server.start()
        server.db = db.of(server)
        server.db.await_tables()
        request.node.gbalance_server = server
        return server

    def call(self, site, headers):
        return ask(site, "/v1/chat/completions", headers, method="POST", json=SURFACES[0].body())

    def test_a_user_calls_and_is_named(self, site, sim):
        assert self.call(site, basic("anna", "pw-anna-1")).status == 200
        wait_until(lambda: any(re.search(r"- anna \[", line) for line in site.access_lines()), "the line of the call")
        wait_until(lambda: site.db.rows("SELECT caller FROM t_request_log WHERE caller = 'anna'"), "the row of the call")

    def test_nobody_else_does(self, site):
        for headers in ({}, basic("anna", "wrong"), basic("mallory", "x"), {"Authorization": f"Bearer {TOKEN}"}):
            assert self.call(site, headers).status == 401

    def test_the_password_goes_nowhere(self, site, sim):
        sim.record(headers=True)
        assert self.call(site, basic("anna", "pw-anna-1")).status == 200
        assert "authorization" not in str(sim.calls()[-1]["headers"]).lower()

    def test_the_pages_let_in_whom_require_names(self, site):
        page = ask(site, "/sessions", basic("anna", "pw-anna-1"))
        assert page.status == 200 and "anna" in page.text
        assert ask(site, "/sessions", basic("eve", "pw-eve-1")).status in (401, 403)
        assert ask(site, "/sessions").status == 401
        assert ask(site, "/api/config").status == 401

    def test_a_name_of_any_bytes(self, site):
        site.conf.api = site.conf.api.replace("Require user anna bert", "Require valid-user")
        site.configure()
        site.graceful()
        name = base64.b64encode("\udce4nne:pw-aenne-1".encode("utf-8", "surrogateescape")).decode()
        page = ask(site, "/sessions", {"Authorization": f"Basic {name}"})
        assert page.status == 200 and "\\xe4nne" in page.text and 'class="brand"' in page.text

    def test_a_change_needs_its_token_all_the_same(self, site):
        anna = basic("anna", "pw-anna-1")
        body = {"MAX_FAILURES": 4}
        assert ask(site, "/api/config", anna, method="PUT", json=body).status == 403
        csrf = re.search(r'gb-csrf" content="([0-9a-f]+)"', ask(site, "/sessions", anna).text)[1]
        assert ask(site, "/api/config", {**anna, "X-CSRF-Token": csrf}, method="PUT", json=body).status == 200
        eve = {**basic("eve", "pw-eve-1"), "X-CSRF-Token": csrf}
        assert ask(site, "/api/config", eve, method="PUT", json=body).status in (401, 403)

    def test_a_session_is_nothing_here(self, site):
        answer = ask(site, "/auth", {"Content-Type": "application/x-www-form-urlencoded"}, method="POST",
                     body=f"token={ADMIN}".encode())
        assert answer.status == 401  # Apache asks first


class TestProvider:
    """Any name with a token as the password."""
    REPORTS = ('Alias /reports "{root}/htdocs"\n<Location "/reports">\nAuthType Basic\nAuthName x\n'
               "AuthBasicProvider gbalance\nRequire gbalance-token {names}\n</Location>\n")
    SAFE = ('Alias /safe "{root}/htdocs"\n<Location "/safe">\nAuthType Basic\nAuthName x\n'
            "AuthBasicProvider gbalance\nRequire gbalance-admin\n</Location>\n")
    BARE = '<Location "/bare">\nRequire gbalance-admin\n</Location>\nAlias /bare "{root}/htdocs"\n'
    OTHER = "sk-another-token-0123456789"

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site, request):
        server = make_site(Conf(modules=("auth_basic",), api=API, tokens=(TOKEN, cls.OTHER), claims=REFUSED), start=False)
        words = {"root": server.root, "names": token_id(TOKEN)}
        server.conf.api += cls.REPORTS.format(**words) + cls.SAFE.format(**words) + cls.BARE.format(**words)
        server.start()
        request.node.gbalance_server = server
        return server

    def test_basic_with_require_gbalance_admin(self, site):
        assert ask(site, "/safe/", basic("whoever", ADMIN)).status == 200
        assert ask(site, "/safe/", {"Authorization": f"Bearer {ADMIN}"}).status == 200
        for headers in ({}, basic("admin", "wrong-token"), basic("admin", TOKEN)):
            answer = ask(site, "/safe/", headers)
            assert answer.status == 401
            assert "Basic" in answer.headers.get("WWW-Authenticate")

    def test_require_gbalance_token_with_names(self, site):
        assert ask(site, "/reports/", basic("x", TOKEN)).status == 200
        assert ask(site, "/reports/", {"Authorization": f"Bearer {TOKEN}"}).status == 200
        assert ask(site, "/reports/", basic("x", self.OTHER)).status == 401
        assert ask(site, "/reports/", basic("x", "nothing")).status == 401

    def test_without_a_way_to_log_in_it_is_forbidden(self, site):
        assert ask(site, "/bare/").status == 403
        assert ask(site, "/bare/", {"Authorization": f"Bearer {ADMIN}"}).status == 200


class TestClientTokenIsNoAdmin:
    """GBalanceAdminAuth apache with tokens as passwords: a client's token administers nothing."""
    LOCATION = ('GBalanceAdminAuth apache\n<Location "/sessions">\nAuthType Basic\nAuthName x\n'
                "AuthBasicProvider gbalance\nRequire valid-user\n</Location>\n")
    CONF = Conf(modules=("auth_basic", "authz_user"), api=API + LOCATION)

    def test_only_the_admin_token_does(self, site):
        assert ask(site, "/sessions", basic("x", ADMIN)).status == 200
        assert ask(site, "/sessions", basic("x", TOKEN)).status == 403


class TestAny:
    LOCATION = ('GBalanceAuth any\n<Location "/v1">\nAuthType Basic\nAuthName x\nAuthBasicProvider file\n'
                "AuthUserFile {path}\nRequire gbalance-token\nRequire valid-user\n</Location>\n")

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site, request):
        server = make_site(Conf(modules=BASIC, api=MOUNT, claims=REFUSED), start=False)
        server.conf.api += cls.LOCATION.format(path=htpasswd(server, ("bert", "pw-bert-1")))
        server.start()
        request.node.gbalance_server = server
        return server

    def test_token_or_user(self, site):
        for headers, status in [(basic("bert", "pw-bert-1"), 200), ({"Authorization": f"Bearer {TOKEN}"}, 200),
                                ({}, 401), (basic("bert", "no"), 401), ({"x-goog-api-key": "wrong"}, 401)]:
            assert ask(site, "/v1/models", headers).status == status, headers


class TestClientCertificates:
    """The example as it stands there: a certificate's name is the caller."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site, request):
        db = Database("sqlite3")
        server = make_site(Conf(main=db.main, tls=True), start=False)
        server.conf.api = example("Client certificates").replace("/etc/apache2/clients-ca.pem", server.authority.ca)
        server.start()
        server.db = db.of(server)
        server.db.await_tables()
        request.node.gbalance_server = server
        return server

    @staticmethod
    def client(site, authority=None, name=None):
        context = ssl.create_default_context(cafile=site.authority.ca)
        if authority:
            context.load_cert_chain(*authority.issue(f"client-{name}", names=(name,), usage="clientAuth"))
        return Client(site.port, tls=context)

    @pytest.mark.parametrize("surface", SURFACES, ids=[surface.name for surface in SURFACES])
    def test_its_name_is_the_caller(self, site, surface):
        name = f"anna-{surface.name}"
        anna = self.client(site, site.authority, name)
        assert anna.post(surface.path(), json=surface.body()).status == 200
        assert self.read_stream(anna, surface)
        wait_until(lambda: sum(f"- {name} [" in line for line in site.access_lines()) == 2, "the lines of the calls")
        wait_until(lambda: len(site.db.rows(f"SELECT id FROM t_request_log WHERE caller = '{name}'")) == 2, "the rows of the calls")

    @staticmethod
    def read_stream(client, surface):
        answer = client.open("POST", surface.path(stream=True), json=surface.body("Hi", stream=True))
        return answer.status == 200 and surface.stream_text(answer)

    @pytest.mark.parametrize("surface", SURFACES, ids=[surface.name for surface in SURFACES])
    def test_without_one_nobody_gets_in(self, site, surface):
        nobody = self.client(site)
        surface.check_error(nobody.post(surface.path(), json=surface.body()), 401)
        surface.check_error(nobody.post(surface.path(), json=surface.body(), token=TOKEN), 401)

    def test_nor_with_that_of_another_authority(self, site, tmp_path):
        mallory = self.client(site, certs.Authority(str(tmp_path), "somebody's own"), "anna")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            mallory.get("/v1/models")


class TestOthers:
    """The examples that need a server of somebody else's: httpd takes them as they stand there."""

    @pytest.mark.parametrize("title, modules", [
        ("LDAP", ("auth_basic", "ldap", "authnz_ldap")), ("OpenID Connect", ("auth_basic", "authz_user", "auth_openidc"))])
    def test_configtest(self, make_site, title, modules):
        lines = example(title).replace("exec:/bin/cat /etc/apache2/oidc.secret", "exec:/bin/echo secret")
        assert "GBalanceAuth apache" in lines
        site = make_site(Conf(modules=modules, api=API + lines), start=False)
        site.configure()
        test = site.configtest()
        assert test.returncode == 0, test.stderr
