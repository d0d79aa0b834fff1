#!/usr/bin/env python3
"""Servers in a real etcd, with TLS: registered, lost, back again; programs placed by it."""
import os
import re
import subprocess
import sys
import threading
import time

import etcd
import pool
from pool import check, eventually

SHOW = ("run", "--", "sh", "-c", "echo $GPUPOOL_SERVER")
TENANTS = '[tenant "all"]\nmatch = *\nshare = 30\n'


class Site:
    """An etcd and three servers of different kinds, two devices each."""

    def __init__(self, build, source, servers=3, members=1, limits=()):
        self.lab = pool.Lab(build, source)
        self.etcd = etcd.Etcd(self.lab, members).start()
        kinds = [("home1", "h200", "home", "onprem"), ("home2", "a100", "home", "onprem"),
                 ("west1", "h200", "west", "cloud")][:servers]
        self.servers = {}
        for name, model, region, cost in kinds:
            self.servers[name] = self.lab.server(
                name, *self.etcd.options(), "--model-key", f"*={model}", "--region", region, "--cost", cost,
                "--label", "rack=7", *limits, config=TENANTS, env={"GPUPOOL_SOFT_DEVICES": "2"})
        check("all register", eventually(lambda: len(self.of("server/")) == servers), self.of("server/"))
        check("with their GPUs", all(len(s["gpus"]) == 2 for s in self.of("server/").values()), self.of("server/"))

    def of(self, prefix):
        return {k: v for k, v in self.etcd.entries().items() if k.startswith(prefix)}

    def gpus(self, prefix=""):
        return [gpu for _, server in sorted(self.of("server/" + prefix).items()) for gpu in server["gpus"]]

    def run(self, *arguments, who="alice", **env):
        return self.lab.run(*arguments, who=who, **self.etcd.environment(), **env)

    def placed(self, *needs):
        """Names of servers, in the order in which a program with these needs would try them."""
        done = self.run(SHOW[0], *needs, *SHOW[1:])
        check(f"{needs} is placed", done.returncode == 0, done)
        names = {server.url: name for name, server in self.servers.items()}
        return [names[url] for url in done.stdout.strip().split(",")]

    def close(self):
        self.lab.close()
        self.etcd.stop()


def registers(build, source):
    site = Site(build, source)
    try:
        home = site.of("server/home/home1")["server/home/home1"]
        check("what a server tells", home["urls"] == site.servers["home1"].url and home["cost"] == "onprem" and
              home["state"] == "serving" and home["labels"] == {"rack": "7"} and home["software"], home)
        gpu = site.gpus("west/west1")[0]
        check("what a GPU tells", gpu["model"] == "h200" and gpu["uuid"].startswith("GPU-") and gpu["free"] == gpu["total"] and
              gpu["health"] == "ok" and gpu["share"] == 100, gpu)
        client = site.lab.soak("alice", site.servers["home1"].url, "0")
        check("it works", client.stdout.read(1) == b".")
        used = lambda: [g for g in site.gpus("home/home1") if g["free"] < g["total"]]
        check("what is used is told", eventually(used) and used()[0]["share"] == 70, site.gpus())
        site.lab.run("drain", "--socket", site.servers["home2"].socket)
        check("a drain is told", eventually(
            lambda: site.of("server/")["server/home/home2"]["state"] == "draining"))
        check("and programs go elsewhere", "home2" not in site.placed())
        site.servers["west1"].stop()
        check("an orderly end takes its entries along", not site.of("server/west"))
        client.stdin.close()
        check("the program ends well", client.wait(timeout=60) == 0)
        site.servers["home1"].kill()
        check("a killed one is gone within its TTL", eventually(lambda: not site.of("server/home/home1"), 12))
    finally:
        site.close()


