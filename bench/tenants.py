#!/usr/bin/env python3
"""What tenants get of a device beside what they were promised: shares, a forced share, priority.

    bench/tenants.py --build build              # about 9 minutes
    bench/tenants.py --build build --only priority --arrivals 1000
    bench/tenants.py --build build --only overhead

A pool server on the software device's timing model, which all its workers share; a process for each
tenant (tenant_load.c). Printed is what each got done, as a part of what was given out, and what the
server charged it for, which must be the same. A share is judged within 2 points in each of three
windows of 10 s, of which one kernel of 200 ms is 2 points by itself. The model's clock is the machine's: where others use its processors, who is woken late is
seen in what priority costs.

Overhead is what a tenant that is alone and fits pays: pool_bench's launches and training-like steps
on a server without tenants, on one with a tenant, and on one that pages too, in turns.
"""

import argparse
import json
import mmap
import os
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(SOURCE, "tests", "chaos"))
from pool import Pool, eventually  # noqa: E402  (the one place that knows how a server is started)

# tenant_load.h
ROWS, REQUESTS = 8, 4096
ROW_BYTES = 8 * 4 + 3 * 8 * REQUESTS
NAMES = ("alice", "bob", "carol", "dave")


class Board:
    """The counters that all loads write."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "board")
        with open(self.path, "wb") as file:
            file.truncate(ROWS * ROW_BYTES)
        with open(self.path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)

    def _number(self, row, field):
        return struct.unpack_from("<Q", self.map, row * ROW_BYTES + 8 * field)[0]

    def ready(self, row):
        return self._number(row, 0)

    def done_s(self, row):
        return self._number(row, 1) / 1e9

    def kernels(self, row):
        return self._number(row, 2)

    def requests(self, row):
        return self._number(row, 3)

    def times_ms(self, row, which, since=0):
        """which 0: of the first kernels; 1: of whole requests; 2: the requests' own work"""
        at = row * ROW_BYTES + 8 * 4 + which * 8 * REQUESTS
        count = min(self.requests(row), REQUESTS)
        values = struct.unpack_from(f"<{count}q", self.map, at)
        return [v / 1e6 for v in values[since:]]


class Load:
    """What one tenant does; tenant_load.c."""

    def __init__(self, least_us, most_us, keys="own", request=0, pause_us=0):
        self.words = [str(w) for w in (least_us, most_us, keys, request, pause_us)]


class Trial:
    """A server with these tenants and their loads at work."""

    def __init__(self, build, config, loads):
        self.pool = Pool(build, SOURCE)
        folder = self.pool.folder.name
        self.device = "bench-%d" % os.getpid()
        self.board = Board(folder)
        subprocess.run([os.path.join(SOURCE, "deploy/certs.sh"), self.pool.certs,
                        *[w for n in NAMES[:len(loads)] for w in ("--tenant", n)]], check=True,
                       stdout=subprocess.DEVNULL)
        path = os.path.join(folder, "server.ini")
        with open(path, "w", encoding="ascii") as file:
            file.write(config)
        os.environ.update(GPUPOOL_SOFT_SHARED=self.device, GPUPOOL_SOFT_INSTANT="yes",
                          GPUPOOL_SOFT_THREAD_RATE="1000000")
        self.pool.options = ("--config", path, "--metrics", "http://127.0.0.1:0")
        self.pool.start()
        self.processes = []
        for index, load in enumerate(loads):
            env = dict(self.pool.environment(), GPUPOOL_CERT=f"{self.pool.certs}/{NAMES[index]}.crt",
                       GPUPOOL_KEY=f"{self.pool.certs}/{NAMES[index]}.key")
            self.processes.append(subprocess.Popen(
                [os.path.join(build, "bench/tenant_load"), self.board.path, str(index),
                 *load.words], env=env, stdin=subprocess.DEVNULL))

    def __enter__(self):
        if not eventually(lambda: all(self.board.ready(i) for i in range(len(self.processes))), 30):
            raise RuntimeError("a load did not begin:\n" + self.pool.log())
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        self.pool.close()
        try:
            os.unlink(f"/dev/shm/gpupool-soft-{os.geteuid()}-{self.device}")
        except OSError:
            pass

    def charged_s(self):
        """Seconds of the device that the server charged each tenant for."""
        port = re.search(r"metrics at \S+, port (\d+)", self.pool.log())
        if port is None:
            return [0.0] * len(self.processes)
        url = f"http://127.0.0.1:{port.group(1)}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        got = dict(re.findall(r'gpupool_tenant_turn_seconds_total\{[^}]*tenant="(\w+)"[^}]*\} (\S+)',
                              text))
        return [float(got.get(n, 0)) for n in NAMES[:len(self.processes)]]

    def watch(self, seconds):
        """Per load what it got done and what it was charged, over so many seconds."""
        rows = range(len(self.processes))
        done, charged, began = [self.board.done_s(i) for i in rows], self.charged_s(), time.monotonic()
        time.sleep(seconds)  # time itself is what is measured
        charged = [after - before for before, after in zip(charged, self.charged_s())]
        done = [self.board.done_s(i) - done[i] for i in rows]
        if any(p.poll() is not None for p in self.processes):
            raise RuntimeError("a load ended early:\n" + self.pool.log())
        return done, charged, time.monotonic() - began


