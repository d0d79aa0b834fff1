#!/usr/bin/env python3
"""Operators see and steer a server: by its unix socket and by TLS with an operator's certificate."""
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys

import pool
from pool import check, eventually

TENANTS = """[tenant "research"]
match = uri:gpupool:tenant/alice
memory = 1g
share = 30
[tenant "batch"]
match = cn:bob
priority = low
sessions = 2
"""


def started(lab, who, url):
    client = lab.soak(who, url, "0")
    check("the program works", client.stdout.read(1) == b".", client.stderr.read() if client.poll() else "")
    return client


def ended(client):
    """Status and standard error of a program that ends by itself."""
    client.wait(timeout=60)  # its input stays open meanwhile: closing it tells soak to stop
    _, err = client.communicate()
    return client.returncode, err.decode()


def lists(build, source):
    lab = pool.Lab(build, source)
    try:
        server = lab.server("gpu1", config=TENANTS)
        at = ("--socket", server.socket)
        check("nobody is there", lab.json("get", "sessions", *at) == [])
        servers = lab.json("get", "servers", *at)
        check("the server is told", len(servers) == 1 and servers[0]["server"] == "gpu1" and
              servers[0]["state"] == "serving" and servers[0]["address"] == server.url, servers)
        gpus = lab.json("get", "gpus", *at)
        check("its device is told before anybody used it", len(gpus) >= 1 and gpus[0]["total_bytes"] > 1 << 30 and
              gpus[0]["uuid"].startswith("GPU-") and gpus[0]["model"] and gpus[0]["used_bytes"] == 0, gpus)
        client = started(lab, "alice", server.url)
        session = lab.json("get", "sessions", *at)
        check("the session is told", len(session) == 1 and session[0]["tenant"] == "research" and
              session[0]["program"] == "soak" and session[0]["common_name"] == "alice" and
              session[0]["transport"] == "tls" and session[0]["pid"] == client.pid and
              session[0]["calls"] > 10 and session[0]["received_bytes"] > 16384 and
              session[0]["lease_bytes"] > 0, session)
        check("and that it works", eventually(lambda: lab.json("get", "sessions", *at)[0]["activity"] == "active"))
        more = eventually(lambda: lab.json("get", "sessions", *at)[0]["calls"] > session[0]["calls"] + 10)
        check("and counts on", more)
        tenants = {t["tenant"]: t for t in lab.json("get", "tenants", *at)}
        check("tenants too", set(tenants) == {"research", "batch"} and tenants["research"]["sessions"] == 1 and
              tenants["research"]["quota_bytes"] == 1 << 30 and tenants["research"]["share"] == 30 and
              tenants["batch"]["priority"] == "low" and tenants["batch"]["sessions_max"] == 2 and
              tenants["research"]["promised_bytes"] >= session[0]["lease_bytes"] and
              tenants["batch"]["promised_bytes"] == 0, tenants)
        gpu = lab.json("get", "gpus", *at)[0]
        check("sums are right", gpu["sessions"] == 1 and gpu["tenants"] == 1 and
              gpu["promised_bytes"] >= session[0]["lease_bytes"], gpu)
        table = lab.run("get", "sessions", *at, "-o", "wide").stdout.splitlines()
        check("a table", len(table) == 2 and table[0].split()[:3] == ["SESSION", "SERVER", "TENANT"] and
              session[0]["id"] in table[1], table)
        yaml = lab.run("get", "tenants", "-o", "yaml", *at).stdout
        check("and YAML", yaml.startswith('- tenant: "research"\n  server: "gpu1"\n'), yaml)
        twice = lab.run("get", "gpus", *at, "-w", "--interval", "10ms", "--count", "3")
        check("watching repeats", twice.stdout.count("SERVER") == 3, twice)
        for kind, name in (("server", "gpu1"), ("gpu", "gpu1/0"), ("gpu", gpu["uuid"][:10]),
                           ("session", session[0]["id"]), ("tenant", "research")):
            done = lab.run("describe", kind, name, *at)
            check(f"describe {kind} {name}", done.returncode == 0 and "gpu1" in done.stdout, done)
        done = lab.run("describe", "tenant", "nobody", *at)
        check("what is not there is told", done.returncode == 1 and "nobody" in done.stderr, done)
        top = lab.run("top", *at, "--count", "2", "--interval", "200ms").stdout
        rate = re.findall(rf"{session[0]['id']} research\s.*?(\d+)\s+\d+\s+\S+ \S+\s+\S+ \S+$", top, re.M)
        check("top shows rates", len(rate) == 2 and int(rate[1]) > 0, top)
        client.stdin.close()
        client.wait(timeout=60)
        check("the session goes", eventually(lambda: lab.json("get", "sessions", *at) == []))
        after = {t["tenant"]: t for t in lab.json("get", "tenants", *at)}["research"]
        check("what it did stays", after["sessions_ended"] == 1 and after["calls"] > session[0]["calls"] and
              after["sessions"] == 0, after)
        server.stop()
        check("the socket goes with the server", not os.path.exists(server.socket))
    finally:
        lab.close()


