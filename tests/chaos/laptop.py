#!/usr/bin/env python3
"""A client whose network is away for a while, in the middle of its work, goes on afterwards.

laptop.py BUILD SOURCE [SECONDS] [wide]

Server and client each have a network namespace, joined by a pair of interfaces; the client's is
taken down for SECONDS (GPUPOOL_TEST_AWAY, else 3) and comes back. wide: the session goes by several
connections, as it does to another machine once it has moved much. Skipped with the reason where
namespaces are not allowed. Everything made here is removed.
"""

import os
import subprocess
import sys
import time

from pool import Pool, wait_dots

SKIP = 77
MINE = f"gp{os.getpid() % 100000}"


def ip(*args):
    done = subprocess.run(["ip", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(args)}: {done.stdout.strip()}")


class Net:
    """Two namespaces, 10.99.0.1 for the server and 10.99.0.2 for the client."""

    def __init__(self):
        self.server, self.client = MINE + "s", MINE + "c"
        self.made = []

    def make(self):
        for name in (self.server, self.client):
            ip("netns", "add", name)
            self.made.append(name)
        ip("link", "add", MINE + "a", "netns", self.server, "type", "veth", "peer", "name", MINE + "b",
           "netns", self.client)
        for name, link, address in ((self.server, MINE + "a", "10.99.0.1"), (self.client, MINE + "b", "10.99.0.2")):
            ip("-n", name, "addr", "add", address + "/24", "dev", link)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", link, "up")

    def client_link(self, state):
        ip("-n", self.client, "link", "set", MINE + "b", state)

    def remove(self):
        for name in self.made:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def run(build, source, net, away, wide):
    pool = Pool(build, source, "tls", ("--heartbeat=500ms",), address="10.99.0.1",
                inside=["ip", "netns", "exec", net.server]).start()
    program = None
    env = pool.environment()
    if wide:
        env["GPUPOOL_LINES_AFTER"] = "0"
    try:
        program = subprocess.Popen(["ip", "netns", "exec", net.client, os.path.join(build, "tests/chaos/soak"), "0"],
                                   env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        if not wait_dots(program, 5):
            return f"the client did not start: {program.stderr.read().decode()}\n{pool.log()}"
        net.client_link("down")
        time.sleep(away)  # what is tested: time passes without a line
        net.client_link("up")
        begin = time.monotonic()
        if not wait_dots(program, 200, 60):
            return f"the client ended: {program.stderr.read().decode()}\n{pool.log()}"
        back = time.monotonic() - begin
        program.stdin.close()
        program.stdin = None
        _, err = program.communicate(timeout=60)
        lines = [line for line in err.decode().splitlines() if "the session goes on" in line]
        print(f"away for {away:g} s, 200 rounds more within {back:.1f} s; said: {lines}")
        if program.returncode != 0:
            return f"the client ended with {program.returncode}: {err.decode()}"
        if wide and "by 4 connections" not in pool.log():
            return "it did not go by several connections:\n" + pool.log()
        return None
    finally:
        if program is not None and program.poll() is None:
            program.kill()
            program.communicate()
        pool.close()


def main(argv):
    away = float(argv[3]) if len(argv) > 3 and float(argv[3]) else float(os.environ.get("GPUPOOL_TEST_AWAY", 3))
    net = Net()
    try:
        try:
            net.make()
        except OSError as error:
            print(f"no network namespaces here: {error}")
            return SKIP
        fault = run(argv[1], argv[2], net, away, len(argv) > 4 and argv[4] == "wide")
    finally:
        net.remove()
    if fault:
        print(fault, file=sys.stderr)
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
