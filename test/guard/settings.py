# SPDX-License-Identifier: Apache-2.0
"""The table of settings against what is made from it: the entries of
conf.d/gbalance.conf, the tables of README.md, and its list of settings that no
code asks for yet.  Without this a new setting is easily forgotten in one of them.

    settings.py --write SRCDIR PRINTER     writes them anew
"""
import pathlib
import re
import subprocess
import sys

# Where the made text stands: between a line that begins with the first mark and one with the second.
PLACES = [
    ("conf", "conf.d/gbalance.conf", "# ==== settings: begin", "# ==== settings: end"),
    ("readme", "README.md", "<!-- settings: begin", "<!-- settings: end"),
    ("idle", "README.md", "<!-- without effect: begin", "<!-- without effect: end"),
]

ROW = re.compile(r'^GB_SETTING\((\w+), "\w+", (\w+), ', re.M)


def idle(rows, code):
    """Names of the rows whose member no code mentions."""
    words = set(re.findall(r"(?:->|\.|gb_settings_t, )(\w+)", code)) | set(re.findall(r'"([A-Z_]+)"', code))
    return [name for name, member in rows if member not in words and name not in words]


def idle_text(srcdir):
    srcdir = pathlib.Path(srcdir)
    rows = ROW.findall((srcdir / "modules/base/settings_table.h").read_text())
    code = "\n".join(path.read_text() for path in sorted((srcdir / "modules").glob("*/*.[ch]"))
                     if path.parent.name != "base" and path.name != "admin_labels.c")  # names without use
    names = idle(rows, code)
    if not names:
        return ""
    return "\nRead and checked, but without effect yet: " + ", ".join(f"`{name}`" for name in names) + ".\n\n"


def printed(srcdir, printer, mode):
    if mode == "idle":
        return idle_text(srcdir)
    return subprocess.run([printer, mode], check=True, capture_output=True, text=True).stdout


def split(text, begin, end):
    """The text up to and with the first mark's line, between, and from the second's on."""
    lines = text.splitlines(keepends=True)
    starts = [i for i, line in enumerate(lines) if line.startswith(begin)]
    ends = [i for i, line in enumerate(lines) if line.startswith(end)]
    if len(starts) != 1 or len(ends) != 1 or ends[0] < starts[0]:
        raise ValueError(f"the marks {begin!r} and {end!r} do not stand there once each, in order")
    return ("".join(lines[:starts[0] + 1]), "".join(lines[starts[0] + 1:ends[0]]),
            "".join(lines[ends[0]:]))


def compare(name, text, begin, end, want):
    """Problems of one file, as sentences."""
    try:
        _, have, _ = split(text, begin, end)
    except ValueError as fault:
        return [f"{name}: {fault}"]
    have, want = have.splitlines(), want.splitlines()
    if have == want:
        return []
    missing = [line for line in want if line and line not in have]
    stale = [line for line in have if line and line not in want]
    return ([f"{name}: missing: {line[:120]}" for line in missing[:5]]
            + [f"{name}: not in the table: {line[:120]}" for line in stale[:5]]
            + [f"{name}: run `make -f apxs.mk settings`"])


def checks(env):
    for mode, name, begin, end in PLACES:
        want = printed(env.srcdir, env.printer, mode)
        text = (env.srcdir / name).read_text()
        yield f"settings: {name} holds what the table says ({mode})", compare(name, text, begin, end, want)


def self_tests(env):
    for mode, name, begin, end in PLACES[:2]:
        want = printed(env.srcdir, env.printer, mode)
        good = f"x\n{begin} -->\n{want}{end} -->\ny\n"
        row = next(line for line in want.splitlines() if "GBalanceMaxRetries" in line)
        for what, text in [("a row is missing", good.replace(row + "\n", "")),
                           ("a default differs", good.replace(row, row.replace("3", "4"))),
                           ("a row is stale", good.replace(row, row + "\n" + row.replace("Max", "Old"))),
                           ("a mark is missing", good.replace(end, "--"))]:
            problems = compare(name, text, begin, end, want)
            yield (f"settings: notices in {name} that {what}",
                   [] if problems else ["the guard saw nothing"])
        yield f"settings: has nothing against {name} as made", compare(name, good, begin, end, want)
    rows = [("ONE_SETTING", "one_setting"), ("OTHER_ONE", "other_one"), ("THIRD_ONE", "third_one")]
    found = idle(rows, "n = settings->one_setting; { offsetof(gb_settings_t, third_one) }")
    yield "settings: notices one that no code asks for", [] if found == ["OTHER_ONE"] else [f"seen: {found}"]


def write(srcdir, printer):
    for mode, name, begin, end in PLACES:
        path = pathlib.Path(srcdir, name)
        head, _, tail = split(path.read_text(), begin, end)
        path.write_text(head + printed(srcdir, printer, mode) + tail)


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] != "--write":
        sys.exit(__doc__)
    write(sys.argv[2], sys.argv[3])
