#!/usr/bin/env python3
"""Measures a pool against the same device without it, in one run on one machine.

usage: bench/run.py --build DIR [--quick] [--check] [--out FILE.json] [--svg FOLDER]
                    [--transports tcp,tls,shm] [--rtt 0,100us,1ms] [--gbit N] [--rounds N]
                    [--switches]
       bench/run.py --compare A.json B.json

Each round measures straight on the device, each transport's floor and the pool over it, one after
the other; what is printed is the median of the rounds with their spread. The software device runs
in its instant mode (kernels are not executed) unless --driver names another driver. --check makes
the exit status 1 when a target that was measured does not hold.
"""
import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys

import report
import runs
import targets

# What is measured without a delaying relay, and what through one, where repetitions cost more.
CALLS = ["sync_launch", "sync_idle", "dtoh_8", "htod_8", "launch_burst", "launch_1", "launch_4",
         "alloc_free", "event_cycle", "event_query", "event_poll", "htod_64k", "dtoh_64k",
         "module_cold", "module_warm", "decode", "training", "graph", "managed"]
BULK = ["htod_256m", "dtoh_256m", "htod_256m_pinned", "dtoh_256m_pinned"]
THIN = ["htod_256m_thin", "dtoh_256m_thin"]  # on lines with a rate only
FAR = ["sync_launch", "dtoh_8", "module_warm", "decode", "training"]
# The training-like step on a device whose driver takes some microseconds for a launch, as real ones
# do and the instant device does not; a row of its own, and of the software device only.
PACED, PACED_RTT = "training_5us", "1ms"
PACED_DEVICE = {"GPUPOOL_SOFT_SUBMIT_COST": "5us"}
TRIPS = ["decode", "training", "alloc_free", "htod_8", "event_query", "sync_idle", "graph",
         "module_warm"]
SWITCHES = ["no_batch", "no_spin", "no_zero_copy", "no_cache", "no_async", "no_resume",
            "no_images", "no_promise", "no_compress"]
SWITCHED = ["sync_launch", "launch_burst", "launch_1", "htod_8", "event_query", "module_warm",
            "decode", "training", "htod_256m", "dtoh_256m"]


