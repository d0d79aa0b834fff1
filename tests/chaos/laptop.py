#!/usr/bin/env python3
"""A client whose network is away for a while, in the middle of its work, goes on afterwards.

laptop.py BUILD SOURCE [SECONDS] [wide|named]

Server and client each have a network namespace, joined by a pair of interfaces; the client's is
taken down for SECONDS (GPUPOOL_TEST_AWAY, else 3) and comes back. wide: the session goes by several
connections, as it does to another machine once it has moved much. named: the server has a name, which
nobody can look up from the cut on, as without a network, and which then leads to another server. Skipped with the reason where namespaces are not
allowed. Everything made here is removed.
"""

import os
import subprocess
import sys
import time

from pool import Pool, wait_dots

SKIP = 77
NAME = "pool.test"
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


def run(build, source, net, away, how):
    pool = Pool(build, source, "tls", ("--heartbeat=500ms",), address="10.99.0.1", name=NAME,
                inside=["ip", "netns", "exec", net.server]).start()
    program = other = None
    env = pool.environment()
    inside = ["ip", "netns", "exec", net.client]
    hosts = os.path.join(pool.folder.name, "hosts")
    if how == "wide":
        env["GPUPOOL_LINES_AFTER"] = "0"
    if how == "named":
        with open(hosts, "w", encoding="ascii") as file:
            file.write(f"10.99.0.1 {NAME}\n")
        env["GPUPOOL_SERVER"] = pool.url.replace("10.99.0.1", NAME)
        inside += ["sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts]
    try:
        program = subprocess.Popen([*inside, os.path.join(build, "tests/chaos/soak"), "0"], env=env, bufsize=0,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if not wait_dots(program, 5):
            return f"the client did not start: {program.stderr.read().decode()}\n{pool.log()}"
        if how == "named":
            os.truncate(hosts, 0)
        net.client_link("down")
        time.sleep(away / 2)  # what is tested: time passes without a line
        if how == "named":
            other = Pool(build, source, address="127.0.0.1", port=pool.url.rpartition(":")[2],
                         inside=["ip", "netns", "exec", net.client]).start()
            with open(hosts, "w", encoding="ascii") as file:
                file.write(f"127.0.0.1 {NAME}\n")
        time.sleep(away / 2)
        net.client_link("up")
        begin = time.monotonic()
        if not wait_dots(program, 200, 60):
            return f"the client ended: {program.stderr.read().decode()}\n{pool.log()}"
        back = time.monotonic() - begin
        err = program.stderr.readline()  # the session may be on before that is said
        program.stdin.close()
        program.stdin = None
        err += program.communicate(timeout=60)[1]
        lines = err.decode().splitlines()
        print(f"away for {away:g} s, 200 rounds more within {back:.1f} s; said: {lines}")
        if program.returncode != 0:
            return f"the client ended with {program.returncode}: {err.decode()}"
        if len(lines) != 1 or "the session goes on" not in lines[0]:
            return "that is not one line that says what happened"
        if how == "wide" and "by 4 connections" not in pool.log():
            return "it did not go by several connections:\n" + pool.log()
        return None
    finally:
        if program is not None and program.poll() is None:
            program.kill()
            program.communicate()
        if other is not None:
            other.close()
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
        fault = run(argv[1], argv[2], net, away, argv[4] if len(argv) > 4 else "")
    finally:
        net.remove()
    if fault:
        print(fault, file=sys.stderr)
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
