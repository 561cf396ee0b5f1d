#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The benchmark: what gbalance costs, as ratios to calling the upstream directly and to
the same httpd's mod_proxy in front of it.

Four ways to the same simulator, measured in turns within each round, so that what else
the machine does blurs all of them alike; every figure is the median of the rounds:

    direct      the simulator itself
    proxy       mod_proxy in another VirtualHost of the same httpd
    native      gbalance's Gemini surface
    translated  gbalance's OpenAI surface

CPU seconds come first: they are read from /proc for httpd's processes alone, so load
generator and simulator on the same cores cannot blur them.

    bench.py [--rounds 5] [--seconds 2] [--json FILE] [--only NAME] [--strict]

The entry `pages` is of another kind: the admin pages with 10,000 keys and a million log
rows, against a static file of the same httpd, and in Chromium.  See pages.py.
"""
import argparse
import json
import os
import statistics
import sys
import time

for folder in ("../httpd", "../sdk"):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), folder))

import procfs  # noqa: E402
import tools  # noqa: E402
from conf import Conf  # noqa: E402
from env import Server  # noqa: E402
from load import Case, Load, load  # noqa: E402
from pages import measure_pages  # noqa: E402
from sim import Simulator  # noqa: E402
from wire import Gemini, OpenAI  # noqa: E402

KEY = "AIzaBenchmark"
CONNECTIONS = 32
STREAMS, CHUNKS, INTERVAL = 100, 100, 20       # 5,000 chunks a second
PARKED = 1000
PROXIED = 100                                  # mod_proxy holds a thread for each
WAITING, THINKING = 500, 250                   # callers at a time, milliseconds until a model answers
WAYS = ("direct", "proxy", "native", "translated")
WHAT = ("unary", "thinking", "latency", "stream", "speech", "embeddings", "images", "memory")


class Bench:
    def __init__(self):
        self.sim = Simulator(("--calls", "0"))
        self.server = Server(Conf(
            keys=(KEY,), modules=("proxy", "proxy_http"),
            plain=f"ProxyPass /v1beta {self.sim.url}/v1beta flushpackets=on keepalive=on"), self.sim).start()
        self.figures = {}       # (name, way) -> [value of each round]

    def close(self):
        stopped = self.server.stop()
        unclaimed = self.server.log.unclaimed()
        self.sim.stop()
        self.server.remove()
        assert stopped and not unclaimed, "\n".join(unclaimed[:10]) or "httpd did not stop"

    # ---- ways

    def port(self, way):
        return {"direct": self.sim.port, "proxy": self.server.plain_port}.get(way, self.server.port)

    def case(self, way, text, stream, options=""):
        surface = OpenAI if way == "translated" else Gemini
        return Case("POST", surface.path(stream), surface.body(text, stream), options)

    def options(self, way):
        if way in ("direct", "proxy"):
            return {"headers": [f"x-goog-api-key: {KEY}"]}
        return {"token": self.server.api.token}

    def keep(self, name, way, value):
        self.figures.setdefault((name, way), []).append(value)

    def measured(self, way, run, name, count, per):
        """Runs it and keeps the CPU seconds that httpd spent for `per` of what count() counts."""
        before = self.server.cpu_seconds()
        report = run()
        spent = self.server.cpu_seconds() - before
        assert report.failed == 0 and report.other_than_200 == 0, f"{way}: {report}"
        if way != "direct":
            self.keep(name, way, spent * per / count(report))
        return report

    # ---- what is measured

    def unary(self, way, seconds):
        report = self.measured(
            way, lambda: load(self.port(way), [self.case(way, "Say hello.", False)], connections=CONNECTIONS,
                              duration=seconds, **self.options(way)),
            "CPU seconds per 1,000 requests", lambda r: r.completed, 1000)
        self.keep("requests per second", way, report.completed / report.seconds)

    def thinking(self, way, seconds):
        """An upstream that takes its time, as models do: who waits without a thread serves more."""
        report = load(self.port(way), [self.case(way, f"[[delay={THINKING}]] Say hello.", False)], connections=WAITING,
                      duration=max(2.0, seconds), **self.options(way))
        assert report.failed == 0 and report.other_than_200 == 0, f"{way}: {report}"
        self.keep(f"requests per second, {THINKING} ms each", way, report.completed / report.seconds)

    def latency(self, way, seconds):
        """One request at a time: what is added is work, not waiting in line."""
        report = load(self.port(way), [self.case(way, "Say hello.", False)], connections=1, duration=seconds,
                      **self.options(way))
        assert report.failed == 0 and report.other_than_200 == 0, f"{way}: {report}"
        for rank in ("p50", "p99"):
            self.keep(f"latency {rank}, us", way, report.latency_us[rank])

    def stream(self, way, seconds):
        chunks = max(20, int(CHUNKS * seconds / 2))
        text = f"[[chunks={chunks} interval={INTERVAL} seq stamp]]"
        report = self.measured(
            way, lambda: load(self.port(way), [self.case(way, text, True, f"expect={chunks}")],
                              connections=STREAMS, requests=STREAMS, rate=1000, seq=self.sim.STAMPED_SEQ,
                              seq_first=self.sim.SEQ_FIRST, stamp=self.sim.STAMP, **self.options(way)),
            "CPU seconds per 100,000 chunks", lambda r: r.chunks, 100_000)
        assert report.chunks == STREAMS * chunks and report.out_of_order == report.wrong_count == 0, f"{way}: {report}"
        for rank in ("p50", "p99"):
            self.keep(f"chunk latency {rank}, us", way, report.chunk_age_us[rank])

    def speech(self, way, seconds):
        """Some seconds of sound in one answer: as WAV, and for us as MP3, which a worker encodes."""
        text, model = "x" * 400, "gemini-2.5-flash-preview-tts"
        config = {"responseModalities": ["AUDIO"],
                  "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}}
        asked = {"model": model, "voice": "Kore", "input": text}
        cases = {"wav": Case("POST", Gemini.path(model=model), Gemini.body(text, generationConfig=config))}
        if way == "translated":
            cases = {name: Case("POST", "/v1/audio/speech", {**asked, "response_format": name})
                     for name in ("wav", "mp3")}
        self.whole(way, seconds, "speeches", cases)

    def embeddings(self, way, seconds):
        """One text, and a batch of 100, with 768 numbers each; in base64 where it is translated."""
        model, texts = "gemini-embedding-001", [f"text number {i}" for i in range(100)]
        requests = [{"model": f"models/{model}", "content": {"parts": [{"text": t}]}, "outputDimensionality": 768}
                    for t in texts]
        asked = {"model": model, "dimensions": 768, "encoding_format": "base64"}
        cases = {"one text": Case("POST", f"/v1beta/models/{model}:embedContent", requests[0]),
                 "100 texts": Case("POST", f"/v1beta/models/{model}:batchEmbedContents", {"requests": requests})}
        if way == "translated":
            cases = {"one text": Case("POST", "/v1/embeddings", {**asked, "input": texts[0]}),
                     "100 texts": Case("POST", "/v1/embeddings", {**asked, "input": texts})}
        self.whole(way, seconds, "embeddings", cases)

    def images(self, way, seconds):
        """A small picture: what is measured is the call, not the copying."""
        model = "gemini-3-pro-image"
        case = Case("POST", Gemini.path(model=model), Gemini.body("a cat", generationConfig={"responseModalities": ["IMAGE"]}))
        if way == "translated":
            case = Case("POST", "/v1/images/generations", {"model": model, "prompt": "a cat"})
        self.whole(way, seconds, "images", {"one": case})

    def whole(self, way, seconds, things, cases):
        """Answers in one piece, eight at a time."""
        for name, case in cases.items():
            report = self.measured(way, lambda case=case: load(self.port(way), [case], connections=8, duration=seconds,
                                                               **self.options(way)),
                                   f"CPU seconds per 1,000 {things}, {name}", lambda r: r.completed, 1000)
            self.keep(f"{things} per second, {name}", way, report.completed / report.seconds)

    def memory(self, way, _):
        """Proportional set size of all children with so many streams open, less that without."""
        if way == "direct":
            return
        count = PROXIED if way == "proxy" else PARKED
        before = sum(procfs.memory(p)["pss"] for p in self.server.children())
        streams = Load(self.port(way), [self.case(way, "[[chunks=10 interval=400 seq]]", True)],
                       connections=count, requests=count, **self.options(way))
        streams.wait_streaming()
        time.sleep(1)
        after = sum(procfs.memory(p)["pss"] for p in self.server.children())
        report = streams.wait()
        assert report.failed == 0 and report.other_than_200 == 0, f"{way}: {report}"
        self.keep("KB per parked stream", way, (after - before) / count / 1024)
        old = self.server.children()    # what their allocators keep would be missing next time
        self.server.graceful()
        tools.wait_until(lambda: not any(map(procfs.alive, old)), "old children to leave", timeout=30)

    # ---- the report

    def median(self, name, way):
        values = self.figures.get((name, way))
        return statistics.median(values) if values else None

    def rows(self):
        names = dict.fromkeys(name for name, _ in self.figures)
        for name in sorted(names, key=lambda name: not name.startswith("CPU seconds")):
            yield name, {way: self.median(name, way) for way in WAYS}


def number(value):
    if value is None:
        return "-"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.2f}" if size >= 1 else f"{value:.4f}"


def ratio(value, to):
    return f"{value / to:.2f}" if value is not None and to else "-"


def print_table(bench):
    titles = ("", *WAYS, "native/direct", "native/proxy", "translated/direct", "translated/proxy")
    print(("{:<44}" + "{:>11}" * 4 + "{:>18}" * 4).format(*titles))
    for name, values in bench.rows():
        ratios = [ratio(values[way], values[to]) for way in ("native", "translated") for to in ("direct", "proxy")]
        print(("{:<44}" + "{:>11}" * 4 + "{:>18}" * 4).format(name, *(number(values[w]) for w in WAYS), *ratios))
    for name, values in bench.rows():
        if "latency" in name and values["direct"] is not None:
            added = [None if values[w] is None else values[w] - values["direct"] for w in WAYS]
            print(("{:<44}" + "{:>11}" * 4).format("added " + name, *map(number, added)))


BARS = [("requests per second", "native", 1.0), ("requests per second", "translated", 0.6)]


def check_bars(bench):
    """The first bar: at least this share of mod_proxy's figure."""
    missed = 0
    for name, way, share in BARS:
        mine, proxy = bench.median(name, way), bench.median(name, "proxy")
        if mine is not None:
            reached = mine / proxy >= share
            missed += not reached
            print(f"bar: {way} {name} {mine / proxy:.2f} of mod_proxy, wanted {share}: "
                  + ("reached" if reached else "MISSED"))
    return missed


def measure_calls(args):
    """How many bars were missed, and all figures."""
    bench = Bench()
    try:
        what = [args.only] if args.only else WHAT
        for way in WAYS:
            bench.unary(way, 0.5)       # warm: children, connections, caches
        bench.figures.clear()
        for turn in range(args.rounds):
            for name in what:
                for way in WAYS:
                    getattr(bench, name)(way, args.seconds)
            print(f"round {turn + 1} of {args.rounds}", file=sys.stderr)
        print_table(bench)
        return check_bars(bench), {f"{name}, {way}": values for (name, way), values in bench.figures.items()}
    finally:
        bench.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--only", choices=(*WHAT, "pages"))
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--strict", action="store_true", help="fail when a bar is missed")
    args = parser.parse_args()
    missed, figures = 0, {}
    if args.only != "pages":
        missed, figures = measure_calls(args)
    if args.only in (None, "pages"):
        figures.update(measure_pages(args.seconds))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(figures, f, indent=1)
    return 1 if missed and args.strict else 0


if __name__ == "__main__":
    assert tools.load_generator()
    sys.exit(main())
