#!/usr/bin/env python3
"""What Prometheus reads of a server. usage: test_metrics.py BUILD SOURCE [NAME]..."""
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pool
from pool import check, eventually

TENANTS = '[tenant "research"]\nmatch = cn:alice\nmemory = 1g\nshare = 40\n[tenant "back\\slash"]\nmatch = cn:bob\n'
SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\S+)$')


def fetch(server, path="/metrics"):
    port = re.search(r"metrics at .*, port (\d+)", server.log()).group(1)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return answer.read().decode()


def samples(text):
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        match = SAMPLE.match(line)
        check("a well-formed line", match, line)
        check("told once", match.group(1) + (match.group(2) or "") not in found, line)
        found[match.group(1) + (match.group(2) or "")] = float(match.group(3))
    return found


def value(found, name, **labels):
    hits = [v for k, v in found.items() if k.split("{")[0] == name and
            all(f'{label}="{text}"' in k for label, text in labels.items())]
    check(f"{name} {labels} is there once", len(hits) == 1, hits, *sorted(found))
    return hits[0]


def figures(build, source):
    lab = pool.Lab(build, source)
    try:
        server = lab.server("gpu1", "--metrics", "http://127.0.0.1:0", config=TENANTS)
        first = samples(fetch(server))
        check("build", value(first, "gpupool_build_info", server="gpu1") == 1)
        check("state", value(first, "gpupool_server_state", state="serving") == 1 and
              value(first, "gpupool_server_state", state="draining") == 0)
        client = lab.soak("alice", server.url, "0")
        check("it works", client.stdout.read(1) == b".")
        now = samples(fetch(server))
        gpu = lab.json("get", "gpus", "--socket", server.socket)[0]
        check("memory", value(now, "gpupool_gpu_memory_total_bytes", gpu="0") == gpu["total_bytes"] and
              value(now, "gpupool_gpu_memory_promised_bytes", gpu="0") > 0 and
              value(now, "gpupool_tenant_memory_promised_bytes", tenant="research", gpu="0") ==
              value(now, "gpupool_gpu_memory_promised_bytes", gpu="0"))
        check("quota and share", value(now, "gpupool_tenant_quota_bytes", tenant="research", of="each") == 1 << 30 and
              value(now, "gpupool_tenant_share_ratio", tenant="research") == 0.4)
        check("a session", value(now, "gpupool_sessions", state="open") == 1 and
              value(now, "gpupool_tenant_sessions", tenant="research") == 1)
        kinds = ("active", "idle", "cold", "reclaimable")
        check("by what it does", sum(value(now, "gpupool_tenant_sessions_activity", tenant="research", activity=k)
                                     for k in kinds) == 1 and
              value(now, "gpupool_tenant_sessions_activity", tenant="research", activity="reclaimable") == 0)
        check("calls", value(now, "gpupool_calls_total", tenant="research", **{"class": "launch"}) >= 4 and
              value(now, "gpupool_calls_total", tenant="research", **{"class": "copy"}) >= 2 and
              value(now, "gpupool_round_trips_total", tenant="research") > 0)
        check("bytes", value(now, "gpupool_transport_bytes_total", transport="tls", direction="in") > 16384)
        names = {k.split("{")[0] for k in now}
        check("nothing names a session", not [k for k in now if "pid=" in k or "session=" in k])
        client.stdin.close()
        client.wait(timeout=60)
        check("it goes", eventually(lambda: value(samples(fetch(server)), "gpupool_sessions", state="open") == 0))
        after = samples(fetch(server))
        for key, was in now.items():
            if key.split("{")[0].endswith("_total"):
                check("counters never go back", after[key] >= was, key, was, after[key])
        check("the same families", {k.split("{")[0] for k in after} >= names)
        compat = samples(fetch(server, "/metrics/compat"))
        check("DCGM's names", value(compat, "DCGM_FI_DEV_FB_TOTAL", gpu="0") == gpu["total_bytes"] >> 20 and
              value(compat, "DCGM_FI_DEV_FB_FREE", UUID=gpu["uuid"]) > 0)
        check("HAMi's names", value(compat, "hami_vgpu_memory_limit_bytes", podname="research", vdeviceid="0") == 1 << 30 and
              value(compat, "GPUDeviceMemoryLimit", deviceuuid=gpu["uuid"]) == gpu["total_bytes"])
        try:
            fetch(server, "/etc/passwd")
            check("an unknown page is refused", False)
        except urllib.error.HTTPError as problem:
            check("an unknown page is refused", problem.code == 404)
        check("health", fetch(server, "/healthz") == "ok\n")
        server.stop()
    finally:
        lab.close()


