#!/usr/bin/env python3
"""What several connections of one session are worth for bulk, beside one, in one run.

lines.py [--build build] [--lines N] [--mbit N] [--rounds N] [--check]

Two lines: one that lets no connection be faster than --mbit (a relay; what a long way, a policy or one
connection's congestion control does), and loopback as it is, where a connection ends with the processors.
There the share of the processors that one connection takes already, of what others leave, bounds what more can do:
where that is less than 1.6x it is shown, and --check asks for no more.
"""

import argparse
import os
import resource
import sys

from runs import Build, Line, Pool, SOURCE, bench, clean_environment

WANTED = 1.6
WORKLOADS = ("htod_256m", "dtoh_256m")


def ticks(pid):
    """Seconds of processor time of a process, its threads included."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def used(pool):
    # A worker that has ended is its parent's, which has waited for it.
    with open(f"/proc/{pool.server.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    ended = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    mine = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended + sum(ticks(pid) for pid in pool.workers()) + mine.ru_utime + mine.ru_stime


def busy():
    """Seconds of processor time of everybody, here and elsewhere."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def measure(build, pool, url, lines, rounds):
    """({workload: GB/s}, shares of all processors that we and that others took meanwhile)."""
    env = dict(pool.environment(), GPUPOOL_SERVER=url, GPUPOOL_LINES=str(lines), GPUPOOL_LINES_AFTER="0",
               GPUPOOL_PERF="no_compress")
    before, all_before = used(pool), busy()
    outcome = bench(build, env, list(WORKLOADS), rounds, 0.5)
    if outcome.why:
        raise RuntimeError(outcome.why)
    there = outcome.seconds * len(os.sched_getaffinity(0))
    taken = (used(pool) - before) / there
    others = max((busy() - all_before) / there - taken, 0)
    return {name: outcome.figures[name]["max"] for name in WORKLOADS}, taken, min(others, 1)


def compare(build, pool, what, mbit, options):
    """Best of the rounds on each side, in turn."""
    best, taken, others = {}, {}, 1
    with Line(build, pool.url, "0", mbit) as line:
        for _ in range(options.rounds):
            for lines in (1, options.lines):
                rates, share, elsewhere = measure(build, pool, line.url, lines, 2 if mbit else 0)
                for name, rate in rates.items():
                    best[name, lines] = max(rate, best.get((name, lines), 0))
                taken[lines] = max(share, taken.get(lines, 0))
                others = min(others, elsewhere)
    ratios = []
    for name in WORKLOADS:
        one, more = best[name, 1], best[name, options.lines]
        ratios.append(more / one)
        print(f"{what:>28}  {name}: 1 connection {one:7.3f} GB/s, {options.lines} {more:7.3f} GB/s, "
              f"{more / one:.2f}x")
    bound = min(max((1 - others) / max(taken[1], 0.001), 1), options.lines)
    print(f"{what:>28}  processors taken: by 1 connection {taken[1]:.0%}, by {options.lines} {taken[options.lines]:.0%},"
          f" by others {others:.0%} of {len(os.sched_getaffinity(0))}: they allow {bound:.2f}x", flush=True)
    return min(ratios), bound


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", default=os.path.join(SOURCE, "build"))
    p.add_argument("--lines", type=int, default=4)
    p.add_argument("--mbit", type=int, default=400)
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--check", action="store_true", help="less than 1.6x is a failure, where the processors allow it")
    options = p.parse_args()
    clean_environment()
    build = Build(options.build)
    pool = Pool(build.folder, SOURCE, "tls").start()
    try:
        narrow, narrow_bound = compare(build, pool, f"{options.mbit} Mbit/s a connection", options.mbit, options)
        loopback, bound = compare(build, pool, "loopback", 0, options)
    finally:
        pool.close()
    if loopback < WANTED and bound < WANTED:
        print(f"on loopback {bound:.2f}x is the most that these {len(os.sched_getaffinity(0))} processors allow")
    missed = narrow < WANTED <= narrow_bound or loopback < WANTED <= bound
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
