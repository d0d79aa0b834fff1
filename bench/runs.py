"""What bench/run.py starts: the floor, workloads, pool servers, relays. All of it ends with it."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(SOURCE, "tests", "chaos"))
from pool import Pool  # noqa: E402  (the one place that knows how a server is started)

SERVER_SPIN = "50us"


def client_spin():
    """How long the client library looks before it sleeps; frontend/core/line.c."""
    cores = len(os.sched_getaffinity(0))
    return "0us" if cores < 2 else "20us" if cores < 4 else "60us"


class Build:
    """The built programs; says what is missing."""

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        self.bench = os.path.join(self.folder, "bench", "pool_bench")
        self.floor = os.path.join(self.folder, "bench", "transport_floor")
        self.relay = os.path.join(self.folder, "bench", "relay")
        self.kernels = os.path.join(self.folder, "bench", "soft_device")
        self.server = os.path.join(self.folder, "backend", "gpupoold")
        self.client = os.path.join(self.folder, "frontend", "cuda", "libcuda.so.1")
        self.soft = os.path.join(self.folder, "backend", "driver", "soft", "libcuda.so.1")

    def missing(self):
        wanted = (self.bench, self.floor, self.relay, self.server, self.client, self.soft)
        return [path for path in wanted if not os.path.exists(path)]


def clean_environment():
    """Nothing of the caller's may choose a driver, a server or a way of working."""
    for name in list(os.environ):
        if name.startswith(("GPUPOOL", "CUDA_")) and name != "GPUPOOL_SOFT_THREADS":
            del os.environ[name]
    os.environ.pop("LD_LIBRARY_PATH", None)


def start_ready(command):
    """Start what writes its URL to --ready-fd; (process, URL)."""
    read_end, write_end = os.pipe()
    process = subprocess.Popen([*command, "--ready-fd", str(write_end)], pass_fds=[write_end],
                               stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write_end)
    with os.fdopen(read_end) as ready:
        url = ready.readline().strip()
    if not url:
        process.kill()
        raise RuntimeError("did not start: " + " ".join(command))
    return process, url


def stop(process):
    if process.poll() is None:
        process.kill()
    process.wait()


class Line:
    """The way to a server: straight, or through a relay with a round trip and a rate."""

    def __init__(self, build, url, rtt="0", mbit=0):
        self.process, self.url = None, url
        if rtt != "0" or mbit:
            self.process, self.url = start_ready(
                [build.relay, "--to", url, "--rtt", rtt if rtt != "0" else "0us",
                 "--mbit", str(mbit), "--exit-with-parent"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process is not None:
            stop(self.process)


def floor(build, scheme, certs, rtt="0", mbit=0, pings=3000, stream="256m"):
    """The transport alone, with the waiting that client and server have.

    {"pingpong": {...}, "stream_out": {...}, "stream_in": {...}}
    """
    common = ["--transport", scheme, "--rounds", str(pings), "--stream", stream]
    keys = {"server": [], "client": []}
    if scheme == "tls":
        for name, options in keys.items():
            options += ["--cert", f"{certs}/{name}.crt", "--key", f"{certs}/{name}.key",
                        "--ca", f"{certs}/ca.crt"]
    server, url = start_ready([build.floor, *common, *keys["server"], "--role", "serve",
                               "--spin", SERVER_SPIN])
    try:
        with Line(build, url, rtt, mbit) as line:
            done = subprocess.run([build.floor, *common, *keys["client"], "--role", "connect",
                                   "--url", line.url, "--spin", client_spin()],
                                  check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  timeout=300)
    finally:
        stop(server)
    return {row["what"]: row for row in map(json.loads, done.stdout.splitlines())}


FIRST = False


def put_first(pid="self"):
    """The processes that started with this one go before all others of the machine (needs root, and a
    kernel that groups by session); whether that worked."""
    try:
        with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as file:
            file.write("-20")
    except OSError:
        return False
    return True


def put_realtime():
    """This process and those it starts run whenever they can: other work of the machine then takes no
    time from them (but caches and memory, and what sched_rt_runtime_us leaves it). Whether that is
    allowed."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return False
    return True


class Outcome:
    """What one run of pool_bench said."""

    def __init__(self, figures, stats, seconds, why):
        self.figures, self.stats, self.seconds, self.why = figures, stats, seconds, why


def read_stats(err):
    for line in err.splitlines():
        if line.startswith("gpupool-stats: {"):
            return json.loads(line[len("gpupool-stats: "):])
    return {}


def bench(build, env, names, rounds=0, seconds=1.0, timeout=300):
    """Run workloads in one process; figures of those that finished, and why the rest did not."""
    command = [build.bench, "--rounds", str(rounds), "--seconds", str(seconds),
               "--since", str(time.monotonic_ns()), *names]
    begin = time.monotonic()
    process = subprocess.Popen(command, env=dict(env, GPUPOOL_STATS="json"), text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, start_new_session=True)
    if FIRST:
        put_first(process.pid)
    why = None
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        why = "no end within %d s" % timeout
    if process.returncode != 0 and why is None:
        said = [line for line in err.splitlines() if not line.startswith("gpupool-stats")]
        why = "status %d: %s" % (process.returncode, " | ".join(said[-3:]))
    figures = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return Outcome({f["workload"]: f for f in figures}, read_stats(err),
                   time.monotonic() - begin, why)


def bench_each(build, env, names, rounds=0, seconds=1.0, timeout=300):
    """As bench(), but a workload that ends its process takes only itself out: (figures, failures)."""
    figures, failures, left = {}, {}, list(names)
    while left:
        outcome = bench(build, env, left, rounds, seconds, timeout)
        figures.update(outcome.figures)
        left = [n for n in left if n not in outcome.figures]
        if left:
            failures[left.pop(0)] = outcome.why or "said nothing"
    return figures, failures


def round_trips(build, env, name, few=4, more=12):
    """Exposed round trips of one repetition: the difference between a short run and a longer one.

    None when the client's counters are not to be had.
    """
    trips = []
    for rounds in (few, more):
        outcome = bench(build, env, [name], rounds, 0.3)
        figure = outcome.figures.get(name, {})
        if "exposed_round_trips" not in outcome.stats or "median" not in figure:
            return None
        trips.append(outcome.stats["exposed_round_trips"])
    return (trips[1] - trips[0]) / (more - few)


def program_trips(path, env):
    """All exposed round trips of a program from start to exit; None when it cannot be told."""
    done = subprocess.run([path], env=dict(env, GPUPOOL_STATS="json"), stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
    return read_stats(done.stderr).get("exposed_round_trips") if done.returncode == 0 else None


def program_seconds(path, env):
    """From a program's start to its exit, whatever it computes."""
    begin = time.monotonic()
    subprocess.run([path], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=60, check=False)
    return time.monotonic() - begin


def pss_mib(pid):
    """Proportional set size of a process."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return None


def middle(values):
    """Median with the spread over rounds."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values),
            "rounds": len(values)}


__all__ = ["Build", "Line", "Outcome", "Pool", "SOURCE", "bench", "bench_each", "clean_environment",
           "client_spin", "floor", "middle", "program_seconds", "put_first", "put_realtime", "program_trips", "pss_mib", "round_trips"]
