# SPDX-License-Identifier: Apache-2.0
"""Runs every test, the cheapest phases first, and counts: the last line is
"N passed, N failed" over all of them.  `make -f apxs.mk check` calls it with the
places it needs in the environment.

    check.py [--lint] [phase ...]      names of phases to run, default all; "live" are all that begin so

A phase that ran nothing is a failure, and with CI=true so is a skip.
CHECK_SUMMARY=file receives the last line instead of the terminal.
"""
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time
import traceback
import xml.etree.ElementTree

SRCDIR = pathlib.Path(os.environ["GB_SRCDIR"])
BUILD = pathlib.Path(os.environ["GB_BUILD"])
MAKE = shlex.split(os.environ["GB_MAKE"])
CI = os.environ.get("CI", "") == "true"
JOBS = os.cpu_count() or 1
SLOW = 10.0             # seconds from which a test program is named


class Phase:
    """What one phase did."""

    def __init__(self, name):
        self.name = name
        self.passed = self.failed = self.skipped = 0
        self.slow = []
        self.began = time.monotonic()
        print(f"\n==== {name}", flush=True)

    def count(self, passed, failed, skipped=0):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped

    def one(self, good):
        self.count(int(good), int(not good))

    def end(self):
        self.seconds = time.monotonic() - self.began
        if self.passed + self.failed == 0:
            print(f"{self.name}: nothing was run")
            self.failed += 1
        if CI and self.skipped:
            print(f"{self.name}: {self.skipped} skipped, which is a failure in CI")
            self.failed += self.skipped


# What made the caller's make talk to this one must not reach the makes below.
ENV = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}


def make(*targets, **variables):
    """Whether a make went well; its output is shown as it comes."""
    argv = [*MAKE, f"-j{JOBS}", *(f"{k}={v}" for k, v in variables.items()), *targets]
    return subprocess.run(argv, env=ENV, stdin=subprocess.DEVNULL).returncode == 0


# ---- build, lint and guards ----

def phase_lint(phase):
    for target in ("lint-format", "lint-cppcheck", "lint-gcc", "lint-clang"):
        phase.one(make(target, builddir=BUILD))


def phase_build(phase):
    phase.one(make("everything", builddir=BUILD))


