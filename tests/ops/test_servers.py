#!/usr/bin/env python3
"""One program on the GPUs of three servers."""
import os
import re
import subprocess
import sys

import pool
from pool import check
from test_metrics import fetch, samples, value

DEVICES = "2"  # of each server


class Three:
    """Three servers and a program on all of them."""

    def __init__(self, build, source, options=()):
        self.lab = pool.Lab(build, source)
        self.program = os.path.join(build, "tests/programs/drv_servers")
        self.client = os.path.join(build, "frontend/cuda")
        self.soft = os.path.join(build, "backend/driver/soft")
        self.servers = [self.lab.server(f"gpu{n}", *options, env={"GPUPOOL_SOFT_DEVICES": DEVICES, "GPUPOOL_SOFT_SERIAL": str(n)})
                        for n in range(1, 4)]
        self.together = "+".join(server.url for server in self.servers)

    def env(self, who="alice", **more):
        return self.lab.environment(who, GPUPOOL_SERVER=self.together, LD_LIBRARY_PATH=self.client, **more)

    def run(self, *arguments, program=None, **env):
        return subprocess.run([program or self.program, *arguments], env=self.env(**env), text=True,
                              capture_output=True, timeout=120, stdin=subprocess.DEVNULL)

    def direct(self):
        env = self.lab.environment(LD_LIBRARY_PATH=self.soft, GPUPOOL_SOFT_DEVICES="6")
        return subprocess.run([self.program], env=env, text=True, capture_output=True, timeout=120)

    def close(self):
        for server in self.servers:
            if server.process.poll() is None:
                server.stop()
        self.lab.close()


def stats(done):
    return {k: int(v) for k, v in re.findall(r"(?m)^gpupool-stats: (\w+) (\d+)$", done.stderr)}


def put_bytes(server, which="servers"):
    """What came from and went to sessions on other servers, as the server counts it."""
    found = samples(fetch(server))
    return [value(found, f"gpupool_tenant_{which}_{way}_bytes_total") for way in ("received", "sent")]


def from_server_to_server(build, source):
    three = Three(build, source, ("--peer", "127.0.0.0/8", "--metrics", "http://127.0.0.1:0"))
    try:
        direct, pooled = three.direct(), three.run(GPUPOOL_STATS="1", GPUPOOL_PERF="no_compress")
        check("on three servers", pooled.returncode == 0, pooled.stderr)
        check("the same is said", pooled.stdout == direct.stdout, pooled.stdout, direct.stdout)
        straight = stats(pooled)
        check("nothing is relayed", straight["bytes_relayed"] == 0 < straight["bytes_between_servers"], pooled.stderr)
        check("and nothing is wrong", "go through this program" not in pooled.stderr, pooled.stderr)
        counted = [put_bytes(server) for server in three.servers]
        for way in (0, 1):
            check("servers count the same", sum(c[way] for c in counted) == straight["bytes_between_servers"],
                  counted, straight)
        relayed = three.run(GPUPOOL_STATS="1", GPUPOOL_PERF="no_compress,no_direct")
        check("the other way too", relayed.returncode == 0 and relayed.stdout == direct.stdout, relayed.stderr)
        other = stats(relayed)
        check("all is relayed", other["bytes_relayed"] == straight["bytes_between_servers"] and
              other["bytes_between_servers"] == 0, relayed.stderr)
        for way in ("bytes_sent", "bytes_received"):
            saved = other[way] - straight[way]
            check(f"{way}: these bytes did not pass the client", 0.99 * other["bytes_relayed"] < saved, straight, other)
    finally:
        three.close()


def the_best_lane_between_servers(build, source):
    """Both listen for RDMA, which this machine may not have: then copies go by tls, and it is said why."""
    three = Three(build, source, ("--peer", "127.0.0.0/8", "--metrics", "http://127.0.0.1:0", "--listen=tls://127.0.0.1:0",
                                  "--listen=rdma://127.0.0.1:0", "--rdma-fabric=*"))
    try:
        direct, secret = three.direct(), three.run("two", GPUPOOL_STATS="1")
        check("who asks for tls gets nothing else", secret.returncode == 0 and stats(secret)["bytes_between_by_rdma"] == 0 <
              stats(secret)["bytes_between_servers"], secret.stderr)
        check("nor is it tried", not any("no copies go to" in server.log() for server in three.servers),
              *(server.log() for server in three.servers))
        shown = three.lab.run("info", "--server", three.together, who="alice")
        check("all of them are shown", re.findall(r"(?m)^(?:server: |device) +(\w+)", shown.stdout) ==
              ["gpu1", "0", "1", "gpu2", "2", "3", "gpu3", "4", "5"], shown.stdout, shown.stderr)
        three.together = three.together.replace("tls:", "gpupool:")
        best = three.run(GPUPOOL_STATS="1", GPUPOOL_LOG="info")
        check("the same is said", best.returncode == 0 and best.stdout == direct.stdout, best.stdout, best.stderr)
        counts = stats(best)
        check("nothing is relayed", counts["bytes_relayed"] == 0 < counts["bytes_between_servers"], best.stderr)
        for one in three.servers:
            by_rdma = put_bytes(one, "servers_rdma")
            if "by rdma" not in one.log():
                check("what does not go by rdma is told, not for each copy", by_rdma == [0, 0] and
                      2 <= one.log().count("no copies go to rdma://127.0.0.1:") <= 8, one.log())
                check("and goes by tls", one.log().count("copies go to the server at 127.0.0.1:") >= 2, one.log())
        if not any("by rdma" in server.log() for server in three.servers):
            check("the program is told too", counts["bytes_between_by_rdma"] == 0 and
                  len(re.findall("copies from gpu[123] to gpu[123] do not go by rdma: .", best.stderr)) == 6, best.stderr)
    finally:
        three.close()


