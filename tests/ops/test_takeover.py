#!/usr/bin/env python3
"""A new gpupoold takes over the listening sockets of the one before; its sessions go on."""
import os
import shutil
import signal
import subprocess
import sys

import pool
from pool import check, eventually


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def end(pid):
    os.kill(pid, signal.SIGTERM)
    check("it ends", eventually(lambda: gone(pid), 40))


def takes_over(build, source):
    lab = pool.Lab(build, source)
    successor = 0
    try:
        # A copy, so that a new program can be put in its place.
        os.makedirs(lab.path("tree/backend/driver"))
        program = lab.path("tree/backend/gpupoold")
        shutil.copy(os.path.join(build, "backend/gpupoold"), program)
        lab.build = lab.path("tree")
        library = os.path.join(build, "backend/driver/soft/libcuda.so.1")
        server = lab.server("gpu1", "--driver", library, "--metrics", "http://127.0.0.1:0")
        lab.build = build
        at = ("--socket", server.socket)
        client = lab.soak("alice", server.url, "0")
        check("it works", client.stdout.read(1) == b".")
        session = lab.json("get", "sessions", *at)[0]["id"]
        os.rename(program, program + ".old")
        shutil.copy(os.path.join(build, "backend/gpupoold"), program)
        server.process.send_signal(signal.SIGUSR2)
        refused = 0
        while "the successor has taken over" not in server.log():
            refused += lab.run("info", "--server", server.url, who="bob").returncode != 0
        check("no connection was refused meanwhile", refused == 0, refused, server.log())
        told = lab.json("get", "servers", *at)[0]
        successor = told["pid"]
        check("another process serves operators", successor != server.process.pid, told)
        check("of the new program", os.readlink(f"/proc/{successor}/exe") == program)
        check("at the same place", told["address"] == server.url, told)
        check("new sessions are the new one's", lab.run("info", "--server", server.url, who="bob").returncode == 0 and
              server.process.poll() is None)
        check("the session goes on at the old one", client.stdout.read(64) and client.poll() is None)
        check("and is none of the new one's", session not in lab.run("get", "sessions", *at).stdout)
        client.stdin.close()
        check("to its end", client.wait(timeout=60) == 0)
        check("then the old one ends", server.process.wait(timeout=40) == 0, server.log())
        check("which the new one sees", eventually(lambda: "the server before has ended" in server.log()))
        check("and serves on", lab.run("get", "gpus", *at).returncode == 0 and
              lab.run("info", "--server", server.url, who="bob").returncode == 0)
        end(successor)
        check("the socket goes with it", not os.path.exists(server.socket))
        successor = 0
    finally:
        if successor and not gone(successor):
            os.kill(successor, signal.SIGKILL)
        lab.close()


def lost_lines(build, source):
    """Who lost its line comes back by way of the new server to the session at the old one."""
    lab = pool.Lab(build, source)
    relay = successor = None
    try:
        server = lab.server("gpu1")
        read_end, write_end = os.pipe()
        relay = subprocess.Popen([os.path.join(build, "bench/relay"), "--to", server.url, "--ready-fd", str(write_end),
                                  "--cut-after", "6m"], pass_fds=[write_end], stdin=subprocess.DEVNULL)
        os.close(write_end)
        with os.fdopen(read_end) as ready:
            url = "tls://" + ready.readline().strip().split("://")[-1]
        client = lab.soak("alice", url, "0")
        check("it works", client.stdout.read(1) == b".")
        server.process.send_signal(signal.SIGUSR2)
        check("taken over", eventually(lambda: "the successor has taken over" in server.log(), 40), server.log())
        successor = lab.json("get", "servers", "--socket", server.socket)[0]["pid"]
        check("the line is cut and found again", eventually(lambda: "client is on the line again" in server.log(), 30), server.log())
        check("behind the new server", server.log().index("has taken over") < server.log().rindex("client is on the line again"),
              server.log())
        check("the program goes on", client.stdout.read(64) != b"")
        client.stdin.close()
        check("to its end", client.wait(timeout=60) == 0)
        check("then the old one ends", server.process.wait(timeout=40) == 0, server.log())
    finally:
        if relay is not None:
            relay.kill()
        if successor and not gone(successor):
            os.kill(successor, signal.SIGKILL)
        lab.close()


def fails(build, source):
    """A successor that cannot serve changes nothing."""
    lab = pool.Lab(build, source)
    try:
        server = lab.server("gpu1")
        os.rename(lab.path("certs/server.crt"), lab.path("certs/away.crt"))
        server.process.send_signal(signal.SIGUSR2)
        check("it is told", eventually(lambda: "this server goes on" in server.log(), 30), server.log())
        os.rename(lab.path("certs/away.crt"), lab.path("certs/server.crt"))
        check("the old one serves on", lab.run("info", "--server", server.url, who="alice").returncode == 0 and
              lab.run("get", "gpus", "--socket", server.socket).returncode == 0)
        server.stop()
        check("its socket goes with it", not os.path.exists(server.socket))
    finally:
        lab.close()


if __name__ == "__main__":
    sys.exit(pool.main({f.__name__: f for f in (takes_over, fails, lost_lines)}))
