# SPDX-License-Identifier: Apache-2.0
"""The layers: each folder below the glue includes only what is below it, judged
by the compiler's dependency files, so that what comes in through another header
counts.  And proto is pure: no writable data, no clock.
"""
import pathlib
import re
import shutil
import subprocess
import tempfile

BELOW = {"system", "apr"}
ALLOWED = {
    "base": BELOW | {"base", "jansson", "openssl"},
    "proto": BELOW | {"base", "proto", "jansson"},
    "pool": BELOW | {"base", "proto", "pool"},
    "store": BELOW | {"base", "store", "dbd", "openssl"},
    "upstream": BELOW | {"base", "proto", "upstream", "curl"},
}

# What a pure function has no business to call.
CLOCKS = {"apr_time_now", "clock_gettime", "gb_mono_now", "gettimeofday", "localtime_r", "time",
          "getenv", "gb_random", "getrandom", "rand", "random"}


def kind(path, srcdir, httpd_include):
    """What a header or source is, as a word of ALLOWED."""
    for folder, words in ((srcdir / "modules", None), (srcdir / "include", "interface"),
                          (pathlib.Path(httpd_include), "httpd")):
        if folder in path.parents:
            return words or path.relative_to(folder).parts[0]
    if "apr-1" in path.parts[-2] or path.name.startswith(("apr_", "apu_", "apr.", "apu.")):
        return "dbd" if path.name.startswith("apr_dbd") else "apr"
    for word in ("curl", "openssl"):
        if word in path.parts:
            return word
    return "jansson" if path.name.startswith("jansson") else "system"


def prerequisites(text):
    """The files of the first rule of a dependency file."""
    rule = text.replace("\\\n", " ").split("\n", 1)[0]
    return rule.split(": ", 1)[1].split()


def judge(layer, name, files, srcdir, httpd_include):
    """Sentences about what one source includes and may not."""
    problems = []
    for file in files:
        word = kind(pathlib.Path(file).resolve(), srcdir, httpd_include)
        if word not in ALLOWED[layer]:
            problems.append(f"{name} ({layer}) sees {file} ({word})")
    return problems


def sources(srcdir, layer):
    return sorted((srcdir / "modules" / layer).glob("*.c"))


def check_layer(env, layer):
    problems = []
    for source in sources(env.srcdir, layer):
        depend = env.build / "modules" / layer / (source.stem + ".d")
        if not depend.exists():
            problems.append(f"{depend} is missing")
            continue
        # Paths in it are relative to where make ran.
        files = [env.cwd / f for f in prerequisites(depend.read_text())]
        problems += judge(layer, source.name, files, env.srcdir, env.httpd_include)
    return problems


def impurities(objects):
    problems = []
    for obj in objects:
        sections = subprocess.run(["readelf", "-SW", obj], check=True, capture_output=True, text=True).stdout
        for name, size in re.findall(r"\] (\.(?:data|bss)\S*)\s+\w+\s+\w+ \w+ (\w+)", sections):
            if not name.startswith(".data.rel.ro") and int(size, 16) > 0:
                problems.append(f"{obj.name} has writable data ({name})")
        symbols = subprocess.run(["nm", "-u", obj], check=True, capture_output=True, text=True).stdout
        for symbol in {line.split()[-1].split("@")[0] for line in symbols.splitlines()} & CLOCKS:
            problems.append(f"{obj.name} calls {symbol}")
    return problems


def checks(env):
    for layer in ALLOWED:
        if sources(env.srcdir, layer):
            yield f"layers: {layer} includes only what is below it", check_layer(env, layer)
    yield ("layers: proto has no state and no clock",
           impurities(sorted((env.build / "modules/proto/.libs").glob("*.o"))))


# ---- the guard itself ----

PLANTS = [
    # (file that gets the line, line, layer and source that must be caught)
    ("base/buf.c", '#include "proto/sse.h"', "base", "buf.c"),
    ("base/buf.h", "#include <curl/curl.h>", "proto", "sse.c"),
    ("base/buf.h", '#include "{httpd}/httpd.h"', "proto", "sse.c"),
    ("proto/sse.c", '#include "upstream/engine.h"', "proto", "sse.c"),
    ("pool/{pool}", '#include "upstream/engine.h"', "pool", "{pool}"),
    ("pool/{pool}", "#include <apr_dbd.h>", "pool", "{pool}"),
    ("upstream/{upstream}", '#include "mod_gbalance.h"', "upstream", "{upstream}"),
]


def dependencies(env, root, source):
    """What the compiler sees; flags as in apxs.mk, and httpd's folder to be able to see it."""
    argv = ["cc", "-std=gnu11", "-D_GNU_SOURCE", "-M", f"-I{root}/include", f"-I{root}/modules",
            f"-I{env.httpd_include}", *env.apr_flags, str(source)]
    return prerequisites(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def planted(env, file, line, layer, source):
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp).resolve()
        for folder in ("modules", "include"):
            shutil.copytree(env.srcdir / folder, root / folder)
        names = {name: sources(env.srcdir, name)[0].name for name in ("pool", "upstream")}
        names["httpd"] = env.httpd_include
        target, line = root / "modules" / file.format(**names), line.format(**names)
        target.write_text(target.read_text() + line + "\n")
        path = root / "modules" / layer / source.format(**names)
        found = judge(layer, path.name, dependencies(env, root, path), root, env.httpd_include)
        return [] if found else [f"{line} in {file} was not seen from {layer}/{path.name}"]


def stained(env):
    with tempfile.TemporaryDirectory() as tmp:
        source = pathlib.Path(tmp, "stain.c")
        source.write_text("#include <time.h>\nstatic int n; long f(void); "
                          "long f(void) { return ++n + (long)time(NULL); }\n")
        subprocess.run(["cc", "-O2", "-fdata-sections", "-c", source, "-o", source.with_suffix(".o")], check=True)
        found = impurities([source.with_suffix(".o")])
        return [] if len(found) == 2 else [f"a counter and a clock were planted, seen: {found}"]


def self_tests(env):
    for file, line, layer, source in PLANTS:
        if sources(env.srcdir, layer):
            yield (f"layers: catches {line.format(httpd='...')} planted in {file.split('/')[0]}",
                   planted(env, file, line, layer, source))
    yield "layers: catches a counter and a clock", stained(env)
