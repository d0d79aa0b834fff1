#!/usr/bin/env python3
"""Runs programs straight on the software device and through a pool, and compares.

usage: run_both.py --build DIR [options] PROGRAM [ARGS...]
       run_both.py --build DIR [options] --all PROGRAM...

A program passes when both runs exit 0 and print the same on standard output.
One real server serves all programs over mutual TLS on a loopback port that the
kernel chooses; its address comes through --ready-fd. With --all every argument is a program
and a table is printed. Exit status: 0 all passed, 1 some did not, 77 something
needed is not built (the reason is printed).
"""
import argparse
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time

SKIP = 77
HERE = os.path.dirname(os.path.abspath(__file__))
CERTS = os.path.join(HERE, "..", "..", "deploy", "certs.sh")


def die(status, text):
    print("run_both: " + text, file=sys.stderr)
    sys.exit(status)


class Parts:
    """The built things, or a skip that names what is missing. driver: what servers load and what
    programs run straight on; a library's path, or cuda for the machine's own."""

    def __init__(self, build, driver=None):
        self.daemon = os.path.join(build, "backend", "gpupoold")
        self.tool = os.path.join(build, "frontend", "tool", "gpupool")
        self.client = os.path.join(build, "frontend", "cuda", "libcuda.so.1")
        self.soft = os.path.join(build, "backend", "driver", "soft", "libcuda.so.1")
        self.driver = driver or self.soft

    def direct_env(self, env):
        """env for programs that run straight on the driver."""
        if self.driver != "cuda":
            return dict(env, LD_LIBRARY_PATH=os.path.dirname(self.driver))
        return dict(env, **{k: v for k, v in os.environ.items() if k == "LD_LIBRARY_PATH"})

    def need(self, *names):
        for name in names:
            path = getattr(self, name)
            if not os.path.exists(path):
                die(SKIP, "not built: " + path)


def clean_environment(home, devices=None):
    """The environment without anything that chooses a driver or a server."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("GPUPOOL", "CUDA_")) and k != "LD_LIBRARY_PATH"}
    for name in ("GPUPOOL_SOFT_THREADS", "GPUPOOL_PERF"):
        if name in os.environ:
            env[name] = os.environ[name]
    env["HOME"] = home
    if devices is not None:
        env["GPUPOOL_SOFT_DEVICES"] = str(devices)
    return env


def read_ready_line(fd, process, seconds):
    """The line that the server writes when it serves; None when it died or hung."""
    data = b""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as sel:
        sel.register(fd, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            if not sel.select(deadline - time.monotonic()):
                break
            piece = os.read(fd, 4096)
            if not piece:
                return None
            data += piece
            if b"\n" in data:
                return data.decode().split("\n")[0]
    process.kill()
    return None


class Server:
    """One gpupoold, on the software device where parts say nothing else, listening with TLS on loopback or on a unix socket."""

    def __init__(self, parts, work, env, lane="tls", more=()):
        self.work = work
        self.log = os.path.join(work, "server.log")
        certs = os.path.join(work, "certs")
        subprocess.run([CERTS, certs], check=True)
        listen = "shm://%s/socket" % work if lane == "shm" else "tls://127.0.0.1:0"
        read_end, write_end = os.pipe()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [parts.daemon, "--driver", parts.driver, "--listen", listen,
                 "--tls-cert", certs + "/server.crt", "--tls-key", certs + "/server.key",
                 "--tls-ca", certs + "/ca.crt", "--ready-fd", str(write_end),
                 "--exit-with-parent", *more],
                env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[write_end], start_new_session=True)
        os.close(write_end)
        self.url = read_ready_line(read_end, self.process, 20)
        os.close(read_end)
        if lane == "best" and self.url is not None:
            self.url = self.url.replace("tls://", "gpupool://")
        if self.url is None:
            self.stop()
            die(1, "the server did not start:\n" + self.text())
        self.client_env = dict(env, GPUPOOL_CERT=certs + "/client.crt",
                               GPUPOOL_KEY=certs + "/client.key", GPUPOOL_CA=certs + "/ca.crt")

    def text(self):
        with open(self.log, "rb") as log:
            return log.read().decode(errors="replace")

    def stop(self):
        """Asks it to drain; its exit status, or None when it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            return None


class Outcome:
    def __init__(self, status, out, err, seconds):
        self.status, self.out, self.err, self.seconds = status, out, err, seconds


def run(command, env, seconds, folder=None):
    start = time.monotonic()
    process = subprocess.Popen(command, env=env, cwd=folder, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True)
    try:
        out, err = process.communicate(timeout=seconds)
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        status = "timeout"
    return Outcome(status, out.decode(errors="replace"), err.decode(errors="replace"),
                   time.monotonic() - start)


def stats_of(err):
    """The figures of GPUPOOL_STATS=1 as a dictionary."""
    found = {}
    for line in err.splitlines():
        if line.startswith("gpupool-stats: "):
            key, _, value = line[len("gpupool-stats: "):].partition(" ")
            found[key] = value.strip()
    return found


def without_stats(err):
    return "".join(line for line in err.splitlines(True) if not line.startswith("gpupool-stats: "))


def show(title, outcome):
    print("--- %s: status %s, %.1f s" % (title, outcome.status, outcome.seconds))
    for name, text in (("stdout", outcome.out), ("stderr", without_stats(outcome.err))):
        for line in text.splitlines()[-40:]:
            print("    %s: %s" % (name, line))