def servers_that_may_not(build, source):
    three = Three(build, source, ("--peer", "10.99.0.0/16"))
    try:
        direct, pooled = three.direct(), three.run(GPUPOOL_STATS="1")
        check("by way of the client", pooled.returncode == 0 and pooled.stdout == direct.stdout, pooled.stderr)
        told = re.findall("copies from (gpu[123]) to (gpu[123]) go through this program: .*--peer", pooled.stderr)
        check("one line for each two", 0 < len(told) == len(set(told)), pooled.stderr)
        check("is counted so", stats(pooled)["bytes_between_servers"] == 0, pooled.stderr)
    finally:
        three.close()


def all_devices(build, source):
    three = Three(build, source)
    try:
        direct, pooled = three.direct(), three.run(GPUPOOL_STATS="1")
        check("straight on the device", direct.returncode == 0, direct.stderr)
        check("on three servers", pooled.returncode == 0, pooled.stderr)
        check("the same is said", pooled.stdout == direct.stdout, pooled.stdout, direct.stdout)
        check("three servers were used", "gpupool-stats: servers 3" in pooled.stderr and
              "gpu1,gpu2,gpu3" in pooled.stderr, pooled.stderr)
    finally:
        three.close()


NVML = """
import ctypes
nvml = ctypes.CDLL("libnvidia-ml.so.1")
count, seen = ctypes.c_uint(), set()
assert nvml.nvmlInit_v2() == 0 and nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0
for i in range(count.value):
    device, pci, memory = ctypes.c_void_p(), ctypes.create_string_buffer(256), (ctypes.c_ulonglong * 3)()
    assert nvml.nvmlDeviceGetHandleByIndex_v2(i, ctypes.byref(device)) == 0
    assert nvml.nvmlDeviceGetPciInfo_v3(device, pci) == 0
    assert nvml.nvmlDeviceGetMemoryInfo(device, memory) == 0 and memory[0] > 0
    seen.add(pci.raw)
print(count.value, len(seen))
"""


def nvml_sees_them(build, source):
    three = Three(build, source)
    try:
        seen = three.run("-c", NVML, program=sys.executable)
        check("six, and each has a place of its own", seen.stdout == "6 6\n", seen.stdout, seen.stderr)
        one = three.run(GPUPOOL_GPUS="5", CUDA_VISIBLE_DEVICES="5,4")
        check("what is needed must be visible", one.returncode != 0 and "2 of 5 GPUs" in one.stderr, one.stderr)
    finally:
        three.close()


def ends_at_gates(build, source):
    three = Three(build, source, ("--grace", "0s"))
    try:
        # A kernel that runs longer than a server waits for its session's end would hide the gates.
        left = three.run("leave", "15000" if pool.sanitized(build) else "200000")
        check("it goes while streams wait", left.returncode == 0, left.stdout, left.stderr)
        for server in three.servers:
            gone = pool.eventually(lambda: three.lab.json("get", "sessions", "--socket", server.socket) == [])
            check("its sessions end", gone, server.log())
            check("by themselves", "does not end" not in server.log(), server.log())
    finally:
        three.close()


def launcher_joins_them(build, source):
    three = Three(build, source)
    try:
        lab = three.lab
        listed = ",".join(server.url for server in three.servers)
        env = {"GPUPOOL_SERVER": listed, "LD_LIBRARY_PATH": ""}
        shown = lab.run("place", "--gpus", "5", who="alice", **env)
        check("three of them have five", shown.returncode == 0 and
              len(re.findall(r"(?m)^\+[123] ", shown.stdout)) == 3, shown)
        shown = lab.run("place", "--gpus", "7", who="alice", **env)
        check("nobody has seven", shown.returncode == 1 and "+" not in shown.stdout, shown)
        count = "import ctypes; n = ctypes.c_int(); c = ctypes.CDLL('libcuda.so.1'); " \
                "print(c.cuInit(0), c.cuDeviceGetCount(ctypes.byref(n)), n.value)"
        for gpus, servers in (("2", 1), ("3", 2), ("5", 3)):
            ran = lab.run("run", "--gpus", gpus, "--", sys.executable, "-c", count, who="alice",
                          GPUPOOL_STATS="1", **env)
            check(f"{gpus} GPUs are seen, not more", ran.stdout == f"0 0 {gpus}\n", ran)
            used = re.search("servers ([0-9]+)", ran.stderr)
            check(f"on {servers} servers", (int(used[1]) if used else 1) == servers, ran)
    finally:
        three.close()


def a_lost_one(build, source):
    three = Three(build, source)
    program = None
    try:
        # Nobody comes back for a session: its end shows at once.
        program = subprocess.Popen([three.program, "lost"], env=three.env(GPUPOOL_PERF="no_resume"), text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        check("it begins", program.stdout.readline() == "ready\n", program.stderr.read() if program.poll() else "")
        three.servers[1].kill()
        out, err = program.communicate("\n", timeout=60)
        check("the others go on", program.returncode == 0, out, err)
        check("one line says which was lost", len(re.findall("lost the server", err)) == 1 and
              three.servers[1].url in err, err)
    finally:
        if program is not None and program.poll() is None:
            program.kill()
        three.close()


if __name__ == "__main__":
    sys.exit(pool.main({f.__name__: f for f in (all_devices, from_server_to_server, the_best_lane_between_servers, servers_that_may_not, nvml_sees_them, launcher_joins_them, ends_at_gates,
                                                        a_lost_one)}))