def section(name, **keys):
    lines = [f'[tenant "{name}"]', f"match = cn:{name}"]
    return "\n".join(lines + [f"{k} = {v}" for k, v in keys.items()]) + "\n"


MIXES = {
    "5 us to 200 ms": [Load(5, 200000), Load(5, 200000)],
    "the same, none alike": [Load(5, 200000, "one"), Load(5, 200000, "one")],
    "long beside short": [Load(20000, 200000), Load(200, 2000)],
    "short beside long": [Load(200, 2000), Load(20000, 200000)],
}
SHARES = {"30/70": (30, 70), "10/90": (10, 90)}


def judge(options, name, got, wanted, spread, note):
    good = abs(got - wanted) <= spread
    options.missed += not good
    print(f"{name:34} {got:8.3f}  wanted {wanted:.3f}  {'' if good else 'MISSED  '}{note}", flush=True)


def charges(done, charged):
    return "charged / done: " + ", ".join(f"{c / d:.3f}" if d > 0 else "-"
                                          for d, c in zip(done, charged))


def shares(options):
    for title, (a, b) in SHARES.items():
        config = section("alice", share=a) + section("bob", share=b)
        for mix, loads in MIXES.items():
            parts = []
            with Trial(options.build, config, loads) as trial:
                time.sleep(options.warm)
                for window in range(options.windows):
                    done, charged, seconds = trial.watch(options.seconds)
                    parts.append(done[0] / sum(done))
                    judge(options, f"{title}, {mix}, {window + 1}", parts[-1], a / 100, 0.02,
                          f"used {sum(done) / seconds:.2f} of the time; {charges(done, charged)}")
            print(f"{title}, {mix}: {statistics.mean(parts):.3f} over all", flush=True)


def forced(options):
    for mix in ("5 us to 200 ms", "the same, none alike", "short beside long"):
        with Trial(options.build, section("alice", share=25, policy="force"), MIXES[mix][:1]) as trial:
            time.sleep(options.warm)
            done, charged, seconds = trial.watch(options.seconds)
        judge(options, f"force 25 %, {mix.split(' beside')[0]}", done[0] / seconds, 0.25, 0.02,
              charges(done, charged))