def terminal(build, source):
    """top draws in a terminal, survives a resize and leaves it as it was."""
    lab = pool.Lab(build, source)
    try:
        server = lab.server("gpu1")
        master, slave = pty.openpty()
        process = subprocess.Popen([lab.tool, "top", "--socket", server.socket, "--interval", "50ms"],
                                   env=lab.environment(), stdin=slave, stdout=slave, stderr=slave, close_fds=True)
        os.close(slave)
        text = b""
        while text.count(b"\x1b[H") < 3 and select.select([master], [], [], 20)[0]:
            text += os.read(master, 65536)
        os.write(master, b"q")
        while b"\x1b[?1049l" not in text and select.select([master], [], [], 20)[0]:
            text += os.read(master, 65536)
        check("it ends with 0", process.wait(timeout=20) == 0, text)
        check("it drew and went", text.startswith(b"\x1b[?1049h") and b"gpu1" in text and b"....." in text, text)
        os.close(master)
    finally:
        lab.close()


def remote(build, source):
    lab = pool.Lab(build, source)
    try:
        server = lab.server("gpu1", "--admin", "cn:ops", "--sessions-max", "1")
        other = lab.server("gpu2", "--admin", "uri:gpupool:tenant/op*")
        both = f"{server.url},{other.url}"
        gpus = lab.json("get", "gpus", "--server", both, who="ops")
        check("two servers are one list", {g["server"] for g in gpus} == {"gpu1", "gpu2"}, gpus)
        client = started(lab, "alice", server.url)
        session = lab.json("get", "sessions", "--server", both, who="ops")
        check("a full server still serves operators", len(session) == 1, session)
        done = lab.run("kick", session[0]["id"], "--server", both, who="ops")
        check("kicked", done.returncode == 0 and done.stdout == "1 sessions are ended\n", done)
        code, err = ended(client)
        check("the program is told why", code == 2 and "the pool's operator ended the session" in err, code, err)
        done = lab.run("get", "gpus", "--server", server.url, who="alice")
        check("a client is no operator", done.returncode == 1 and "alice is no operator's" in done.stderr and
              not re.search("^gpu1", done.stdout, re.M), done)
        other.kill()
        done = lab.run("get", "servers", "--server", both, "-o", "json", who="ops")
        check("one that is gone is told, the other shown", done.returncode == 1 and other.url in done.stderr and
              [s["state"] for s in json.loads(done.stdout)] == ["serving", "unreachable"], done)
        server.stop()
        for rule in ("*", "cn:*", "local"):
            done = subprocess.run([os.path.join(build, "backend/gpupoold"), "--driver=soft", "--admin", rule,
                                   "--listen=tcp://127.0.0.1:0"], capture_output=True, text=True, timeout=30)
            check(f"rule {rule} is refused", done.returncode == 2 and "for admin" in done.stderr, done)
    finally:
        lab.close()


def drains(build, source):
    lab = pool.Lab(build, source)
    try:
        server = lab.server("gpu1", config=TENANTS)
        other = lab.server("gpu2", config=TENANTS)
        at = ("--socket", server.socket)
        client = started(lab, "alice", server.url)
        done = lab.run("drain", *at)
        check("drained", done.returncode == 0 and "draining, 1 sessions" in done.stdout, done)
        check("its state is told", lab.json("get", "servers", *at)[0]["state"] == "draining")
        second = started(lab, "bob", f"{server.url},{other.url}")
        check("new sessions go to the next server",
              len(lab.json("get", "sessions", "--socket", other.socket)) == 1)
        check("who was there works on", client.stdout.read(1) == b".")
        second.stdin.close()
        second.wait(timeout=60)
        done = lab.run("info", "--server", server.url, who="alice")
        check("the reason is told", done.returncode == 1 and "drains it" in done.stderr, done)
        lab.run("drain", "--undo", *at)
        check("undone", lab.json("get", "servers", *at)[0]["state"] == "serving")
        check("and serves", lab.run("info", "--server", server.url, who="alice").returncode == 0)
        done = lab.run("drain", "--deadline", "100ms", "--stop", "--wait", *at)
        check("a deadline ends what is left", done.returncode == 0, done)
        code, err = ended(client)
        check("the program hears it", code == 2 and "server is going down" in err, code, err)
        check("and the server ends", server.process.wait(timeout=30) == 0, server.log())
        other.stop()
    finally:
        lab.close()