def seconds_of(text):
    """"100us" -> 0.0001"""
    for unit, factor in (("us", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if text.endswith(unit):
            return float(text[:-len(unit)]) * factor
    return float(text)


class Rounds:
    """Figures of all rounds, by side ("direct", "tcp", "tls", "shm"), distance and workload."""

    def __init__(self):
        self.values, self.units, self.failures = {}, {}, {}

    def add(self, side, rtt, figures, failures=()):
        for name, figure in figures.items():
            if "median" not in figure:
                self.failures[side, rtt, name] = "not supported: %s" % figure.get("unsupported")
                continue
            self.units[name] = figure["unit"]
            self.values.setdefault((side, rtt, name), []).append(figure)
        for name, why in dict(failures).items():
            self.failures[side, rtt, name] = why

    def rows(self):
        found = []
        for (side, rtt, name), figures in self.values.items():
            row = {"side": side, "rtt": rtt, "workload": name, "unit": self.units[name]}
            row.update(runs.middle([f["median"] for f in figures]))
            row["p99"] = runs.middle([f["p99"] for f in figures])
            found.append(row)
        for (side, rtt, name), why in self.failures.items():
            found.append({"side": side, "rtt": rtt, "workload": name, "why_not": why})
        return found


def add_floor(rounds, scheme, rtt, measured):
    ping = measured["pingpong"]
    side = "floor " + scheme
    rounds.add(side, rtt, {"pingpong": {"unit": "us", "median": ping["median_us"],
                                        "p99": ping["p99_us"]}})
    for way in ("stream_out", "stream_in"):
        rate = measured[way]["gb_per_s"]
        rounds.add(side, rtt, {way: {"unit": "GB/s", "median": rate, "p99": rate}})


class Session:
    """One run of this script: servers that stay up for all rounds, and what was measured."""

    def __init__(self, options, build):
        self.options, self.build = options, build
        self.rounds = Rounds()
        self.pools, self.paced = {}, {}
        self.trips = {}
        self.memory = {}
        if options.driver == "soft":
            os.environ["GPUPOOL_SOFT_INSTANT"] = "1"
            self.direct_env = dict(os.environ, LD_LIBRARY_PATH=os.path.dirname(build.soft))
        else:
            self.direct_env = dict(os.environ)  # the machine's own driver

    def start(self):
        for scheme in self.options.transports:
            more = [] if self.options.driver == "soft" else ["--driver", self.options.driver]
            pool = runs.Pool(self.build.folder, runs.SOURCE, scheme, [*more, "--log-level", "warn"])
            self.pools[scheme] = pool
            pool.start()
        if self.options.driver == "soft" and PACED_RTT in self.options.rtt:
            os.environ.update(PACED_DEVICE)
            try:
                for scheme in self.far():
                    self.paced[scheme] = runs.Pool(self.build.folder, runs.SOURCE, scheme, self.pools[scheme].options)
                    self.paced[scheme].start()
            finally:
                for name in PACED_DEVICE:
                    del os.environ[name]

    def far(self):
        """Transports that are measured at a distance."""
        far = [t for t in self.options.transports if t != "shm"]  # which goes nowhere
        return far[-1:] if self.options.quick else far

    def close(self):
        for pool in [*self.pools.values(), *self.paced.values()]:
            pool.close()

    def say(self, text):
        print("bench: " + text, file=sys.stderr, flush=True)

    def env(self, scheme, line=None):
        pool = self.pools[scheme]
        if pool.server.poll() is not None:
            raise RuntimeError("the server for %s is gone:\n%s" % (scheme, pool.log()[-2000:]))
        env = pool.environment()
        if line is not None:
            env["GPUPOOL_SERVER"] = line.url
        return env

    def measure_side(self, side, env):
        o = self.options
        figures, failures = runs.bench_each(self.build, env, CALLS, o.repeat, o.seconds)
        self.rounds.add(side, "0", figures, failures)
        if o.bulk:
            figures, failures = runs.bench_each(self.build, env, BULK)
            self.rounds.add(side, "0", figures, failures)
        for name in ("startup", "startup", "startup", "memory"):
            outcome = runs.bench(self.build, env, [name])
            why = {} if outcome.figures else {name: outcome.why}
            self.rounds.add(side, "0", outcome.figures, why)

    def one_round(self, number):
        """Without a relay. A line with a rate has one, so then only the device is left to do."""
        self.say("round %d: direct" % number)
        self.measure_side("direct", self.direct_env)
        if self.paced:
            self.measure_paced("direct", "0", dict(self.direct_env, **PACED_DEVICE))
        for scheme, pool in self.pools.items() if not self.options.gbit else ():
            self.say("round %d: %s" % (number, scheme))
            add_floor(self.rounds, scheme, "0", runs.floor(self.build, scheme, pool.certs))
            self.measure_side(scheme, self.env(scheme))

    def measure_paced(self, side, rtt, env, repeat=0):
        outcome = runs.bench(self.build, env, ["training"], repeat)
        why = {} if outcome.figures else {PACED: outcome.why}
        self.rounds.add(side, rtt, {PACED: f for f in outcome.figures.values()}, why)

    def one_round_far(self, scheme, rtt):
        mbit = int(self.options.gbit * 1000)
        repeat = max(5, min(100, int(1.0 / max(seconds_of(rtt), 1e-3))))
        pool = self.pools[scheme]
        add_floor(self.rounds, scheme, rtt,
                  runs.floor(self.build, scheme, pool.certs, rtt, mbit, pings=4 * repeat,
                             stream="64m"))
        with runs.Line(self.build, pool.url, rtt, mbit) as line:
            env = self.env(scheme, line)
            figures, failures = runs.bench_each(self.build, env, FAR, repeat)
            self.rounds.add(scheme, rtt, figures, failures)
            outcome = runs.bench(self.build, env, ["startup"])
            self.rounds.add(scheme, rtt, outcome.figures)
            if mbit and self.options.bulk:
                figures, failures = runs.bench_each(self.build, env, BULK[:2] + THIN, 1)
                self.rounds.add(scheme, rtt, figures, failures)

        if rtt == PACED_RTT and scheme in self.paced:
            paced = self.paced[scheme]
            with runs.Line(self.build, paced.url, rtt, mbit) as line:
                self.measure_paced(scheme, rtt, dict(paced.environment(), GPUPOOL_SERVER=line.url),
                                   repeat)

    def count_trips(self):
        """Round trips are counted, not timed: once is enough."""
        for scheme in self.pools:
            env = self.env(scheme)
            found = {n: runs.round_trips(self.build, env, n) for n in TRIPS}
            found["startup"] = runs.bench(self.build, env, ["startup"]).stats.get(
                "exposed_round_trips")
            for name in ("cu_vector_add", "drv_vector_add"):
                path = os.path.join(self.build.folder, "tests", "programs", name)
                if os.path.exists(path):
                    # Its own kernels must run, or it fails its own check.
                    found[name] = self.trips_with_kernels(path, scheme)
            path = os.path.join(self.build.folder, "tests", "programs", "cu_lib_blas_solver")
            if os.path.exists(path) and scheme != "shm":  # no relay stands in shared memory
                found["cu_lib_blas_solver"] = self.trips_with_kernels(path, scheme, "30ms")
            self.trips[scheme] = found

    def trips_with_kernels(self, path, scheme, rtt="0"):
        before = os.environ.pop("GPUPOOL_SOFT_INSTANT", None)
        pool = runs.Pool(self.build.folder, runs.SOURCE, scheme, self.pools[scheme].options)
        try:
            pool.start()
            runs.program_trips(path, pool.environment())  # the server has its module from now on
            if scheme == "shm":
                return runs.program_trips(path, pool.environment())
            with runs.Line(self.build, pool.url, rtt) as line:
                return runs.program_trips(path, dict(pool.environment(), GPUPOOL_SERVER=line.url))
        finally:
            pool.close()
            if before is not None:
                os.environ["GPUPOOL_SOFT_INSTANT"] = before

    def weigh(self):
        """Workers that wait for a session weigh what an idle session costs the server least."""
        for scheme, pool in self.pools.items():
            sizes = [runs.pss_mib(pid) for pid in pool.workers()]
            if sizes:
                self.memory[scheme] = max(sizes)

    def library_start(self, scheme, wish):
        """Seconds of a program with cuBLAS and cuSOLVER at 30 ms, the second time on its server."""
        path = os.path.join(self.build.folder, "tests", "programs", "cu_lib_blas_solver")
        if not os.path.exists(path):
            return {}
        with runs.Line(self.build, self.pools[scheme].url, "30ms") as line:
            env = dict(self.env(scheme, line), GPUPOOL_PERF=wish)
            taken = [runs.program_seconds(path, env) for _ in range(4)]
        return {"libraries_30ms": min(taken[1:])}

    def copy_server(self, scheme):
        """A copy from server to server, and what it is worth that it does not go by the client."""
        pools, table = [], {}
        try:
            for serial in ("1", "2"):
                os.environ["GPUPOOL_SOFT_SERIAL"] = serial  # or two servers would have one device
                pool = runs.Pool(self.build.folder, runs.SOURCE, scheme,
                                 ["--log-level", "warn", "--peer", "127.0.0.0/8"])
                pool.certs = pools[0].certs if pools else pool.certs
                pools.append(pool)
                pool.start()
            for wish in ("", "no_direct"):
                env = dict(pools[0].environment(), GPUPOOL_PERF=wish,
                           GPUPOOL_SERVER="+".join(p.url for p in pools))
                figures, failures = runs.bench_each(self.build, env, ["peer_64m"])
                for why in failures.values():
                    self.say("peer_64m with %s: %s" % (wish or "all on", why))
                table[wish] = {n: f["median"] for n, f in figures.items() if "median" in f}
        finally:
            os.environ.pop("GPUPOOL_SOFT_SERIAL", None)
            for pool in pools:
                pool.close()
        return table

    def server_switch(self, scheme, option):
        """Long copies by a server that was started so."""
        pool = runs.Pool(self.build.folder, runs.SOURCE, scheme, [*self.pools[scheme].options, option])
        try:
            pool.start()
            figures, _ = runs.bench_each(self.build, pool.environment(), BULK[:2], 3)
        finally:
            pool.close()
        return {n: f["median"] for n, f in figures.items() if "median" in f}

    def switches(self):
        """What each optimisation is worth: figures with it off over figures with all on."""
        scheme = next(t for t in reversed(self.options.transports) if t != "shm" or len(self.pools) == 1)
        table = {}
        for wish in ["", *SWITCHES]:
            self.say("switch: %s" % (wish or "all on"))
            few = 20 if wish == "no_async" else 0
            figures, failures = {}, {}
            for name in SWITCHED:
                env = dict(self.env(scheme), GPUPOOL_PERF=wish)
                found, why = runs.bench_each(self.build, env, [name],
                                             3 if name in BULK else few, 0.6)
                figures.update(found)
                failures.update(why)
            table[wish] = {n: f["median"] for n, f in figures.items() if "median" in f}
            table[wish].update(self.library_start(scheme, wish))
            for name, why in failures.items():
                self.say("%s with %s: %s" % (name, wish, why))
        if self.options.driver == "soft":
            for wish, figures in self.copy_server("tls").items():  # as servers speak to each other
                table.setdefault(wish, {}).update(figures)
            table["--straight=no"] = self.server_switch(scheme, "--straight=no")
        return table


def machine():
    cpu = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as file:
        congestion = file.read().strip()
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(),
            "congestion": congestion, "load": os.getloadavg()[0]}


def commit():
    def git(*args):
        done = subprocess.run(["git", "-C", runs.SOURCE, *args], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=False)
        return done.stdout.strip()
    return {"commit": git("rev-parse", "--short=12", "HEAD"),
            "changed": bool(git("status", "--porcelain", "--untracked-files=no"))}


def buildtype(build):
    path = os.path.join(build.folder, "meson-info", "intro-buildoptions.json")
    try:
        with open(path, encoding="utf-8") as file:
            return {o["name"]: o["value"] for o in json.load(file)}.get("buildtype")
    except (OSError, ValueError):
        return None


def transports(text):
    names = text.split(",")
    if not set(names) <= {"tcp", "tls", "shm"}:
        raise argparse.ArgumentTypeError("%r: tcp, tls and shm are measured (rdma by tests/rdma)" % text)
    return names


def round_trips(text):
    if not all(re.fullmatch(r"0|[0-9]+(\.[0-9]+)?(us|ms|s)", t) for t in text.split(",")):
        raise argparse.ArgumentTypeError("%r: times like 0,100us,1ms" % text)
    return text.split(",")


def read_figures(parser, name):
    """What --out wrote."""
    try:
        with open(name, encoding="utf-8") as file:
            figures = json.load(file)
    except (OSError, ValueError) as error:
        parser.error("%s: %s" % (name, error))
    if not isinstance(figures, dict) or "rows" not in figures:
        parser.error("%s: not what --out writes" % name)
    return figures


def parse():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--build", help="Meson's build folder")
    p.add_argument("--driver", default="soft", help="driver of the server: soft, cuda or a path")
    p.add_argument("--transports", default="tcp,tls,shm", type=transports, help="by comma: tcp,tls,shm")
    p.add_argument("--rtt", default="0", type=round_trips,
                   help="round trips to add, by comma: 0,100us,500us,1ms,30ms")
    p.add_argument("--gbit", default=0.0, type=float, help="rate of the line, with --rtt")
    p.add_argument("--rounds", default=5, type=int, help="at least 1")
    p.add_argument("--quick", action="store_true", help="under 3 minutes, and the targets")
    p.add_argument("--check", action="store_true", help="exit status 1 if a target does not hold")
    p.add_argument("--switches", action="store_true", help="what each GPUPOOL_PERF switch is worth")
    p.add_argument("--first", action="store_true",
                   help="before all other work of the machine: root, sched_autogroup_enabled")
    p.add_argument("--realtime", action="store_true",
                   help="the same at real-time priority: as on an idle machine, and nobody else gets much")
    p.add_argument("--no-bulk", dest="bulk", action="store_false", help="no copies of 256 MiB")
    p.add_argument("--out", metavar="FILE", help="write all figures as JSON")
    p.add_argument("--svg", metavar="FOLDER", help="draw them")
    p.add_argument("--compare", nargs=2, metavar=("A", "B"), help="two files of --out")
    options = p.parse_args()
    options.seconds, options.repeat = 0.9, 0
    if options.compare is not None:
        options.compare = [read_figures(p, name) for name in options.compare]
    elif not options.build:
        p.error("--build is needed")
    if options.rounds < 1 or options.gbit < 0:
        p.error("--rounds is at least 1, --gbit not negative")
    if options.quick:
        options.rounds, options.seconds = min(options.rounds, 3), 0.6
        options.rtt = ["0", "100us", "1ms"]
    return options


def measure(options, build):
    session = Session(options, build)
    result = {"format": 1, "date": datetime.datetime.now(datetime.timezone.utc).isoformat(
        timespec="seconds"), **commit(), "buildtype": buildtype(build), "machine": machine(),
        "driver": options.driver, "instant": options.driver == "soft", "gbit": options.gbit,
        "first": options.first, "realtime": options.realtime,
        "spin": {"client": runs.client_spin(), "server": runs.SERVER_SPIN}}
    try:
        session.start()
        session.weigh()
        for number in range(1, options.rounds + 1):
            if "0" in options.rtt:
                session.one_round(number)
            for scheme in session.far():
                for rtt in [r for r in options.rtt if r != "0" or options.gbit]:
                    session.say("round %d: %s at %s" % (number, scheme, rtt))
                    session.one_round_far(scheme, rtt)
        session.count_trips()
        if options.switches:
            result["switches"] = session.switches()
    finally:
        session.close()
    result.update(rows=session.rounds.rows(), round_trips=session.trips,
                  idle_worker_mib=session.memory)
    result["targets"] = targets.judge(result)
    return result


def main():
    options = parse()
    if options.compare is not None:
        print(report.comparison(*options.compare))
        return 0
    build = runs.Build(options.build)
    missing = build.missing()
    if missing:
        print("bench: not built: " + ", ".join(missing), file=sys.stderr)
        return 77
    runs.clean_environment()
    runs.FIRST = options.first
    if options.first and not runs.put_first():
        print("bench: --first: not allowed, or not this kernel's way", file=sys.stderr)
        return 1
    if options.realtime and not runs.put_realtime():
        print("bench: --realtime: not allowed", file=sys.stderr)
        return 1
    result = measure(options, build)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
    print(report.table(result))
    if options.svg:
        report.draw(result, options.svg)
    missed = [t for t in result["targets"] if t["holds"] is False]
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