def rank(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def priority(options):
    """An inference loop beside a greedy trainer."""
    high = Load(200, 200, request=100, pause_us=20000)
    low = Load(5, 1000)
    config = section("alice", priority="high") + section("bob", priority="low", floor=0)
    times = {}
    for name, loads in (("alone", [high]), ("beside", [high, low])):
        with Trial(options.build, config, loads) as trial:
            time.sleep(options.warm)
            since, before, began = trial.board.requests(0), [trial.board.done_s(i) for i in range(2)], time.monotonic()
            while trial.board.requests(0) < min(since + options.arrivals, REQUESTS):
                time.sleep(0.1)
            seconds = time.monotonic() - began
            done = [trial.board.done_s(i) - before[i] for i in range(2)]
            own = trial.board.times_ms(0, 2, since)
            first, whole = trial.board.times_ms(0, 0, since), trial.board.times_ms(0, 1, since)
            times[name] = [w + o for w, o in zip(whole, own)]
        print(f"priority, {name:6} {len(first)} arrivals: first kernel begins after p50 {rank(first, .5):.2f} "
              f"p99 {rank(first, .99):.2f} max {max(first):.2f} ms; request p50 {rank(times[name], .5):.2f} "
              f"p99 {rank(times[name], .99):.2f} ms", flush=True)
    for part in (.5, .99):
        print(f"priority, request p{part * 100:.0f} beside / alone: "
              f"{rank(times['beside'], part) / rank(times['alone'], part):.3f}, at most 1.10 is wanted")
    rest = seconds - done[0]
    judge(options, "priority, the low one's of the rest", done[1] / rest, 0.9, 0.1, "at least 0.80")


BARE, GOVERNED, PAGED = "without tenants", "with a tenant", "with a tenant and paging"


def steps(pool, build):
    """Workload to (median, unit) of one process."""
    env = dict(pool.environment(), GPUPOOL_CERT=f"{pool.certs}/alice.crt", GPUPOOL_KEY=f"{pool.certs}/alice.key")
    done = subprocess.run([os.path.join(build, "bench/pool_bench"), "--seconds", "0.5", "launch_1", "training"],
                          env=env, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {row["workload"]: row["median"] for row in rows}


def overhead(options):
    """Side by side in each round, for what else runs takes time from all alike."""
    pools, got = {}, {}
    os.environ.update(GPUPOOL_SOFT_INSTANT="yes")
    os.environ.pop("GPUPOOL_SOFT_THREAD_RATE", None)
    try:
        for name, more in ((BARE, ()), (GOVERNED, ("config",)), (PAGED, ("config", "--oversubscribe=2.0"))):
            pool = pools[name] = Pool(options.build, SOURCE)
            subprocess.run([os.path.join(SOURCE, "deploy/certs.sh"), pool.certs, "--tenant", "alice"], check=True,
                           stdout=subprocess.DEVNULL)
            path = os.path.join(pool.folder.name, "server.ini")
            with open(path, "w", encoding="ascii") as file:
                file.write(section("alice"))
            os.environ["GPUPOOL_SOFT_SHARED"] = "bench-%d-%d" % (os.getpid(), len(pools))
            pool.options = [w for m in more for w in (("--config", path) if m == "config" else (m,))]
            pool.start()
        for turn in range(options.rounds):
            for name in (list(pools) if turn % 2 == 0 else list(pools)[::-1]):
                for what, value in steps(pools[name], options.build).items():
                    got.setdefault(what, {}).setdefault(name, []).append(value)
    finally:
        for pool in pools.values():
            pool.close()
        for at in range(len(pools)):
            try:
                os.unlink(f"/dev/shm/gpupool-soft-{os.geteuid()}-bench-{os.getpid()}-{at + 1}")
            except OSError:
                pass
    for what, by in got.items():
        best, cost = (max, lambda x, bare: bare / x) if what == "launch_1" else (min, lambda x, bare: x / bare)
        print(f"{what}, {BARE}: best {best(by[BARE]):.4g}, median {statistics.median(by[BARE]):.4g}", flush=True)
        for name in (GOVERNED, PAGED):
            pairs = statistics.median(cost(x, bare) for x, bare in zip(by[name], by[BARE]))
            options.missed += pairs > 1.02
            print(f"{what + ', ' + name:34} {pairs:8.3f}  wanted at most 1.02  {'' if pairs <= 1.02 else 'MISSED  '}"
                  f"median of {options.rounds} pairs; of the best {cost(best(by[name]), best(by[BARE])):.3f}",
                  flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--windows", type=int, default=3, help="of so many seconds, of shares")
    parser.add_argument("--rounds", type=int, default=40, help="of overhead")
    parser.add_argument("--warm", type=float, default=8)
    parser.add_argument("--arrivals", type=int, default=1000)
    parser.add_argument("--only", choices=("shares", "force", "priority", "overhead"))
    parser.add_argument("--mix", help="of shares: only this mix")
    parser.add_argument("--pair", help="of shares: only this pair")
    options = parser.parse_args()
    options.build, options.missed = os.path.abspath(options.build), 0
    if options.mix:
        for name in [n for n in MIXES if n != options.mix]:
            del MIXES[name]
    if options.pair:
        for name in [n for n in SHARES if n != options.pair]:
            del SHARES[name]
    for name, run in (("shares", shares), ("force", forced), ("priority", priority),
                      ("overhead", overhead)):
        if options.only in (None, name):
            run(options)
    return options.missed != 0


if __name__ == "__main__":
    sys.exit(main())