def outage(build, source):
    """Running sessions never need the directory; lost leases are taken anew. GPUPOOL_TEST_OUTAGE=SECONDS: how long it
    is away, beyond the TTL in any case."""
    seconds = float(os.environ.get("GPUPOOL_TEST_OUTAGE", "0"))
    site = Site(build, source, servers=2)
    try:
        client = site.lab.soak("alice", site.servers["home1"].url, "0")
        check("it works", client.stdout.read(1) == b".")
        threading.Thread(target=lambda: all(iter(lambda: client.stdout.read(4096), b"")), daemon=True).start()
        site.etcd.stop()
        gone = time.monotonic()
        check("the server notes it", eventually(lambda: "registrar: etcd" in site.servers["home1"].log(), 20))
        calls = lambda: site.lab.json("get", "sessions", "--socket", site.servers["home1"].socket)[0]["calls"]
        before = calls()
        while True:
            now = calls()
            check("the session goes on", eventually(lambda: calls() > now), before)
            if time.monotonic() - gone > max(seconds, 4):  # the TTL is 3 s
                break
        check("all the time", calls() > before)
        done = site.run(*SHOW)
        check("without a directory nobody is placed, and hears why", done.returncode == 1 and "directory" in done.stderr,
              done)
        named = site.lab.run("run", "--server", site.servers["home1"].url, *SHOW[1:], who="alice")
        check("but by name", named.returncode == 0 and named.stdout.strip() == site.servers["home1"].url, named)
        for name in os.listdir(site.lab.folder.name):  # a directory that was lost with all that was in it
            if name == "m0":
                subprocess.run(["rm", "-rf", site.lab.path(name)], check=True)
        site.etcd.start()
        check("everything is there again", eventually(
            lambda: len(site.of("server/")) == 2 and len(site.gpus()) == 4, 30), site.etcd.entries(),
              site.servers["home1"].log())
        check("which is noted", "a new one is taken" in site.servers["home1"].log(), site.servers["home1"].log())
        client.stdin.close()
        check("the program ends well", client.wait(timeout=60) == 0)
    finally:
        site.close()


def quorum(build, source):
    """Three members: one may fail; without a quorum reading goes on."""
    site = Site(build, source, servers=1, members=3)
    try:
        site.etcd.stop(0)
        check("the next endpoint serves", site.placed() == ["home1"])
        site.etcd.stop(1)
        check("a member alone is read", site.placed() == ["home1"])
    finally:
        site.close()


def authentication(build, source):
    lab = pool.Lab(build, source)
    directory = etcd.Etcd(lab).start()
    try:
        for path, body in (("/auth/user/add", {"name": "root", "password": "r"}),
                           ("/auth/user/add", {"name": "pool", "password": "secret"}),
                           ("/auth/role/add", {"name": "root"}), ("/auth/user/grant", {"user": "root", "role": "root"}),
                           ("/auth/role/add", {"name": "pool"}),
                           ("/auth/role/grant", {"name": "pool", "perm": {
                               "permType": "READWRITE", "key": "L2dwdXBvb2wv", "range_end": "L2dwdXBvb2ww"}}),
                           ("/auth/user/grant", {"user": "pool", "role": "pool"}), ("/auth/enable", {})):
            directory.ask(path, body)
        secret = lab.write("secret", "secret\n")
        wrong = lab.server("gpu2", *directory.options())
        check("without a user it is refused", eventually(lambda: "registrar: etcd" in wrong.log()), wrong.log())
        server = lab.server("gpu1", *directory.options(), "--etcd-user", "pool", "--etcd-password-file", secret)
        token = directory.ask("/auth/authenticate", {"name": "root", "password": "r"})["token"]
        check("with one it registers", eventually(
            lambda: "server/default/gpu1" in directory.entries(token)), server.log())
        check("and only it", "server/default/gpu2" not in directory.entries(token))
        done = lab.run(*SHOW, who="alice", **directory.environment(), GPUPOOL_ETCD_USER="pool",
                       GPUPOOL_ETCD_PASSWORD_FILE=secret)
        check("clients read it", done.stdout.strip() == server.url, done)
        check("the password is nowhere to be seen", "secret" not in server.log() and "secret" not in
              open(f"/proc/{server.process.pid}/cmdline", encoding="utf-8").read().replace(secret, ""))
        directory.stop()
        directory.start()  # simple tokens do not survive it
        lab.run("drain", "--socket", server.socket)
        check("a new token is fetched", eventually(lambda: directory.entries(directory.ask(
            "/auth/authenticate", {"name": "root", "password": "r"})["token"])["server/default/gpu1"]["state"] ==
                                                   "draining", 30), server.log())
    finally:
        lab.close()
        directory.stop()


