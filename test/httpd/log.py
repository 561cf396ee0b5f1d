# SPDX-License-Identifier: Apache-2.0
"""httpd's error log: what a test may expect in it, and what nobody expected.

Every line at warn or above that no test claims fails its class, and so does a
child that died.  A claim is a GB number ("GB1203") or a regular expression; it
holds for the rest of the class.
"""
import os
import re

GRAVE = {"warn", "error", "crit", "alert", "emerg"}
# What an installation says of itself: mod_ssl compared the versions of OpenSSL at build and run time.
ALWAYS = [re.compile(r"\bAH01882:")]
LINE = re.compile(r"^\[[^\]]+\] \[(?P<module>[^\]:]*):(?P<level>[a-z0-9]+)\] ")
DEATH = re.compile(r"\bAH0005[12]: child pid")     # by a signal: httpd has no more than a notice for it


class ErrorLog:
    def __init__(self, path):
        self.path = path
        self.claims = list(ALWAYS)
        self._checked = 0

    def text(self, start=0):
        if not os.path.exists(self.path):
            return ""
        with open(self.path, encoding="utf-8", errors="replace") as f:
            f.seek(start)
            return f.read()

    def position(self):
        return os.path.getsize(self.path) if os.path.exists(self.path) else 0

    def lines(self, start=0):
        return self.text(start).splitlines()

    def matching(self, pattern, start=0):
        found = re.compile(pattern)
        return [line for line in self.lines(start) if found.search(line)]

    def claim(self, *what):
        for text in what:
            pattern = rf"\b{text}:" if re.fullmatch(r"(GB|AH)\d+", text) else text
            self.claims.append(re.compile(pattern))

    def claim_ending(self, start):
        """What httpd said from there on, while it was stopped, and says of itself: the event MPM
        closes the sockets of workers that are still at work with them."""
        for line in self.matching(r"\bAH03092: process_lingering_close\b", start):
            self.claims.append(re.compile(re.escape(line)))

    def grave(self):
        """Lines at warn or above; what has no level (stderr of a child) is grave, too, and a child's death."""
        found = []
        for line in self.lines():
            match = LINE.match(line)
            if line and (match is None or match["level"] in GRAVE or DEATH.search(line)):
                found.append(line)
        return found

    def unclaimed(self):
        return [line for line in self.grave() if not any(c.search(line) for c in self.claims)]

    def tail(self, n=60):
        return "\n".join(self.lines()[-n:])
