#!/usr/bin/env python3
"""Runs random programs straight on the software device and through a pool, and compares.

usage: run_random.py --build DIR [--seeds A-B] [--seconds N] [--calls N] [--show | --classes]

Each seed is a program: the same seed makes the same calls. Programs go on until the seeds or the
seconds are at an end. A difference is shown with the calls before it; --seeds N-N --show prints both
traces whole; --classes tells for each call and pair of results how often they differ, and one example.
Exit status: 0 no difference, 1 some, 77 not built.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "programs"))
import run_both  # noqa: E402

BATCH = 10
NO_SERVER = "init 100"
BEFORE = 12
AGAIN = 5


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--seeds", default=None, help="A-B; without it, new ones from the day")
    p.add_argument("--seconds", type=float, default=None)
    p.add_argument("--calls", type=int, default=150)
    p.add_argument("--show", action="store_true")
    p.add_argument("--classes", action="store_true")
    p.add_argument("--most", type=int, default=20, help="stop after so many differences")
    p.add_argument("--devices", default="2")
    return p.parse_args()


def programs(text):
    """seed -> lines"""
    found, lines = {}, []
    for line in text.splitlines():
        if line.startswith("seed "):
            lines = found.setdefault(int(line[5:]), [])
        else:
            lines.append(line.rstrip())
    return found


def first_difference(a, b):
    for i in range(max(len(a), len(b))):
        if i >= len(a) or i >= len(b) or a[i] != b[i]:
            return i
    return None


def report(seed, direct, pooled, at):
    print("seed %d differs at line %d" % (seed, at))
    for line in direct[max(0, at - BEFORE):at]:
        print("      " + line)
    print("direct: " + (direct[at] if at < len(direct) else "(nothing)"))
    print("pooled: " + (pooled[at] if at < len(pooled) else "(nothing)"), flush=True)


CALL = re.compile(r"\d+ t\d (\w+)\(.*\) -> (\d+)")


class Classes:
    """Differences counted by call and results, up to the one that makes the programs' ways part."""

    def __init__(self):
        self.found = {}

    def add(self, seed, direct, pooled):
        for i in range(max(len(direct), len(pooled))):
            a, b = (x[i] if i < len(x) else "(nothing)" for x in (direct, pooled))
            if a == b:
                continue
            ma, mb = CALL.match(a), CALL.match(b)
            key = (ma.groups() + (mb.group(2),)) if ma and mb else (a[:40], b[:40], "")
            self.found.setdefault(key, []).append((seed, a, b))
            if not (ma and mb and "0" not in (ma.group(2), mb.group(2))):
                return

    def show(self):
        for (name, a, b), all_of in sorted(self.found.items(), key=lambda x: -len(x[1])):
            seed, direct, pooled = all_of[0]
            print("%d x %s direct %s pooled %s, as in seed %d\n    %s\n    %s"
                  % (len(all_of), name, a, b, seed, direct, pooled))


class Batch:
    """Some seeds, both ways at once."""

    def __init__(self, options, parts, server, env, program):
        self.options, self.parts, self.server = options, parts, server
        self.env = dict(env, LD_LIBRARY_PATH=os.path.dirname(parts.soft))
        self.program = program
        self.classes = Classes()

    def steady(self, seed):
        """Whether a difference shows again: work that nothing orders may end either way on a busy
        machine, straight on the device too. Where the server did not answer in time, nothing was
        compared."""
        for _ in range(AGAIN):
            direct, pooled = (p.get(seed, []) for p in self.both(seed, seed))
            if pooled[:1] != [NO_SERVER] and first_difference(direct, pooled) is not None:
                return True
        return False

    def both(self, first, last):
        arguments = [self.program, str(first), str(last), str(self.options.calls)]
        pool = dict(self.server.client_env, LD_LIBRARY_PATH=os.path.dirname(self.parts.client),
                    GPUPOOL_SERVER=self.server.url, GPUPOOL_LOG="error")
        both = [subprocess.Popen(arguments, env=e, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 stdin=subprocess.DEVNULL) for e in (self.env, pool)]
        outs = [p.communicate() for p in both]
        bad = [p.returncode for p in both]
        if bad != [0, 0]:
            run_both.die(1, "random_program ended with %s: %s" % (bad, outs[0][1] + outs[1][1]))
        return [programs(o[0].decode(errors="replace")) for o in outs]

    def run(self, first, last):
        direct, pooled = self.both(first, last)
        different = []
        for seed in range(first, last + 1):
            a, b = direct.get(seed, []), pooled.get(seed, [])
            at = first_difference(a, b)
            if self.options.show:
                print("\n".join(["--- direct"] + a + ["--- pooled"] + b))
            if at is not None and not self.steady(seed):
                print("seed %d differed once and not in %d further runs: direct %s, pooled %s"
                      % (seed, AGAIN, a[at] if at < len(a) else "(nothing)", b[at] if at < len(b) else "(nothing)"))
            elif at is not None:
                different.append(seed)
                self.classes.add(seed, a, b)
                if not self.options.classes:
                    report(seed, a, b, at)
            for name, lines in (("direct", a), ("pooled", b)):
                ended = [x for x in lines if x.startswith(("signal", "exit"))]
                if ended and at is None:
                    different.append(seed)
                    print("seed %d, %s: %s behind\n      %s" % (seed, name, ended[0], lines[-3:][0]))
        return different


def main():
    options = parse()
    parts = run_both.Parts(os.path.abspath(options.build))
    parts.need("soft", "client", "daemon", "tool")
    program = os.path.join(os.path.abspath(options.build), "tests/differential/random_program")
    if not os.path.exists(program):
        run_both.die(77, "not built: " + program)
    if options.seeds:
        first, _, last = options.seeds.partition("-")
        first, last = int(first), int(last or first)
    else:
        first, last = int(time.time()) * 1000, None
    start, different, seed = time.monotonic(), [], first
    with tempfile.TemporaryDirectory(prefix="gpupool-random-") as work:
        env = run_both.clean_environment(work, options.devices)
        server = run_both.Server(parts, work, env)
        batch = Batch(options, parts, server, env, program)
        try:
            while (last is None or seed <= last) and \
                    (options.seconds is None or time.monotonic() - start < options.seconds):
                end = seed + BATCH - 1 if last is None else min(seed + BATCH - 1, last)
                different += batch.run(seed, end)
                seed = end + 1
                if len(different) >= options.most:
                    break
        finally:
            status = server.stop()
        if status != 0:
            print("the server ended with %s" % status)
            print(server.text()[-3000:])
    batch.classes.show() if options.classes else None
    print("%d programs of %d calls from seed %d, %d differ, %.0f s"
          % (seed - first, options.calls, first, len(different), time.monotonic() - start))
    return 1 if different or status != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
