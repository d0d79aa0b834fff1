#!/usr/bin/env python3
"""One program on the GPUs of three servers."""
import os
import re
import subprocess
import sys

import pool
from pool import check

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
        left = three.run("leave")
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
    sys.exit(pool.main({f.__name__: f for f in (all_devices, nvml_sees_them, launcher_joins_them, ends_at_gates,
                                                        a_lost_one)}))
