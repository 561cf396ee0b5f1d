# SPDX-License-Identifier: Apache-2.0
"""Runs all guards, and what shows that they would fail, on a finished build.

Where things are comes from the environment that apxs.mk sets.
"""
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import conf
import exports
import install
import layers
import lognos
import openapi
import settings
import words

GUARDS = [layers, exports, lognos, settings, words, openapi, conf, install]


def output(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


class Env:
    def __init__(self):
        self.srcdir = pathlib.Path(os.environ["GB_SRCDIR"]).resolve()
        self.build = pathlib.Path(os.environ["GB_BUILD"]).resolve()
        self.cwd = pathlib.Path.cwd()
        self.make = shlex.split(os.environ["GB_MAKE"])
        self.httpd = os.environ["GB_HTTPD"]
        self.libexecdir = os.environ["GB_LIBEXECDIR"]
        self.printer = str(self.build / "test/guard/print_settings")
        apxs = os.environ["GB_APXS"]
        self.apxs = shutil.which(apxs)
        self.httpd_include = output(apxs, "-q", "INCLUDEDIR")
        self.apr_flags = (output(output(apxs, "-q", "APR_CONFIG"), "--includes").split()
                          + output(output(apxs, "-q", "APU_CONFIG"), "--includes").split())


def results():
    """(name, problems) of every check and self-test."""
    env = Env()
    for guard in GUARDS:
        for generate in (guard.checks, guard.self_tests):
            try:
                yield from generate(env)
            except Exception as fault:      # a guard that breaks down is a failure, not the end
                yield f"{guard.__name__}: {generate.__name__}", [f"{type(fault).__name__}: {fault}"]


def main():
    passed = failed = 0
    for name, problems in results():
        if problems:
            failed += 1
            print(f"FAILED  {name}")
            for problem in problems:
                print(f"        {problem}")
        else:
            passed += 1
            print(f"ok      {name}")
    print(f"guards: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
