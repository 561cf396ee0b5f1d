# SPDX-License-Identifier: Apache-2.0
"""One exported symbol a module.  httpd loads modules RTLD_GLOBAL: a second symbol
of one name in two of them would silently be shared.
"""
import pathlib
import subprocess
import tempfile


def exported(path):
    text = subprocess.run(["nm", "-D", "--defined-only", path], check=True, capture_output=True, text=True).stdout
    return sorted(line.split()[-1] for line in text.splitlines())


def judge(path):
    want = [path.stem.removeprefix("mod_") + "_module"]
    have = exported(path)
    return [] if have == want else [f"{path.name} exports {', '.join(have[:10]) or 'nothing'}; wanted {want[0]} alone"]


def modules(env):
    return sorted((env.build / ".libs").glob("mod_gbalance*.so"))


def checks(env):
    yield "exports: there are modules", [] if modules(env) else ["no mod_gbalance*.so was built"]
    for path in modules(env):
        yield f"exports: {path.name} exports its module record alone", judge(path)


def self_tests(env):
    with tempfile.TemporaryDirectory() as tmp:
        path = pathlib.Path(tmp, "mod_gbalance_x.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", path, "-"], check=True, text=True,
                       input="int gbalance_x_module; int gb_buf_init;\n")
        yield "exports: notices a second symbol", [] if judge(path) else ["it was not seen"]
