# SPDX-License-Identifier: Apache-2.0
"""What packagers do: configure, and what `install` puts where, below DESTDIR."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile


def configure(env):
    """In a copy of what configure reads; the build that follows is that of every other guard."""
    with tempfile.TemporaryDirectory() as tmp:
        for name in ("configure.ac", "apxs.mk"):
            shutil.copy(env.srcdir / name, tmp)
        shutil.copytree(env.srcdir / "include", f"{tmp}/include")
        said = ""
        for argv in (["autoreconf", "-i"], ["./configure", f"--with-apxs={env.apxs}", "CFLAGS=-O1"]):
            result = subprocess.run(argv, cwd=tmp, capture_output=True, text=True)
            said = result.stdout + result.stderr
            yield (f"configure: {argv[0]} works", [] if result.returncode == 0 else said.splitlines()[-5:])
        version = re.search(r'define GBALANCE_VERSION +"(.+)"', (env.srcdir / "include/mod_gbalance.h").read_text())[1]
        yield ("configure: says the version", [] if f"gbalance {version}\n" in said else said.splitlines()[-9:])
        found = subprocess.run(["make", "-f", "apxs.mk", "-pn", "settings"], cwd=tmp, capture_output=True, text=True,
                               env={"PATH": os.environ["PATH"]}).stdout
        want = {f"APXS = {env.apxs}", "CFLAGS = -O1"}
        yield ("configure: apxs.mk takes what it found",
               [f"no line {line!r}" for line in sorted(want - set(found.splitlines()))]
               + ([] if os.path.samefile(f"{tmp}/Makefile", f"{tmp}/apxs.mk") else ["no Makefile"]))


def secret(env):
    """Of the machine itself; what a package brought along would be everybody's."""
    with tempfile.TemporaryDirectory() as tmp:
        argv = [*env.make, f"builddir={env.build}", "install", f"LIBEXECDIR={tmp}/lib", f"SYSCONFDIR={tmp}/etc",
                f"DATADIR={tmp}/share"]
        path = pathlib.Path(tmp, "etc/gbalance.secret")
        subprocess.run(argv, capture_output=True)
        before = path.read_bytes() if path.exists() else b""
        subprocess.run(argv, capture_output=True)
        yield ("install: makes a secret of 32 bytes for root alone, and keeps it",
               [] if len(before) == 32 and path.stat().st_mode & 0o777 == 0o600 and path.read_bytes() == before
               else [f"{len(before)} bytes"])


def checks(env):
    yield from configure(env)
    yield from secret(env)
    with tempfile.TemporaryDirectory() as tmp:
        dirs = [f"LIBEXECDIR={env.libexecdir}", "SYSCONFDIR=/etc/apache2", "DATADIR=/usr/share/gbalance"]
        result = subprocess.run([*env.make, f"builddir={env.build}", "install", f"DESTDIR={tmp}", *dirs],
                                capture_output=True, text=True)
        yield ("install: works below DESTDIR",
               [] if result.returncode == 0 else (result.stdout + result.stderr).splitlines()[-5:])
        have = {str(path.relative_to(tmp)) for path in pathlib.Path(tmp).rglob("*") if path.is_file()}
        want = {f"{env.libexecdir.lstrip('/')}/{path.name}" for path in (env.build / ".libs").glob("mod_gbalance*.so")}
        want |= {f"etc/apache2/conf.d/{path.name}" for path in (env.srcdir / "conf.d").glob("*.conf")}
        want |= {"usr/share/gbalance/gbalance-intercept.sh", "usr/share/gbalance/gbalance-reseal.sh"}
        for folder in ("htdocs", "schema"):
            want |= {f"usr/share/gbalance/{path.relative_to(env.srcdir)}"
                     for path in (env.srcdir / folder).rglob("*") if path.is_file()}
        yield ("install: puts every file in its place and no other",
               [f"missing: {name}" for name in sorted(want - have)] + [f"not wanted: {name}" for name in sorted(have - want)])
        conf = pathlib.Path(tmp, "etc/apache2/conf.d/gbalance.conf")
        line = f"Define GB_MODULES {env.libexecdir}"
        yield ("install: gbalance.conf names the module folder",
               [] if conf.exists() and line in conf.read_text() else [f"no line {line!r}"])


def self_tests(_env):
    return ()