def quotas(build, source):
    lab = pool.Lab(build, source)
    try:
        server = lab.server("gpu1", config=TENANTS)
        at = ("--socket", server.socket)
        done = lab.run("quota", "research", "memory=256m", "share=10", "priority=high", *at)
        check("changed", done.returncode == 0 and "3 settings" in done.stdout, done)
        research = {t["tenant"]: t for t in lab.json("get", "tenants", *at)}["research"]
        check("it is told", research["quota_bytes"] == 256 << 20 and research["share"] == 10 and
              research["priority"] == "high", research)
        done = lab.run("info", "--server", server.url, who="alice")
        check("it counts", "256 MiB" in done.stdout, done)
        for settings, says in ((["memory=1g", "share=200"], "share"), (["match=*"], "match"), (["memory=much"], "much")):
            done = lab.run("quota", "research", *settings, *at)
            check(f"{settings} is refused", done.returncode == 1 and says in done.stderr, done)
        again = {t["tenant"]: t for t in lab.json("get", "tenants", *at)}["research"]
        check("and nothing of it is taken", again["quota_bytes"] == 256 << 20, again)
        done = lab.run("quota", "nobody", "share=5", *at)
        check("an unknown tenant is told", done.returncode == 1 and "nobody" in done.stderr, done)
        server.process.send_signal(1)
        check("the configuration wins when it is read again", eventually(
            lambda: {t["tenant"]: t for t in lab.json("get", "tenants", *at)}["research"]["quota_bytes"] == 1 << 30))
        clients = [started(lab, "bob", server.url) for _ in range(2)]
        done = lab.run("kick", "--tenant", "batch", *at)
        check("a tenant is kicked whole", done.returncode == 0 and done.stdout.startswith("2 "), done)
        for client in clients:
            check("told", "operator ended" in ended(client)[1])
        eventually(lambda: lab.json("get", "sessions", *at) == [])
        done = lab.run("kick", "--tenant", "batch", *at)
        check("nobody is left", done.returncode == 1 and "has no session" in done.stderr, done)
        done = lab.run("kick", "0000000000000001", *at)
        check("no such session", done.returncode == 1 and "0000000000000001" in done.stderr, done)
        server.stop()
    finally:
        lab.close()


def hostile(build, source):
    """What comes by the socket is checked, and nobody keeps the loop from others."""
    lab = pool.Lab(build, source)
    try:
        server = lab.server("gpu1")
        header = struct.Struct("<IIBBHIQQ")
        magic = 0x31465047
        bad = [b"GET / HTTP/1.0\r\n\r\n" + b" " * 64, header.pack(magic, 1 << 30, 1, 0, 0, 7, 0, 0),
               header.pack(magic, 4, 1, 0, 0, 1, 0, 0) + b"\0\0\0\0", header.pack(magic, 4, 1, 0, 0, 7, 0, 0) + b"\xff" * 4,
               header.pack(magic, 4, 2, 0, 0, 7, 0, 0) + b"\0" * 4]
        for data in bad:
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(server.socket)
                line.sendall(data)
                line.settimeout(20)
                check(f"{data[:12]} ends its line", line.recv(10) == b"")
        silent = []
        for _ in range(20):
            line = socket.socket(socket.AF_UNIX)
            line.connect(server.socket)
            silent.append(line)
        ask = header.pack(magic, 4, 1, 0, 0, 7, 0, 0) + b"\x08\x01\x10\x0f"
        silent[0].sendall(ask * 400)  # it never reads
        check("silent lines cost no session", lab.run("info", "--server", server.url, who="alice").returncode == 0)
        for line in silent[1:]:
            line.close()
        check("others are served", eventually(lambda: lab.run("get", "gpus", "--socket", server.socket).returncode == 0))
        silent[0].settimeout(20)
        check("and who reads late gets it all", silent[0].recv(32)[:4] == b"GPF1")
        silent[0].close()
        again = subprocess.run([os.path.join(build, "backend/gpupoold"), "--driver=soft", "--listen=tcp://127.0.0.1:0",
                                "--admin-socket", server.socket], capture_output=True, text=True, timeout=30)
        check("a second server does not take the socket", again.returncode == 1 and "another server" in again.stderr,
              again)
        server.kill()
        check("a killed one leaves it", os.path.exists(server.socket))
        server.start()
        check("and the next takes it over", lab.run("get", "gpus", "--socket", server.socket).returncode == 0)
        server.stop()
    finally:
        lab.close()