def placement(build, source):
    site = Site(build, source)
    try:
        check("own servers first", set(site.placed()[:2]) == {"home1", "home2"} and site.placed()[2] == "west1")
        check("by model", site.placed("--model", "h200") == ["home1", "west1"])
        check("by several", set(site.placed("--model", "a100,l20")) == {"home2"})
        check("by pattern", site.placed("--model", "a*") == ["home2"])
        check("by region", site.placed("--region", "west") == ["west1"])
        check("rented first", site.placed("--prefer", "cloud")[0] == "west1")
        check("rented only", site.placed("--prefer", "only-cloud") == ["west1"])
        client = site.lab.soak("alice", site.servers["home1"].url, "0")
        check("it works", client.stdout.read(1) == b".")
        eventually(lambda: [g for g in site.gpus("home/home1") if g["sessions"]])
        # One measured distance of a busy machine may be far off, and goes before.
        check("spread avoids who is busy", eventually(
            lambda: [n for n in site.placed("--spread") if n != "west1"] == ["home2", "home1"]), site.placed("--spread"))
        check("by share", "home1" not in site.placed("--share", "80", "--gpus", "2"))
        total = min(g["total"] for g in site.gpus())
        check("by memory", "home1" not in site.placed("--gpus", "2", "--memory", str(total)))
        done = site.run("run", "--gpus", "3", "--model", "h200", *SHOW[1:])
        check("two servers together have what none has", done.returncode == 0 and
              sorted(done.stdout.strip().split("+")) == sorted(site.servers[n].url for n in ("home1", "west1")), done)
        done = site.run("run", "--gpus", "5", "--model", "h200", *SHOW[1:])
        check("what is not there is told in a table", done.returncode == 1 and "2 of 5 GPUs" in done.stderr and
              all(n in done.stderr for n in site.servers), done)
        done = site.run("place", "--model", "h200")
        rows = [line.split()[:2] for line in done.stdout.splitlines()]
        check("place shows all", done.returncode == 0 and rows[1] == ["1", "home1"] and ["-", "home2"] in rows, done)
        info = site.run("run", "--gpus", "1", "--model", "h200", "--", site.lab.tool, "info")
        check("the program sees one GPU", info.stdout.count("\ndevice ") == 1, info)
        info = site.run("run", "--gpus", "2", "--", site.lab.tool, "info")
        check("or two", info.stdout.count("\ndevice ") == 2, info)
        for wrong in (["--gpus", "0"], ["--share", "101"], ["--prefer", "mars"]):
            done = site.run("run", *wrong, "--", "true")
            check(f"{wrong} is refused", done.returncode == 2, done)
        client.stdin.close()
        client.wait(timeout=60)
    finally:
        site.close()