def counted(phase, argv, pattern):
    """A program that says at its end what passed and failed."""
    done = subprocess.run(argv, env=ENV, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    print(done.stdout, end="")
    found = re.findall(pattern, done.stdout)
    if found:
        phase.count(*map(int, found[-1]))
    if done.returncode != 0 and not phase.failed:
        phase.failed += 1


def phase_guards(phase):
    counted(phase, [sys.executable, SRCDIR / "test/guard/run.py"], r"(?m)^guards: (\d+) passed, (\d+) failed")


def phase_simulator(phase):
    counted(phase, [sys.executable, SRCDIR / "test/simulator/selftest.py", BUILD / "gemini-simulator"],
            r"(?m)^(\d+) passed, (\d+) failed")


# ---- unit tests ----

CMOCKA = {word: re.compile(rf"^\[  {word} *\] (\d+) test\(s\)", re.M) for word in ("PASSED", "FAILED", "SKIPPED")}


def run_unit(program, env):
    """(program, passed, failed, skipped, seconds, output); a crash is one failure."""
    began = time.monotonic()
    try:
        done = subprocess.run([program], env=env, cwd=SRCDIR, text=True, errors="replace", timeout=900,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as late:
        output, code = f"{late.stdout or ''}\nstill running after {late.timeout} s", 1
    except OSError as fault:
        output, code = str(fault), 1
    passed, failed, skipped = (sum(map(int, CMOCKA[w].findall(output))) for w in CMOCKA)
    if code != 0 and failed == 0 or passed + failed + skipped == 0:
        failed += 1
    return program, passed, failed, skipped, time.monotonic() - began, output


def units(phase, build, **extra):
    """Runs all unit tests of a build, as many at a time as there are processors."""
    programs = sorted(build / "test/unit" / path.stem for path in (SRCDIR / "test/unit").glob("test_*.c"))
    env = {**ENV, "GB_SRCDIR": str(SRCDIR), "CMOCKA_MESSAGE_OUTPUT": "stdout", **extra}
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for program, passed, failed, skipped, seconds, output in pool.map(lambda p: run_unit(p, env), programs):
            if failed and "Sanitizer" not in output:
                print(f"{program.name}: {failed} failed, again\n{output}", flush=True)
                program, passed, failed, skipped, seconds, output = run_unit(program, env)
            phase.count(passed, failed, skipped)
            print(f"{program.name}: {passed} passed, {failed} failed"
                  + (f", {skipped} skipped" if skipped else ""), flush=True)
            if failed or skipped:
                print(output)
            if seconds > SLOW:
                phase.slow.append((seconds, f"{phase.name}: {program.name}"))


def phase_unit(phase):
    units(phase, BUILD)


def sanitized(phase, names, targets, **options):
    """Builds targets and runs the unit tests; the folder of the build, None when it failed."""
    build = BUILD / ("sanitize-" + names.replace(",", "-"))
    if not make(*targets, SANITIZE=names, builddir=build):
        phase.one(False)
        return None
    units(phase, build, **options)
    return build


def phase_address(phase):
    options = {"ASAN_OPTIONS": "abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
    build = sanitized(phase, "address,undefined", ["unit", "fuzzers"], **options)
    for source in sorted((SRCDIR / "test/fuzz").glob("fuzz_*.c")) if build else ():
        # Every case is a seed of every target.
        program = build / "test/fuzz" / source.stem
        print(f"{program.name}: ", end="", flush=True)
        phase.one(subprocess.run([program, SRCDIR / "test/cases"], env={**ENV, **options}).returncode == 0)


def phase_thread(phase):
    sanitized(phase, "thread", ["unit"], TSAN_OPTIONS="halt_on_error=1")


FUZZ_SECONDS = 20       # a target; `soak` gives them longer


def phase_fuzz(phase):
    build = BUILD / "fuzz"
    if not make("fuzzers", CC="clang", LIBFUZZER=1, SANITIZE="address,undefined", builddir=build):
        phase.one(False)
        return
    counted(phase, [sys.executable, SRCDIR / "test/fuzz/run.py", build / "test/fuzz", str(FUZZ_SECONDS)],
            r"(?m)^fuzz: (\d+) passed, (\d+) failed")


# ---- live tests ----

AGAIN_MAX = 20          # more than these did not fail by chance
BESIDE = ["-n", str(JOBS + 1), "--dist", "loadscope"]      # a class and its httpd stay in one process
TESTS = SRCDIR / "test"

# Live tests by the numbers of their files.  What says of itself that it is to run `alone` does so at the end.
LIVE = {
    "live-core": "httpd/test_[01]*.py",
    "live-pool": "httpd/test_20*.py",
    "live-store": "httpd/test_2[1-9]*.py",
    "live-gemini": "httpd/test_3*.py",
    "live-openai": "httpd/test_4*.py",
    "live-admin": "httpd/test_[5-9]*.py",
    "live-sdk": "sdk/test_*.py",
}


def pytest_run(name, args, extra):
    """The report's testsuite element, None when pytest wrote none."""
    report = BUILD / f"{name}.xml"
    report.unlink(missing_ok=True)
    argv = [BUILD / "venv/bin/python", "-m", "pytest", "-q", "-ra", "--color=no", "-o", f"cache_dir={BUILD}/pytest-{name}",
            f"--junitxml={report}", *args]
    subprocess.run(argv, env={**ENV, "PYTHONDONTWRITEBYTECODE": "1", **extra}, cwd=SRCDIR, stdin=subprocess.DEVNULL)
    return next(xml.etree.ElementTree.parse(report).getroot().iter("testsuite")) if report.exists() else None


def failed_classes(suite):
    """What pytest is to run once more: whole classes, whose tests may stand on one another."""
    found = set()
    for case in suite.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            names = case.get("classname").split(".")
            module = max(n for n in range(len(names) + 1) if SRCDIR.joinpath(*names[:n]).with_suffix(".py").exists())
            inner = names[module:] or [case.get("name").partition("[")[0]]
            found.add("::".join([str(SRCDIR.joinpath(*names[:module]).with_suffix(".py")), *inner]))
    return sorted(found)


def pytest(phase, args, beside=(), **extra):
    """
    Live tests share a machine with whatever else runs on it: the few that fail run once more, by
    themselves, and the output shows both.  What fails twice has failed.
    """
    suite = pytest_run(phase.name, [*beside, *args], extra)
    if suite is None:
        phase.one(False)
        return
    total, skipped = int(suite.get("tests")), int(suite.get("skipped"))
    failed = int(suite.get("failures")) + int(suite.get("errors"))
    for case in suite.iter("testcase"):
        if float(case.get("time")) > SLOW:
            phase.slow.append((float(case.get("time")), f"{case.get('classname')}.{case.get('name')}"))
    if 0 < failed <= AGAIN_MAX:
        again = failed_classes(suite)
        print(f"==== {phase.name}: again {' '.join(again)}", flush=True)
        suite = pytest_run(phase.name, again, extra)
        if suite is not None and int(suite.get("tests")) > 0:
            failed = int(suite.get("failures")) + int(suite.get("errors"))
    phase.count(max(0, total - failed - skipped), failed, skipped)


def live_files(pattern):
    return sorted(TESTS.glob(pattern))


def phase_live(phase):
    """One group of live tests, several classes at a time: mostly they wait."""
    if make("venv", builddir=BUILD):
        pytest(phase, ["-m", "not alone", *live_files(LIVE[phase.name])], BESIDE)
    else:
        phase.one(False)


def phase_alone(phase):
    grouped = [path for pattern in LIVE.values() for path in live_files(pattern)]
    for stray in set(TESTS.glob("*/test_*.py")) - set(grouped):
        print(f"{stray}: no group of LIVE has it")
        phase.one(False)
    if make("venv", builddir=BUILD):
        pytest(phase, ["-m", "alone", *grouped])
    else:
        phase.one(False)


def phase_smoke(phase):
    """What is marked as smoke, against modules with sanitizers."""
    names = "address,undefined"
    build = BUILD / ("sanitize-" + names.replace(",", "-"))
    if not make("all", SANITIZE=names, builddir=build):
        phase.one(False)
        return
    pytest(phase, [TESTS / "httpd"], BESIDE, GB_SANITIZE=names, GB_MODULES=str(build / ".libs"))


# ---- all of them ----

PHASES = {
    "lint": phase_lint,
    "build": phase_build,
    "guards": phase_guards,
    "unit": phase_unit,
    "simulator": phase_simulator,
    "address": phase_address,
    "thread": phase_thread,
    "fuzz": phase_fuzz,
    **{name: phase_live for name, pattern in LIVE.items() if live_files(pattern)},
    "live-alone": phase_alone,
    "smoke": phase_smoke,
}


def run(names):
    phases = []
    for name in names:
        phase = Phase(name)
        phases.append(phase)
        try:
            PHASES[name](phase)
        except Exception:       # a phase that breaks down is a failure, not the end of the others
            traceback.print_exc()
            phase.one(False)
        phase.end()
        if name == "build" and phase.failed:
            break
    return phases


def summarize(phases):
    print("\n==== summary")
    for phase in phases:
        skipped = f", {phase.skipped} skipped" if phase.skipped else ""
        print(f"{phase.name:11} {phase.seconds:7.1f} s  {phase.passed} passed, {phase.failed} failed{skipped}")
    slow = sorted((item for phase in phases for item in phase.slow), reverse=True)
    for seconds, name in slow[:15]:
        print(f"slow        {seconds:7.1f} s  {name}")


def main(args):
    wanted = [a for a in args if not a.startswith("-")]
    names = [n for w in wanted for n in ([p for p in PHASES if p.startswith("live-")] if w == "live" else [w])]
    names = names or [n for n in PHASES if n != "lint"]
    if "--lint" in args:
        names = ["lint", *names]
    unknown = set(names) - set(PHASES)
    if unknown:
        sys.exit(f"no such phase: {', '.join(unknown)}; there are {', '.join(PHASES)}")
    phases = run(names)
    summarize(phases)
    passed, failed = sum(p.passed for p in phases), sum(p.failed for p in phases)
    line = f"{passed} passed, {failed} failed"
    if os.environ.get("CHECK_SUMMARY"):
        pathlib.Path(os.environ["CHECK_SUMMARY"]).write_text(line + "\n")
    else:
        print(line, flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
