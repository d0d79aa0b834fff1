#!/usr/bin/env python3
"""Runs a folder of programs straight on the software device and through a pool; prints a table.

usage: tests/samples.sh DIR [options] [NAME...]

DIR holds programs that were built beforehand, each as DIR/NAME or as DIR/NAME/NAME with its data
beside it; this script builds and fetches nothing. Each program runs in its own folder, once
directly and once through one real server over mutual TLS, and must exit 0 both times. A file
DIR/samples.args may hold lines `NAME ARGUMENT...` for programs that are slow without arguments;
a line `NAME skip REASON...` leaves one out, and the table says why.

The last column says how the two standard outputs compare:
  equal            line by line
  equal but times  after measured values were masked: a number with a unit of time or rate, a
                   number on a line that speaks of time or speed or in a table below such a
                   line, and addresses
  other order      the same lines (masked) in another order, as kernels' output may be
  equal but own    after the numbers were masked too on each line in which a second direct run
                   differs from the first: what the program takes from the clock, its process
                   number or chance
  differs          everything else; the first difference follows the table

Exit status: 0 if every program passed both ways with outputs that do not differ, 1 if not,
77 if something needed is not built.
"""
import argparse
import os
import re
import shlex
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run_both  # noqa: E402

WAIVED = 2  # what many samples exit with where the device lacks something

NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
UNIT = (r"(?:ms|msecs?|milliseconds?|us|usecs?|microseconds?|ns|nanoseconds?|s|secs?|seconds?|%|"
        r"[KMGT]?i?[Bb](?:ytes)?/s(?:ec)?|[KMGT]?i?Bps|[KMGT]?FLOPS?(?:/s(?:ec)?)?|[kMG]?Hz|"
        r"[A-Za-z]+/s(?:ec(?:ond)?)?|cycles|clocks|fps)")
MEASURED = re.compile(r"(%s)(\s*\(?%s\b)" % (NUMBER, UNIT))
SPEAKS_OF_TIME = re.compile(r"time|elapsed|bandwidth|throughput|perf|speed|latency|clock|cycles|"
                            r"flop|/s\b|\bms\b|memcopy:|streamed:|streams:|kernel:|"
                            r"while waiting",
                            re.IGNORECASE)
ROW_OF_NUMBERS = re.compile(r"\s*%s(?:\s+%s)*\s*" % (NUMBER, NUMBER))
HEADING = re.compile(r"[A-Za-z]{4}")
ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,16}\b")


def masked(line):
    """The line without what a run measures, and without addresses."""
    line = ADDRESS.sub("0x#", line)
    line = MEASURED.sub(r"#\2", line)
    if SPEAKS_OF_TIME.search(line):
        line = re.sub(NUMBER, "#", line)
    return line.rstrip()


def masked_lines(text):
    """All lines of an output, masked; rows of numbers as their heading is."""
    lines, heading = [], ""
    for line in text.splitlines():
        if HEADING.search(line):
            heading = line
        if ROW_OF_NUMBERS.fullmatch(line) and SPEAKS_OF_TIME.search(heading):
            lines.append(" ".join("#" for _ in line.split()))
        else:
            lines.append(masked(line))
    return lines


def compare(a, b):
    """How two outputs compare, and the first difference as text."""
    if a == b:
        return "equal", None
    x, y = masked_lines(a), masked_lines(b)
    if x == y:
        return "equal but times", None
    if sorted(x) == sorted(y):
        return "other order", None
    for i in range(max(len(x), len(y))):
        left = x[i] if i < len(x) else "(nothing)"
        right = y[i] if i < len(y) else "(nothing)"
        if left != right:
            return "differs", "line %d\n    direct: %s\n    pooled: %s" % (i + 1, left, right)
    return "differs", None


def without_own(text, first, second):
    """text's lines without what differs between two runs of the same kind; None if the shape does."""
    x, y, lines = (t.splitlines() for t in (first, second, text))
    if not len(x) == len(y) == len(lines):
        return None
    return "\n".join(line if masked(a) == masked(b) else
                     " ".join(re.sub(NUMBER, "#", masked(line)).split())
                     for line, a, b in zip(lines, x, y))


def equal_but_own(direct, again, pooled):
    """Whether the pooled output differs from direct only where a second direct run may too."""
    a, b = (without_own(text, direct, again) for text in (direct, pooled))
    return a is not None and b is not None and compare(a, b)[0] != "differs"


def is_program(path):
    """A file that can be executed and is no library."""
    return (os.path.isfile(path) and os.access(path, os.X_OK) and ".so" not in
            os.path.basename(path))


def programs_in(folder):
    """Name and path of each program, by name."""
    found = {}
    for name in sorted(os.listdir(folder)):
        for path in (os.path.join(folder, name), os.path.join(folder, name, name)):
            if is_program(path):
                found[name] = path
    return found