def differences(direct, pooled, options):
    """Why the pair does not pass; an empty list when it does."""
    why = []
    if direct.status != 0:
        why.append("direct run: status %s" % direct.status)
    if pooled.status != 0:
        why.append("pooled run: status %s" % pooled.status)
    a, b = direct.out.splitlines(), pooled.out.splitlines()
    if options.unordered:
        a, b = sorted(a), sorted(b)
    if a != b:
        why.append("standard output differs")
        for i in range(max(len(a), len(b))):
            left = a[i] if i < len(a) else "(nothing)"
            right = b[i] if i < len(b) else "(nothing)"
            if left != right:
                why.append("  line %d direct: %s" % (i + 1, left))
                why.append("  line %d pooled: %s" % (i + 1, right))
                break
    return why


def run_again(parts, server, env, command, direct, options):
    """Once more on the same server, which then knows the program: what is wrong with that."""
    again = run([parts.tool, "run", "--server", server.url, "--"] + command, env, options.timeout)
    why = ["again: " + text for text in differences(direct, again, options)]
    trips = stats_of(again.err).get("exposed_round_trips", "?")
    print("%-22s again: %s exposed round trips" % (os.path.basename(command[0]), trips))
    if not trips.isdigit() or int(trips) > options.again_round_trips:
        why.append("again: %s exposed round trips, at most %d allowed"
                   % (trips, options.again_round_trips))
    return why


def run_pair(parts, server, env, program, args, options):
    direct = run([program] + args, parts.direct_env(env), options.timeout)
    pooled_env = dict(server.client_env, GPUPOOL_STATS="1")
    pooled = run([parts.tool, "run", "--server", server.url, "--", program] + args, pooled_env,
                 options.timeout)
    why = differences(direct, pooled, options)
    stats = stats_of(pooled.err)
    trips = stats.get("exposed_round_trips", "?")
    if options.lane != "tls" and stats.get("transport", "shm") != "shm":
        why.append("it went by %s" % stats.get("transport"))
    if options.max_round_trips is not None:
        if not trips.isdigit() or int(trips) > options.max_round_trips:
            why.append("%s exposed round trips, at most %d allowed"
                       % (trips, options.max_round_trips))
    if options.again_round_trips is not None:
        why += run_again(parts, server, pooled_env, [program] + args, direct, options)
    if options.max_bytes is not None:
        moved = [int(stats.get(key, -1)) for key in ("bytes_sent", "bytes_received")]
        if min(moved) < 0 or sum(moved) > options.max_bytes:
            why.append("%d and %d bytes went over the line, at most %d allowed"
                       % (*moved, options.max_bytes))
    return direct, pooled, stats, why


def run_direct(parts, jobs, options):
    """Without the pool: the software device alone, self-checks only."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="gpupool-direct-") as work:
        env = dict(clean_environment(work, options.devices), LD_LIBRARY_PATH=os.path.dirname(parts.soft))
        for program, args in jobs:
            outcome = run([os.path.abspath(program)] + args, env, options.timeout)
            failed += outcome.status != 0
            print("%-22s %7.2f s  %s" % (os.path.basename(program), outcome.seconds,
                                        "passed" if outcome.status == 0 else "FAILED"), flush=True)
            if outcome.status != 0:
                show("direct", outcome)
    return 1 if failed else 0


def parse(words=None):
    p = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].replace("usage: ", ""))
    p.add_argument("--build", required=True, help="Meson's build folder")
    p.add_argument("--all", action="store_true", help="every argument is a program")
    p.add_argument("--direct", action="store_true", help="straight on the software device only")
    p.add_argument("--unordered", action="store_true", help="compare lines without their order")
    p.add_argument("--timeout", type=float, default=120, help="seconds for each run")
    p.add_argument("--devices", type=int, help="so many software devices")
    p.add_argument("--max-round-trips", type=int, help="at most so many exposed round trips")
    p.add_argument("--again-round-trips", type=int,
                   help="at most so many in a second run on the same server")
    p.add_argument("--max-bytes", type=int, help="at most so many bytes over the line, both ways")
    p.add_argument("--lane", default="tls", choices=("tls", "shm", "best"),
                   help="how they are pooled; best: gpupool://, which must come to shm")
    p.add_argument("--server-option", action="append", default=[], metavar="OPTION",
                   help="one more option of gpupoold (--server-option=--name=value)")
    p.add_argument("program")
    p.add_argument("args", nargs=argparse.REMAINDER)
    return p.parse_args(words)


def main():
    options = parse()
    parts = Parts(os.path.abspath(options.build))
    jobs = [(options.program, options.args)]
    if options.all:
        jobs = [(p, []) for p in [options.program] + options.args]
    parts.need("soft")
    if options.direct:
        return run_direct(parts, jobs, options)
    parts.need("client", "daemon", "tool")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="gpupool-both-") as work:
        env = clean_environment(work, options.devices)
        server = Server(parts, work, env, options.lane, options.server_option)
        try:
            print("%-22s %9s %9s %8s %6s  %s" % ("program", "direct", "pooled", "calls",
                                                "trips", "result"))
            for program, args in jobs:
                direct, pooled, stats, why = run_pair(parts, server, env,
                                                      os.path.abspath(program), args, options)
                print("%-22s %7.2f s %7.2f s %8s %6s  %s"
                      % (os.path.basename(program), direct.seconds, pooled.seconds,
                         stats.get("calls", "?"), stats.get("exposed_round_trips", "?"),
                         "FAILED" if why else "passed"), flush=True)
                if why:
                    failed += 1
                    print("\n".join(why))
                    show("direct", direct)
                    show("pooled", pooled)
        finally:
            status = server.stop()
        if status != 0:
            print("the server ended with %s after SIGTERM" % status)
            failed += 1
        if failed:
            print("--- server's log, last lines")
            print("\n".join(server.text().splitlines()[-40:]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
