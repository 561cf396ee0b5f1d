# SPDX-License-Identifier: Apache-2.0
"""Numbers of log messages: every message from DEBUG up has one, none stands twice,
each lies in the block of its folder.  Operators search for them, so they never
change their meaning.
"""
import re

# Folder to the thousands of its numbers.  The core also speaks for the engine that it hosts.
BLOCKS = {"keys": (1,), "pool": (1,), "openai": (2,), "gemini": (3,), "admin": (4,), "upstream": (5,),
          "store": (6,), "proto": (7,), "core": (5, 8), "base": (8,)}

CALL = re.compile(r"\b(gb_log|ap_log_(?:c|r|p|)error)\s*\(")
LEVEL = re.compile(r"\b(?:GB_LOG|APLOG)_(EMERG|ALERT|CRIT|ERR|WARNING|NOTICE|INFO|DEBUG)\b")
NUMBER = re.compile(r"\bGBLOGNO\(\s*(\d+)\s*\)")


def without_comments(text):
    """Comments become blanks of the same length in lines; strings stay."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match[0]) if match[0].startswith("/") else match[0]
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"', blank, text, flags=re.S)


def calls(text):
    """(line, text) of each logging call."""
    for match in CALL.finditer(text):
        depth, end = 1, match.end()
        while depth and end < len(text):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        line_start = text.rfind("\n", 0, match.start()) + 1
        if not text[line_start:match.start()].lstrip().startswith("#"):
            yield text.count("\n", 0, match.start()) + 1, text[match.start():end]


def judge(files):
    """files: (folder, name, text)."""
    problems, seen = [], {}
    for folder, name, text in files:
        text = without_comments(text)
        for line, call in calls(text):
            if LEVEL.search(call) and not NUMBER.search(call):
                problems.append(f"{name}:{line}: a message from DEBUG up has no GBLOGNO")
        for match in NUMBER.finditer(text):
            number, where = int(match[1]), f"{name}:{text.count(chr(10), 0, match.start()) + 1}"
            if number in seen:
                problems.append(f"{where}: {number} stands at {seen[number]} too")
            seen[number] = where
            if number // 1000 not in BLOCKS.get(folder, ()):
                problems.append(f"{where}: {number} is not of a block of {folder} {BLOCKS.get(folder)}")
    return problems


def checks(env):
    files = [(path.parent.name, str(path.relative_to(env.srcdir)), path.read_text())
             for path in sorted((env.srcdir / "modules").glob("*/*.[ch]"))]
    yield "log numbers: one a message, in its block", judge(files)


def self_tests(_env):
    good = 'gb_log(GB_LOG_ERR, 0, GBLOGNO(5001) "x (y)"); gb_log(GB_LOG_TRACE, 0, "t");\n'
    for what, text in [("is missing", 'gb_log(GB_LOG_ERR, 0, "x");'),
                       ("is missing from httpd's own call", 'ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "x");'),
                       ("stands twice", good + good),
                       ("is of another block", good.replace("5001", "6001"))]:
        found = judge([("upstream", "planted.c", text)])
        yield f"log numbers: notices that one {what}", [] if found else ["it was not seen"]
    yield "log numbers: has nothing against a good one", judge([("upstream", "planted.c", good)])
