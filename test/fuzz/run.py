# SPDX-License-Identifier: Apache-2.0
"""Fuzzes every target for a while, seeded with our cases and the shared recordings, as many
side by side as there are processors.

    run.py FOLDER SECONDS [target ...]      FOLDER holds the targets as built for libFuzzer

The last line is "fuzz: N passed, N failed".  What was found lies in FOLDER/found/<target>;
what the runs have learnt is kept in FOLDER/corpus/<target>, and the next one goes on there.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

SRCDIR = pathlib.Path(os.environ.get("GB_SRCDIR") or pathlib.Path(__file__).parents[2])
SHARED = pathlib.Path(os.environ.get("GB_SHARED") or SRCDIR / "../shared")
LONGEST = 64 * 1024     # of a seed and of an input: longer ones only make it slow
LEAST = 200             # inputs that a run must have tried, or it was none

CASES = {
    "fuzz_openai_req": ("openai_to_gemini/*/in.json",),
    "fuzz_gemini_resp": ("gemini_to_openai/*/in*.json",),
    "fuzz_sse": ("stream/*/in.sse",),
    "fuzz_schema": ("schema/*/in.json",),
    "fuzz_multipart": ("form/*.txt",),
    "fuzz_media": ("media/*.json",),
}


def recordings():
    """(whole answers, streams) of the shared folder as bytes; both empty without it."""
    whole, streams = [], []
    folder = SHARED / "fixtures" / "open"
    if not folder.is_dir() and os.environ.get("CI") == "true":
        sys.exit(f"{folder}: CI runs with the shared recordings (GB_SHARED)")
    for path in sorted(folder.glob("*/*.json")):
        response = json.loads(path.read_text(encoding="utf-8")).get("response") or {}
        if isinstance(response.get("sse"), str):
            streams.append(response["sse"].encode())
        elif isinstance(response.get("body"), dict):
            whole.append(json.dumps(response["body"], ensure_ascii=False).encode())
    return whole, streams


def seeds(target):
    found = [path.read_bytes() for pattern in CASES[target] for path in sorted((SRCDIR / "test/cases").glob(pattern))]
    whole, streams = recordings()
    if target == "fuzz_gemini_resp":
        found += whole
    if target == "fuzz_sse":        # the first byte says how it is cut
        found = [bytes([i % 7]) + text for i, text in enumerate(found + streams)]
    return [text for text in found if len(text) <= LONGEST]


def prepare(folder, target):
    """Seeds as files, in a folder of their own; and where found and learnt inputs go."""
    into = folder / "seeds" / target
    for each in (into, folder / "corpus" / target, folder / "found" / target):
        each.mkdir(parents=True, exist_ok=True)
    texts = seeds(target)
    if not texts:
        sys.exit(f"{target}: there are no seeds for it")
    for i, text in enumerate(texts):
        (into / f"{i:04}").write_bytes(text)
    return into, len(texts)


def fuzz(folder, target, seconds):
    """(target, whether all is well, a line about it, the output)"""
    into, n = prepare(folder, target)
    argv = [folder / target, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", f"-max_len={LONGEST}",
            f"-artifact_prefix={folder}/found/{target}/", "-print_final_stats=1", folder / "corpus" / target, into]
    done = subprocess.run(argv, text=True, errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    executed = re.search(r"number_of_executed_units: *(\d+)", done.stdout)
    tried = int(executed.group(1)) if executed else 0
    good = done.returncode == 0 and tried >= LEAST
    return target, good, f"{target}: {n} seeds, {tried} inputs in {seconds} s" + ("" if good else ", FAILED"), done.stdout


def main(folder, seconds, *targets):
    folder = pathlib.Path(folder).resolve()
    failed = 0
    targets = targets or sorted(CASES)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _, good, line, output in pool.map(lambda t: fuzz(folder, t, int(seconds)), targets):
            print(line, flush=True)
            if not good:
                failed += 1
                print(output[-8000:], f"\nwhat it was given lies below {folder}/found", flush=True)
    print(f"fuzz: {len(targets) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