def lanes(build, source):
    """A session that went over to shared memory is told there, and its bytes from then on."""
    lab = pool.Lab(build, source)
    try:
        server = lab.server("gpu1", "--metrics", "http://127.0.0.1:0", config=TENANTS)
        client = lab.soak("alice", server.url.replace("tls://", "gpupool://"), "0")
        check("it works", client.stdout.read(1) == b".")
        session = lab.json("get", "sessions", "--socket", server.socket)[0]
        check("where it is now", session["transport"] == "shm", session)
        now = samples(fetch(server))
        bytes_in = {t: value(now, "gpupool_transport_bytes_total", transport=t, direction="in") for t in ("tls", "shm")}
        check("bytes by both", bytes_in["tls"] > 0 and bytes_in["shm"] > 16384, bytes_in)
        client.stdin.close()
        client.wait(timeout=60)
        check("it goes", eventually(lambda: value(samples(fetch(server)), "gpupool_sessions", state="open") == 0))
        after = samples(fetch(server))
        for way, was in bytes_in.items():
            check("they stay", value(after, "gpupool_transport_bytes_total", transport=way, direction="in") >= was)
        server.stop()
    finally:
        lab.close()


PAGER = """
import ctypes, os, select, sys
cuda, context, address = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(), ctypes.c_uint64()
size = ctypes.c_size_t(48 << 20)
def do(name, *args):
    cr = getattr(cuda, name)(*args)
    if cr != 0:
        sys.exit("%s: %d" % (name, cr))
do("cuInit", 0)
do("cuCtxCreate_v2", ctypes.byref(context), 0, 0)
do("cuMemAlloc_v2", ctypes.byref(address), size)
while not select.select([0], [], [], 0)[0]:
    do("cuMemsetD8_v2", address, ctypes.c_ubyte(7), size)
    do("cuCtxSynchronize")
"""


def pagers_begin(lab, server, build, clients):
    """Alice and bob use the device until they are told to end."""
    for who in ("alice", "bob"):
        env = lab.environment(who, GPUPOOL_SERVER=server.url, LD_LIBRARY_PATH=os.path.join(build, "frontend/cuda"))
        clients.append(subprocess.Popen([sys.executable, "-c", PAGER], env=env, stdin=subprocess.PIPE))


def pagers_end(clients):
    for client in clients:
        client.stdin.close()
    check("they end well", [c.wait(timeout=60) for c in clients] == [0, 0])


def paging(build, source):
    """Two whose memory does not fit together: what moves, how long that takes, and who waits for it."""
    lab = pool.Lab(build, source)
    clients = []
    try:
        server = lab.server("gpu1", "--metrics", "http://127.0.0.1:0", "--oversubscribe", "2.0",
                            config='[tenant "a"]\nmatch = cn:alice\nmemory = 64m\n[tenant "b"]\nmatch = cn:bob\nmemory = 64m\n',
                            env={"GPUPOOL_SOFT_MEMORY": "80m"})
        pagers_begin(lab, server, build, clients)
        names = ("gpupool_tenant_paging_seconds_total", "gpupool_tenant_residency_wait_seconds_total")

        def told():
            now = samples(fetch(server))
            return all(any(value(now, name, tenant=t) > 0 for t in "ab") for name in names) and \
                all(any(value(now, "gpupool_tenant_paged_bytes_total", tenant=t, direction=d) >= 16 << 20 for t in "ab")
                    for d in ("in", "out"))

        check("it is told", eventually(told, 60), *(line for line in fetch(server).splitlines() if "pag" in line or "resid" in line))
        pagers_end(clients)
        server.stop()
    finally:
        for client in clients:
            client.kill()
        lab.close()


