# SPDX-License-Identifier: Apache-2.0
"""What `install` puts where, below DESTDIR."""
import pathlib
import subprocess
import tempfile


def checks(env):
    with tempfile.TemporaryDirectory() as tmp:
        dirs = [f"LIBEXECDIR={env.libexecdir}", "SYSCONFDIR=/etc/apache2", "DATADIR=/usr/share/gbalance"]
        result = subprocess.run([*env.make, f"builddir={env.build}", "install", f"DESTDIR={tmp}", *dirs],
                                capture_output=True, text=True)
        yield ("install: works below DESTDIR",
               [] if result.returncode == 0 else (result.stdout + result.stderr).splitlines()[-5:])
        have = {str(path.relative_to(tmp)) for path in pathlib.Path(tmp).rglob("*") if path.is_file()}
        want = {f"{env.libexecdir.lstrip('/')}/{path.name}" for path in (env.build / ".libs").glob("mod_gbalance*.so")}
        want |= {f"etc/apache2/conf.d/{path.name}" for path in (env.srcdir / "conf.d").glob("*.conf")}
        want |= {"usr/share/gbalance/gbalance-intercept.sh", "usr/share/gbalance/gbalance-reseal.sh",
                 "etc/apache2/gbalance.secret"}
        for folder in ("htdocs", "schema"):
            want |= {f"usr/share/gbalance/{path.relative_to(env.srcdir)}"
                     for path in (env.srcdir / folder).rglob("*") if path.is_file()}
        yield ("install: puts every file in its place and no other",
               [f"missing: {name}" for name in sorted(want - have)] + [f"not wanted: {name}" for name in sorted(have - want)])
        secret = pathlib.Path(tmp, "etc/apache2/gbalance.secret")
        before = secret.read_bytes() if secret.exists() else b""
        subprocess.run([*env.make, f"builddir={env.build}", "install", f"DESTDIR={tmp}", *dirs], capture_output=True)
        yield ("install: makes a secret of 32 bytes for root alone, and keeps it",
               [] if len(before) == 32 and secret.stat().st_mode & 0o777 == 0o600 and secret.read_bytes() == before
               else [f"{len(before)} bytes"])
        conf = pathlib.Path(tmp, "etc/apache2/conf.d/gbalance.conf")
        line = f"Define GB_MODULES {env.libexecdir}"
        yield ("install: gbalance.conf names the module folder",
               [] if conf.exists() and line in conf.read_text() else [f"no line {line!r}"])


def self_tests(_env):
    return ()