def arguments_in(folder):
    """What samples.args says of each program."""
    path = os.path.join(folder, "samples.args")
    lines = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            for line in f:
                words = shlex.split(line, comments=True)
                if words:
                    lines[words[0]] = words[1:]
    return lines


def word_for(outcome):
    """passed, waived, timeout, or the failed run's status."""
    if outcome is None:
        return "-"
    if outcome.status == 0:
        return "passed"
    if outcome.status == WAIVED:
        return "waived"
    return str(outcome.status) if outcome.status == "timeout" else "FAILED %s" % outcome.status


def seconds_for(outcome):
    return "-" if outcome is None else "%.1f s" % outcome.seconds


class Table:
    ROW = "%-28s %-12s %9s  %-12s %9s %7s  %s"

    def __init__(self):
        self.failed, self.notes = 0, []
        print(self.ROW % ("program", "direct", "", "pooled", "", "trips", "output"), flush=True)

    def add(self, name, direct, pooled, trips, output, note):
        good = all(o is None or o.status == 0 for o in (direct, pooled)) and output != "differs"
        self.failed += not good
        print(self.ROW % (name, word_for(direct), seconds_for(direct), word_for(pooled),
                          seconds_for(pooled), trips, output), flush=True)
        if note:
            self.notes.append("%s: %s" % (name, note))
        for way, o in (("direct", direct), ("pooled", pooled)):
            if o is not None and o.status != 0:
                text = run_both.without_stats(o.err) + o.out
                tail = "\n".join("    " + line for line in text.splitlines()[-6:])
                self.notes.append("%s: %s run: %s\n%s" % (name, way, word_for(o), tail))

    def end(self, count, skipped):
        if self.notes:
            print("\n" + "\n".join(self.notes))
        print("\n%d programs: %d passed, %d did not, %d left out"
              % (count + skipped, count - self.failed, self.failed, skipped))
        return 1 if self.failed else 0


def run_one(table, parts, server, env, name, path, args, options):
    """Both ways, in the program's folder."""
    folder = os.path.dirname(path)
    direct = pooled = None
    trips, output, note = "-", "-", None
    direct_env = parts.direct_env(env)
    if not options.pooled:
        direct = run_both.run([path] + args, direct_env, options.timeout, folder)
    if not options.direct:
        command = [parts.tool, "run", "--server", server.url, "--", path] + args
        pooled = run_both.run(command, dict(server.client_env, GPUPOOL_STATS="1"),
                              options.timeout, folder)
        trips = run_both.stats_of(pooled.err).get("exposed_round_trips", "?")
    if direct is not None and pooled is not None:
        output, note = compare(direct.out, pooled.out)
        if output == "differs" and direct.status == pooled.status == 0:
            again = run_both.run([path] + args, direct_env, options.timeout, folder)
            if again.status == 0 and equal_but_own(direct.out, again.out, pooled.out):
                output, note = "equal but own", None
    table.add(name, direct, pooled, trips, output, note)


def run_all(parts, jobs, options):
    table, skipped = Table(), 0
    with tempfile.TemporaryDirectory(prefix="gpupool-samples-") as work:
        env = run_both.clean_environment(work, options.devices)
        server = None if options.direct else run_both.Server(parts, work, env)
        try:
            for name, path, args in jobs:
                if args[:1] == ["skip"]:
                    skipped += 1
                    print("%-28s left out: %s" % (name, " ".join(args[1:])), flush=True)
                else:
                    run_one(table, parts, server, env, name, path, args, options)
        finally:
            if server is not None and server.stop() != 0:
                table.failed += 1
                print("the server did not end well:\n" + server.text()[-2000:])
    return table.end(len(jobs) - skipped, skipped)


def parse():
    p = argparse.ArgumentParser(prog="tests/samples.sh",
                                usage=__doc__.split("\n\n")[1].replace("usage: ", ""))
    p.add_argument("--build", default="build", help="Meson's build folder")
    p.add_argument("--timeout", type=float, default=300, help="seconds for each run")
    p.add_argument("--devices", type=int, help="so many software devices")
    p.add_argument("--direct", action="store_true", help="only straight on the software device")
    p.add_argument("--pooled", action="store_true", help="only through the pool")
    p.add_argument("dir")
    p.add_argument("names", nargs="*", help="only these")
    return p.parse_intermixed_args()


def main():
    options = parse()
    if not os.path.isdir(options.dir):
        run_both.die(2, "no such folder: " + options.dir)
    parts = run_both.Parts(os.path.abspath(options.build))
    parts.need("soft")
    if not options.direct:
        parts.need("client", "daemon", "tool")
    folder = os.path.abspath(options.dir)
    programs, args = programs_in(folder), arguments_in(folder)
    names = options.names or list(programs)
    for name in names:
        if name not in programs:
            run_both.die(2, "no program %s in %s" % (name, options.dir))
    if not names:
        run_both.die(2, "no program in %s" % options.dir)
    return run_all(parts, [(n, programs[n], args.get(n, [])) for n in names], options)


if __name__ == "__main__":
    sys.exit(main())