def turns(build, source):
    """Two that want one device: who waits for the other, and for how long."""
    lab = pool.Lab(build, source)
    clients = []
    try:
        server = lab.server("gpu1", "--metrics", "http://127.0.0.1:0",
                            config='[tenant "a"]\nmatch = cn:alice\npriority = high\n[tenant "b"]\nmatch = cn:bob\n')
        pagers_begin(lab, server, build, clients)
        name = "gpupool_tenant_turn_wait_seconds"
        check("both waited", eventually(lambda: all(value(samples(fetch(server)), name + "_count", tenant=t) > 0 for t in "ab"), 60),
              *(line for line in fetch(server).splitlines() if "turn" in line))
        now = samples(fetch(server))
        for tenant, priority in (("a", "high"), ("b", "normal")):
            of = {"tenant": tenant, "priority": priority}
            buckets = [value(now, name + "_bucket", le=le, **of)
                       for le in ("0.0005", "0.001", "0.002", "0.005", "0.01", "0.05", "0.2", "1", "+Inf")]
            check("each holds those before", buckets == sorted(buckets), buckets)
            check("all of them", buckets[-1] == value(now, name + "_count", **of) > 0)
            total, least = value(now, name + "_sum", **of), 0.0005 * (buckets[-1] - buckets[0])
            check("and their time", total > 0 and total >= least, total, least)
        pagers_end(clients)
        server.stop()
    finally:
        for client in clients:
            client.kill()
        lab.close()


def hostile(build, source):
    """Slow, silent and rude readers keep nobody else from being served."""
    lab = pool.Lab(build, source)
    try:
        server = lab.server("gpu1", "--metrics", "http://127.0.0.1:0")
        port = int(re.search(r"metrics at .*, port (\d+)", server.log()).group(1))
        lines = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        for i, line in enumerate(lines):
            line.sendall([b"GET /metr", b"\0\xff" * 40, b"POST /metrics HTTP/1.1\r\nContent-Length: 9999999\r\n\r\nxx",
                          b"GET " + b"/" * 9000][i % 4])
        check("sessions are served", lab.run("info", "--server", server.url, who="alice").returncode == 0)
        check("readers too", "gpupool_build_info" in fetch(server))
        for line in lines:
            line.close()
        for url in ("http://gpu.example:1", "https://127.0.0.1:1", "127.0.0.1"):
            done = subprocess.run([os.path.join(build, "backend/gpupoold"), "--driver=soft", "--listen=tcp://127.0.0.1:0",
                                   "--metrics", url], capture_output=True, text=True, timeout=30)
            check(f"{url} is refused", done.returncode == 1 and "--metrics" in done.stderr, done)
        server.stop()
    finally:
        lab.close()


def dashboards(build, source):
    """Whatever a dashboard or a rule asks for, the server tells."""
    lab = pool.Lab(build, source)
    try:
        server = lab.server("gpu1", "--metrics", "http://127.0.0.1:0", config=TENANTS)
        page = fetch(server)
        told = set(re.findall(r"^# TYPE (\S+)", page, re.M))
        told |= {name + "_bucket" for name in re.findall(r"^# TYPE (\S+) histogram", page, re.M)}
        server.stop()
        folder = os.path.join(source, "deploy/monitoring")
        for name in ("dashboard.json", "rules.yml"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                text = file.read()
            asked = set(re.findall(r"\bgpupool_[a-z_]+", text)) - set(re.findall(r"record: (\S+)", text))
            check(f"{name} asks for what there is", not asked - told, asked - told)
            check(f"{name} asks for something", asked)
    finally:
        lab.close()


if __name__ == "__main__":
    sys.exit(pool.main({f.__name__: f for f in (figures, lanes, paging, turns, hostile, dashboards)}))
