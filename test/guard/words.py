# SPDX-License-Identifier: Apache-2.0
"""The catalogues of the admin pages against what the pages say.

Words stand in templates ({{_ words}}), in scripts (t('words')), in C
(ADMIN_WORD("words"), GB_WORD("words")) and in the table of settings (groups and helps).  Each
catalogue but English has all of them and nothing else, with the same
placeholders, and Chinese as it is written: a space between it and Latin words.
"""
import json
import re

LITERALS = r'"(?:[^"\\]|\\.)*"(?:\s*"(?:[^"\\]|\\.)*")*'
TEMPLATE = re.compile(r"\{\{_ ((?:[^{}]|\{[\w.|]*\})*)\}\}")
SCRIPT = re.compile(r"""\bt\(\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
WORD = re.compile(r"\b(?:ADMIN|GB)_WORD\(\s*(" + LITERALS + r")\s*\)")
SETTING = re.compile(r"^GB_SETTING\((.*?)\)$", re.M | re.S)
PLACEHOLDER = re.compile(r"\{[\w.|]*\}")
HAN = "\u4e00-\u9fff"
TIGHT = re.compile(f"[{HAN}][A-Za-z0-9{{]|[A-Za-z0-9}}][{HAN}]")
HALF = re.compile(f"[{HAN}][,;:?!](?:[ {HAN}]|$)|[{HAN}]\\.$")


def c_text(literals):
    """Adjacent literals of C as one text."""
    return "".join(json.loads(piece) for piece in re.findall(r'"(?:[^"\\]|\\.)*"', literals))


def spoken_of(srcdir):
    """Texts of scripts, which hand words to t() by variables too."""
    scripts = "\n".join(path.read_text() for path in sorted(srcdir.glob("htdocs/*.js")))
    return {re.sub(r"\\(.)", r"\1", text[1:-1]) for text in re.findall(r"'(?:[^'\\\n]|\\.)*'", scripts)}


def used(srcdir):
    """Words -> where they stand."""
    words = {}

    def add(text, path):
        words.setdefault(text, str(path.relative_to(srcdir)))

    for path in sorted(srcdir.glob("htdocs/templates/*.html")):
        for text in TEMPLATE.findall(path.read_text()):
            add(text, path)
    for path in sorted(srcdir.glob("htdocs/*.js")):
        for text in SCRIPT.findall(path.read_text()):
            add(re.sub(r"\\(.)", r"\1", text[1:-1]), path)
    for path in sorted([*srcdir.glob("modules/admin/*.c"), *srcdir.glob("modules/core/*.c")]):
        for text in WORD.findall(path.read_text()):
            add(c_text(text), path)
    table = srcdir / "modules/base/settings_table.h"
    for row in SETTING.findall(table.read_text()):
        for text in re.findall(LITERALS, row)[-2:]:
            add(c_text(text), table)
    return words


def names(text):
    """A placeholder that both of "one | many" have counts once."""
    return set(PLACEHOLDER.findall(text))


def faults_of(lang, catalogue, words, spoken=()):
    """Problems of one catalogue, as sentences."""
    faults = [f"{lang}.json lacks {text!r} of {where}" for text, where in words.items() if text not in catalogue]
    faults += [f"{lang}.json has {text!r}, which nothing says"
               for text in catalogue if text not in words and text not in spoken]
    for text, other in catalogue.items():
        if not other.strip():
            faults.append(f"{lang}.json: {text!r} is empty")
        elif text in words and names(other) != names(text):
            faults.append(f"{lang}.json: {text!r} and {other!r} have different placeholders")
        elif TIGHT.search(other):
            faults.append(f"{lang}.json: a space is missing in {other!r}")
        elif HALF.search(other):
            faults.append(f"{lang}.json: half-width punctuation in {other!r}")
    return faults


def labels(srcdir):
    """Settings without a label on their page, and labels without a setting."""
    rows = set(re.findall(r"^GB_SETTING\((\w+),", (srcdir / "modules/base/settings_table.h").read_text(), re.M))
    named = set(re.findall(r'^    \{"([A-Z_]+)",', (srcdir / "modules/admin/admin_labels.c").read_text(), re.M))
    return ([f"{name} has no label in admin_labels.c" for name in sorted(rows - named)]
            + [f"admin_labels.c names {name}, which is no setting" for name in sorted(named - rows)])


def checks(env):
    words, spoken = used(env.srcdir), spoken_of(env.srcdir)
    for lang in ("zh-CN", "zh-TW"):
        catalogue = json.loads((env.srcdir / f"htdocs/i18n/{lang}.json").read_text())
        yield f"words: {lang} is complete", faults_of(lang, catalogue, words, spoken)
    yield "words: every setting has a label", labels(env.srcdir)


def self_tests(_env):
    words = {"{n} key | {n} keys": "x", "Save": "x"}
    good = {"{n} key | {n} keys": "{n} 个密钥", "Save": "保存"}
    bad = [({"Save": "保存"}, "lacks"), ({**good, "Old": "旧"}, "nothing says"), ({**good, "Save": " "}, "empty"),
           ({**good, "{n} key | {n} keys": "密钥"}, "placeholders"), ({**good, "Save": "保存API"}, "space"),
           ({**good, "Save": "保存,好"}, "half-width")]
    yield "words: a good catalogue is none to complain of", faults_of("xx", good, words)
    for catalogue, word in bad:
        found = faults_of("xx", catalogue, words)
        yield f"words: notices what is wrong ({word})", [] if any(word in each for each in found) else [f"{found}"]
