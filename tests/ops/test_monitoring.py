#!/usr/bin/env python3
"""A real Prometheus on a live pool: what it says of our pages and rules, and what each panel of the dashboard shows.

usage: test_monitoring.py BUILD SOURCE [promtool] [panels]
       test_monitoring.py BUILD SOURCE draw       makes the pictures in deploy/monitoring anew, from a minute of a pool
"""
import fcntl
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
import urllib.parse
import urllib.request

import picture
import pool
from etcd import free_ports
from pool import check, eventually
from test_metrics import PAGER, fetch

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
TENANTS = '[tenant "research"]\nmatch = cn:alice\nmemory = 1g\nshare = 60\npriority = high\n' \
          '[tenant "batch"]\nmatch = cn:bob\nmemory = 512m\nshare = 20\npriority = low\n'
# On the second server memory is promised twice.
SMALL = re.sub(r"memory = .*", "memory = 64m", re.sub(r"priority = .*", "priority = normal", TENANTS))


class Live:
    """Two servers, two tenants that work, and a Prometheus that looks at them."""

    def __init__(self, build, source):
        self.lab = lab = pool.Lab(build, source)
        self.source, self.clients, self.prometheus = source, [], None
        self.servers = [lab.server("gpu1", "--admin", "cn:ops", "--metrics", "http://127.0.0.1:0", config=TENANTS, env={"GPUPOOL_SOFT_DEVICES": "2"}),
                        lab.server("gpu2", "--admin", "cn:ops", "--metrics", "http://127.0.0.1:0", "--oversubscribe", "2.0", config=SMALL,
                                   env={"GPUPOOL_SOFT_MEMORY": "80m"})]
        self.work("alice", 0)
        self.work("bob", 0)

    def work(self, who, server):
        client = self.lab.soak(who, self.servers[server].url, "0")
        check("it works", client.stdout.read(1) == b".")
        subprocess.Popen(["cat"], stdin=client.stdout, stdout=subprocess.DEVNULL)
        self.clients.append(client)

    def page(self, who):
        env = self.lab.environment(who, GPUPOOL_SERVER=self.servers[1].url,
                                   LD_LIBRARY_PATH=os.path.join(self.lab.build, "frontend/cuda"))
        self.clients.append(subprocess.Popen([sys.executable, "-c", PAGER], env=env, stdin=subprocess.PIPE))

    def watch(self):
        ports = [re.search(r"metrics at .*, port (\d+)", s.log()).group(1) for s in self.servers]
        config = self.lab.write("prometheus.yml", json.dumps({
            "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [os.path.join(self.source, "deploy/monitoring/rules.yml")],
            "scrape_configs": [{"job_name": "gpupool", "static_configs": [{"targets": [f"127.0.0.1:{p}" for p in ports]}]}]}))
        port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{port}"
        with open(self.lab.path("prometheus.log"), "wb") as log:
            self.prometheus = subprocess.Popen(
                [PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={self.lab.path('tsdb')}",
                 f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        check("prometheus serves", eventually(self.ready, 30), open(self.lab.path("prometheus.log"), encoding="utf-8").read())

    def ask(self, path, **arguments):
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(arguments)}", timeout=20) as answer:
            return json.loads(answer.read())

    def ready(self):
        try:
            return self.ask("/api/v1/query", query="1")["status"] == "success"
        except OSError:
            return False

    def query(self, expr):
        return self.ask("/api/v1/query", query=filled(expr))["data"]["result"]

    def close(self):
        for client in self.clients:
            client.stdin.close()
        codes = [client.wait(timeout=60) for client in self.clients]
        if self.prometheus is not None:
            self.prometheus.terminate()
            self.prometheus.wait()
        self.lab.close()
        check("all programs end well", not any(codes), codes)


def filled(expr):
    """As Grafana sends it, for all servers and tenants."""
    return expr.replace("$server", ".*").replace("$tenant", ".*").replace("$__rate_interval", "3s")


def panels_of(source):
    with open(os.path.join(source, "deploy/monitoring/dashboard.json"), encoding="utf-8") as file:
        return json.load(file)["panels"]


def promtool(build, source):
    live = Live(build, source)
    try:
        for server in live.servers:
            done = subprocess.run([PROMTOOL, "check", "metrics"], input=fetch(server), text=True, capture_output=True, timeout=60)
            check("promtool finds nothing", done.returncode == 0, done.stdout, done.stderr)
        done = subprocess.run([PROMTOOL, "check", "rules", os.path.join(source, "deploy/monitoring/rules.yml")], text=True,
                              capture_output=True, timeout=60)
        check("nor in the rules", done.returncode == 0, done.stdout, done.stderr)
    finally:
        live.close()


def panels(build, source):
    """Every expression of every panel has an answer; so has every rule that records, and no rule fails."""
    live = Live(build, source)
    try:
        live.watch()
        asked = 0
        for panel in panels_of(source):
            for target in panel["targets"]:
                expr = target["expr"]
                asked += 1
                if expr.endswith("> 0"):  # shown only where there is some
                    expr = expr[:-len("> 0")]
                check(f"{panel['title']}: {expr} shows something", eventually(lambda: live.query(expr), 30))
        check("panels were asked", asked > 15)
        rules = lambda: [r for g in live.ask("/api/v1/rules")["data"]["groups"] for r in g["rules"]]
        check("rules are well", eventually(lambda: all(r["health"] == "ok" for r in rules())), rules())
        for rule in rules():
            if rule["type"] == "recording":
                check(f"{rule['name']} is recorded", eventually(lambda: live.query(rule["name"]), 30))
    finally:
        live.close()


def screen(command, env, seconds):
    """What a terminal of 130 columns shows of a command that draws anew each time."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, dict(env, TERM="xterm", COLUMNS="130", LINES="40"))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 130, 0, 0))
    shown, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 65536)
    os.write(terminal, b"q")
    os.kill(pid, 2)
    os.waitpid(pid, 0)
    os.close(terminal)
    last = [f for f in re.split(r"\x1b\[H|\x1b\[2J", shown.decode(errors="replace")) if f.strip()][-2]
    lines = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line).rstrip() for line in last.replace("\r", "").split("\n")]
    return lines[:max(i for i, line in enumerate(lines) if line) + 1]


def draw(build, source):
    live = Live(build, source)
    folder = os.path.join(source, "deploy/monitoring")
    try:
        live.watch()
        began = time.time()
        for who in ("alice", "bob"):
            time.sleep(10)  # for the picture's sake
            live.page(who)
        time.sleep(40)
        sockets = ",".join(s.url for s in live.servers)
        lab = live.lab
        drawn = []
        for panel in panels_of(source):
            shown = picture.Panel(panel)
            if panel["type"] in ("stat", "gauge"):
                shown.stat(float(live.query(panel["targets"][0]["expr"])[0]["value"][1]))
            else:
                curves = []
                for target in panel["targets"]:
                    found = live.ask("/api/v1/query_range", query=filled(target["expr"]), start=began, end=time.time(), step=1)
                    for row in found["data"]["result"]:
                        name = re.sub(r"\{\{(\w+)\}\}", lambda m: row["metric"].get(m.group(1), ""), target["legendFormat"])
                        curves.append((name, [(t, float(v)) for t, v in row["values"]]))
                shown.series(curves)
            drawn.append(shown)
        with open(os.path.join(folder, "dashboard.svg"), "w", encoding="utf-8") as file:
            file.write(picture.dashboard(drawn))
        env = lab.environment("ops", GPUPOOL_SERVER=sockets)
        lines = []
        for command in (["get", "servers"], ["get", "gpus"], ["get", "tenants"]):
            done = lab.run(*command, who="ops", GPUPOOL_SERVER=sockets)
            check("it is told", done.returncode == 0, done)
            lines += ["$ gpupool " + " ".join(command)] + done.stdout.splitlines() + [""]
        lines += ["$ gpupool top"] + screen([lab.tool, "top"], env, 5)
        with open(os.path.join(folder, "terminal.svg"), "w", encoding="utf-8") as file:
            file.write(picture.terminal(lines, "gpupool get, gpupool top"))
        print("\n".join(lines))
    finally:
        live.close()


if __name__ == "__main__":
    if PROMETHEUS is None or PROMTOOL is None:
        print("skipped: prometheus and promtool are not installed (Debian package prometheus, which starts a service)")
        sys.exit(77)
    tests = {f.__name__: f for f in (promtool, panels)}
    sys.exit(pool.main(dict(tests, draw=draw) if "draw" in sys.argv[3:] else tests))