def refusal(build, source):
    """The server has the last word: the directory is behind, or knows nothing of tenants."""
    lab = pool.Lab(build, source)
    try:
        full = lab.server("full", config='[tenant "all"]\nmatch = *\nsessions = 1\n')
        free = lab.server("free")
        client = lab.soak("alice", full.url, "0")
        check("it works", client.stdout.read(1) == b".")
        servers = lab.write("servers", f"# ours\n{full.url} region=home\n\n{free.url} region=west cost=cloud\n")
        show = ("run", "--servers-file", servers, "--", lab.tool, "info")
        check("the next candidate takes it", "free" in lab.run(*show, who="bob").stdout)
        done = lab.run("run", "--servers-file", servers, "--prefer", "cloud", *SHOW[1:], who="bob", GPUPOOL_GPUS="1")
        check("a list is ordered by the same rules", done.stdout.strip().startswith(free.url), done)
        low = lab.server("low", config='[tenant "all"]\nmatch = *\npriority = low\n')
        high = lab.server("high", config='[tenant "all"]\nmatch = *\npriority = high\n')
        classes = lambda which, *urls: lab.run("run", "--servers-file", lab.write("classes", "\n".join(urls) + "\n"),
                                               "--priority", which, "--", lab.tool, "info", who="bob")
        done = classes("high", free.url, low.url, high.url)
        check("who needs the high class goes where it has it", f"({high.url})" in done.stdout, done)
        done = classes("normal", low.url, free.url)
        check("where there are no classes all are alike", f"({free.url})" in done.stdout, done)
        done = classes("normal", low.url)
        check("or hears why not", done.returncode == 1 and "has that priority" in done.stderr, done)
        low.stop()
        high.stop()
        free.stop()
        waiting = subprocess.Popen([lab.tool, "run", "--server", full.url, "--wait", "60s", "--", lab.tool, "info"],
                                   env=lab.environment("bob"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = waiting.stderr.readline().decode()
        check("it waits, and says so", "waiting" in line, line)
        client.stdin.close()
        client.wait(timeout=60)
        out, _ = waiting.communicate(timeout=60)
        check("until there is room", waiting.returncode == 0 and b"full" in out, out)
        bad = lab.write("bad", f"{full.url} speed=high\n")
        done = lab.run("run", "--servers-file", bad, *SHOW[1:], who="bob")
        check("a bad line is told", done.returncode != 0 and "bad:1" in done.stderr, done)
    finally:
        lab.close()


def line(build, source):
    """Who waits, waits in a line: positions are shown, who came first goes first, and each goes when a place is free:
    the entry of who went before, which his lease keeps for five seconds, holds nobody up."""
    site = Site(build, source, servers=1, limits=("--sessions-max", "1"))
    waiting = []
    try:
        client = site.lab.soak("alice", site.servers["home1"].url, "0")
        check("it works", client.stdout.read(1) == b".")
        check("and is told", eventually(lambda: site.of("server/")["server/home/home1"]["sessions"] == 1))
        env = site.lab.environment("alice", **site.etcd.environment())
        read_end, write_end = os.pipe()
        for i in range(4):
            process = subprocess.Popen(
                [site.lab.tool, "run", "--wait", "120s", "--", "sh", "-c",
                 f"'{site.lab.tool}' info > /dev/null || exit 1; echo {i} >&{write_end}"], env=env, stderr=subprocess.PIPE,
                pass_fds=[write_end], text=True)
            text = process.stderr.readline()
            check("the position is shown", re.search(rf"waiting, {i} before us", text), text)
            waiting.append(process)
        os.close(write_end)
        client.stdin.close()
        check("the place becomes free", client.wait(timeout=60) == 0)
        free = time.monotonic()
        served = []
        with os.fdopen(read_end, encoding="ascii") as order:
            for text in order:
                served.append(time.monotonic() - free)
                check("they are served in their order", int(text) == len(served) - 1, text)
        late = ", ".join(f"{s:.2f}" for s in served)
        print(f"served after {late} s, their own work included")
        check("all are served", [p.wait(timeout=60) for p in waiting] == [0] * 4)
        check("and nobody waits for a lease", served[-1] < 12, late)
        for i, process in enumerate(waiting):
            places = [int(n) for n in re.findall(r"(\d+) before us", process.stderr.read())]
            check("positions only go down", all(a > b for a, b in zip([i] + places, places)), places)
    finally:
        for process in waiting:
            process.stderr.close()
            process.kill()
            process.wait()
        site.close()


def aside(build, source):
    """Who is first and asks for what no server has holds nobody up, and is served when one comes that has it."""
    site = Site(build, source, servers=1, limits=("--sessions-max", "1"))
    waiting = []

    def wait(gpus, *command):
        process = subprocess.Popen([site.lab.tool, "run", "--wait", "120s", "--gpus", gpus, "--", *command],
                                   env=site.lab.environment("alice", **site.etcd.environment()), text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        waiting.append(process)
        return process, process.stderr.readline()

    try:
        client = site.lab.soak("alice", site.servers["home1"].url, "0")
        check("it works", client.stdout.read(1) == b".")
        check("and is told", eventually(lambda: site.of("server/")["server/home/home1"]["sessions"] == 1))
        greedy, text = wait("4", *SHOW[2:])
        check("who can never be served is told", "even when nobody else is there" in text, text)
        modest, text = wait("2", site.lab.tool, "info")
        check("nobody counts it", "waiting, 0 before us" in text, text)
        client.stdin.close()
        out, err = modest.communicate(timeout=60)
        check("nor waits for it", modest.returncode == 0 and out.count("\ndevice ") == 2, out, err)
        check("it waits on", greedy.poll() is None)
        more = site.lab.server("home3", *site.etcd.options(), "--model-key", "*=h200", "--region", "home",
                               env={"GPUPOOL_SOFT_DEVICES": "2"})
        out, err = greedy.communicate(timeout=60)
        check("until a server comes that has it", greedy.returncode == 0 and
              sorted(out.strip().split("+")) == sorted((site.servers["home1"].url, more.url)), out, err)
        check("the program ends well", client.wait(timeout=60) == 0)
    finally:
        for process in waiting:
            process.kill()
            process.wait()
        site.close()


if __name__ == "__main__":
    if etcd.PROGRAM is None:
        print("skipped: etcd is not installed (Debian package etcd-server)")
        sys.exit(77)
    sys.exit(pool.main({f.__name__: f for f in (registers, outage, quorum, authentication, placement, refusal, line, aside)}))