def reports(build, source):
    """How much ran on own machines and on rented ones; it survives the servers' restarts."""
    lab = pool.Lab(build, source)
    try:
        places = (("gpu1", "onprem", "home"), ("gpu2", "cloud", "west"))
        servers = [lab.server(name, "--cost", cost, "--region", region, "--accounts", lab.path(name + ".accounts"),
                              config=TENANTS) for name, cost, region in places]
        every = [("--socket", server.socket) for server in servers]
        check("nothing yet", lab.json("report", *every[0]) == [])
        clients = [started(lab, "alice", servers[0].url), started(lab, "bob", servers[0].url),
                   started(lab, "alice", servers[1].url)]
        running = lambda: {(row["tenant"], row["cost"]): row for at in every for row in lab.json("report", *at)}
        check("what runs is told", eventually(lambda: all(row["gpu_ms"] > 100 and row["launches"] > 0 for row in running().values())
                                              and len(running()) == 3), running())
        for client in clients:
            client.stdin.close()
            check("it ends well", client.wait(timeout=60) == 0)
        check("all have ended", eventually(lambda: not any(lab.json("get", "sessions", *at) for at in every)))
        before = running()
        check("each where it ran", set(before) == {("research", "onprem"), ("batch", "onprem"), ("research", "cloud")} and
              all(row["sessions"] == 1 and row["session_ms"] >= row["gpu_ms"] for row in before.values()), before)
        check("with its place", before["research", "cloud"]["region"] == "west" and
              before["research", "cloud"]["server"] == "gpu2", before)
        for server in servers:
            server.stop()
            server.start()
        check("a restart changes nothing", running() == before, running(), before)
        client = started(lab, "bob", servers[1].url)
        table = lab.run("report", *every[1]).stdout
        check("a table, and the whole", re.search(r"(?m)^TENANT +COST +SESSIONS +GPU TIME", table) and
              re.search(r"(?m)^batch +cloud +1 ", table) and "GPU time: onprem 0ms (0.0 %), cloud " in table and
              "(100.0 %)" in table, table)
        client.stdin.close()
        client.wait(timeout=60)
        check("other days have nothing", lab.json("report", "--since", "2020-01-01", "--until", "2020-02-01", *every[0]) == [])
        for wrong in ("yesterday", "2020-13-01", "-1d", "d"):
            done = lab.run("report", "--since", wrong, *every[0])
            check(f"{wrong} is no day", done.returncode == 2 and "are days" in done.stderr, done)
        done = lab.run("report", "--socket", "/nonexistent/sock")
        check("who does not answer is told", done.returncode == 1 and "/nonexistent/sock" in done.stderr, done)
        with open(lab.path("gpu1.accounts"), encoding="ascii") as file:
            check("the file is what it says", re.fullmatch(r"(\d{8}( \d+){7} (research|batch)\n)+", file.read()))
    finally:
        lab.close()


def wrong_use(build, source):
    lab = pool.Lab(build, source)
    try:
        for command in (["get"], ["get", "cats"], ["get", "gpus", "-o", "xml"], ["describe", "gpu"], ["kick"],
                        ["kick", "xyz"], ["kick", "1", "--tenant", "a"], ["quota"], ["quota", "a"], ["quota", "a", "b"],
                        ["drain", "--undo", "--stop"], ["top", "now"], ["get", "gpus", "sessions"]):
            done = lab.run(*command)
            check(f"{command} is wrong", done.returncode == 2 and done.stderr, done)
        for command in ("get", "describe", "top", "report", "drain", "kick", "quota"):
            done = lab.run(command, "--help")
            check(f"{command} --help", done.returncode == 0 and "Examples:" in done.stdout and
                  "Exit code" in done.stdout, done)
        done = lab.run("get", "gpus")
        check("no server at all", done.returncode == 1 and "--socket" in done.stderr, done)
        done = lab.run("get", "gpus", "--socket", "/nonexistent/sock")
        check("no socket", done.returncode == 1 and "/nonexistent/sock" in done.stderr, done)
    finally:
        lab.close()


if __name__ == "__main__":
    sys.exit(pool.main({f.__name__: f for f in (lists, terminal, remote, drains, quotas, reports, hostile, wrong_use)}))
