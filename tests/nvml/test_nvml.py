#!/usr/bin/env python3
"""libnvidia-ml.so.1 through a pool: by ctypes, and by pynvml and nvidia-smi where they are.

usage: test_nvml.py BUILD-ROOT

A server with two software devices that all processes share; the library runs in processes of
its own, as programs load it. Exit status 0: all passed, 77: not built.
"""
import os
import shutil
import sys
import tempfile
import textwrap

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "programs"))
import run_both  # noqa: E402

PRELUDE = """
import ctypes, os, sys
nvml = ctypes.CDLL("libnvidia-ml.so.1")
OK, UNINITIALIZED, INVALID, NOT_SUPPORTED, NOT_FOUND, SMALL = 0, 1, 2, 3, 6, 7
def check(got, want, what):
    if got != want:
        sys.exit("%s: got %r, want %r" % (what, got, want))
def number(name, device, want=OK):
    n = ctypes.c_uint(12345)
    check(getattr(nvml, name)(device, ctypes.byref(n)), want, name)
    return n.value
class Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]
def memory(device):
    m = Memory()
    check(nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(m)), OK, "memory")
    check(m.free + m.used, m.total, "sum of memory")
    return m
def handle(index):
    h = ctypes.c_void_p()
    check(nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(h)), OK, "handle")
    return h
def text(name, *args, size=96):
    b = ctypes.create_string_buffer(size)
    check(getattr(nvml, name)(*args, b, size), OK, name)
    return b.value.decode()
"""

# What a fresh process does -> must exit 0.
CASES = {
    "identity": """
        n = ctypes.c_uint()
        check(nvml.nvmlDeviceGetCount_v2(ctypes.byref(n)), UNINITIALIZED, "count before init")
        check(nvml.nvmlShutdown(), UNINITIALIZED, "shutdown before init")
        check(nvml.nvmlInit_v2(), OK, "init")
        check(nvml.nvmlDeviceGetCount_v2(ctypes.byref(n)), OK, "count")
        check(n.value, 2, "devices")
        uuids = set()
        for i in range(2):
            h = handle(i)
            check(number("nvmlDeviceGetIndex", h), i, "index")
            uuid = text("nvmlDeviceGetUUID", h)
            uuids.add(uuid)
            check(uuid.startswith("GPU-") and len(uuid), 40, "uuid's length")
            same = ctypes.c_void_p()
            check(nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(same)), OK, "by uuid")
            check(same.value, h.value, "handle by uuid")
            pci = ctypes.create_string_buffer(68)
            check(nvml.nvmlDeviceGetPciInfo_v3(h, pci), OK, "pci")
            bus = pci.raw[36:68].split(bytes(1))[0]
            check(nvml.nvmlDeviceGetHandleByPciBusId_v2(bus, ctypes.byref(same)), OK, "by pci")
            check(same.value, h.value, "handle by pci")
        check(len(uuids), 2, "different uuids")
        h = ctypes.c_void_p()
        check(nvml.nvmlDeviceGetHandleByIndex_v2(2, ctypes.byref(h)), INVALID, "third device")
        check(nvml.nvmlDeviceGetHandleByUUID(b"GPU-0", ctypes.byref(h)), NOT_FOUND, "foreign uuid")
        name = ctypes.create_string_buffer(4)
        check(nvml.nvmlDeviceGetName(handle(0), name, 4), SMALL, "short buffer")
        check(nvml.nvmlDeviceGetName(ctypes.c_void_p(64), name, 4), INVALID, "foreign handle")
        version = ctypes.c_int()
        check(nvml.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(version)), OK, "cuda")
        check(version.value, 13000, "cuda version")
        check(nvml.nvmlShutdown(), OK, "shutdown")
        check(nvml.nvmlDeviceGetCount_v2(ctypes.byref(n)), UNINITIALIZED, "count after shutdown")
    """,
    "the same as CUDA says": """
        check(nvml.nvmlInit_v2(), OK, "init")
        cuda = ctypes.CDLL("libcuda.so.1")
        check(cuda.cuInit(0), 0, "cuInit")
        for i in range(2):
            name = ctypes.create_string_buffer(96)
            check(cuda.cuDeviceGetName(name, 96, i), 0, "name")
            check(text("nvmlDeviceGetName", handle(i)), name.value.decode(), "name")
            major, minor = ctypes.c_int(), ctypes.c_int()
            check(nvml.nvmlDeviceGetCudaComputeCapability(handle(i), ctypes.byref(major),
                                                          ctypes.byref(minor)), OK, "capability")
            for attribute, value in ((75, major.value), (76, minor.value)):
                n = ctypes.c_int()
                check(cuda.cuDeviceGetAttribute(ctypes.byref(n), attribute, i), 0, "attribute")
                check(value, n.value, "capability")
            total = ctypes.c_size_t()
            check(cuda.cuDeviceTotalMem_v2(ctypes.byref(total), i), 0, "total")
            check(memory(handle(i)).total, total.value, "memory")
    """,
    "memory of another process shows": """
        check(nvml.nvmlInit_v2(), OK, "init")
        before = memory(handle(1)).used
        to_child, from_child = os.pipe(), os.pipe()
        if os.fork() == 0:
            cuda = ctypes.CDLL("libcuda.so.1")
            context, address = ctypes.c_void_p(), ctypes.c_uint64()
            check(cuda.cuInit(0), 0, "cuInit")
            check(cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 1), 0, "context")
            check(cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(256 << 20)), 0, "alloc")
            check(cuda.cuCtxSynchronize(), 0, "synchronize")
            check(cuda.cuMemsetD8_v2(address, ctypes.c_ubyte(1), ctypes.c_size_t(1)), 0, "memset")
            check(cuda.cuCtxSynchronize(), 0, "synchronize")
            os.write(from_child[1], b"x")
            os.read(to_child[0], 1)
            os._exit(0)
        check(os.read(from_child[0], 1), b"x", "child")
        import time
        end = time.monotonic() + 10 # numbers may be a tenth of a second old
        while memory(handle(1)).used < before + (256 << 20):
            if time.monotonic() > end:
                sys.exit("256 MiB of another process do not show: %d" % memory(handle(1)).used)
        os.write(to_child[1], b"x")
        check(os.wait()[1], 0, "child's end")
    """,
    "a child goes on after fork": """
        check(nvml.nvmlInit_v2(), OK, "init")
        total = memory(handle(0)).total
        if os.fork() == 0:
            check(memory(handle(0)).total, total, "child's memory")
            check(nvml.nvmlShutdown(), OK, "child's shutdown")
            os._exit(0)
        check(os.wait()[1], 0, "child's end")
        check(memory(handle(0)).total, total, "parent's memory")
    """,
    "what is not known says so": """
        check(nvml.nvmlInit_v2(), OK, "init")
        for name in ("nvmlDeviceGetPowerUsage", "nvmlDeviceGetFanSpeed", "nvmlDeviceGetMigMode",
                     "nvmlDeviceGetSerial", "nvmlDeviceGetNvLinkState", "nvmlDeviceSetPersistenceMode"):
            check(number(name, handle(0), NOT_SUPPORTED), 12345, name)
        check(number("nvmlDeviceGetComputeRunningProcesses_v3", handle(0)), 0, "processes")
        check(number("nvmlDeviceGetMaxMigDeviceCount", handle(0)), 0, "mig devices")
    """,
    "no fabric, said with success": """
        check(nvml.nvmlInit_v2(), OK, "init")
        b = ctypes.create_string_buffer(b"x" * 48, 48)
        check(nvml.nvmlDeviceGetGpuFabricInfo(handle(0), b), OK, "first form")
        check(b.raw, bytes(28) + b"x" * 20, "first form")
        for version, size in ((2, 36), (3, 40)):
            first = (version << 24 | size).to_bytes(4, "little")
            b = ctypes.create_string_buffer(first + b"x" * 44, 48)
            check(nvml.nvmlDeviceGetGpuFabricInfoV(handle(1), b), OK, "versioned form")
            check(b.raw, first + bytes(size - 4) + b"x" * (48 - size), "versioned form")
        check(nvml.nvmlDeviceGetGpuFabricInfoV(handle(1), b"y" * 48), 25, "another version")
        check(nvml.nvmlDeviceGetGpuFabricInfoV(handle(1), None), INVALID, "nowhere to")
    """,
}

NO_POOL = """
    check(nvml.nvmlInit_v2(), 9, "init without a pool")
    n = ctypes.c_uint()
    check(nvml.nvmlDeviceGetCount_v2(ctypes.byref(n)), UNINITIALIZED, "count")
"""

PYNVML = """
    import pynvml as n
    n.nvmlInit()
    assert n.nvmlDeviceGetCount() == 2
    h = n.nvmlDeviceGetHandleByIndex(1)
    assert n.nvmlDeviceGetMemoryInfo(h).total == n.nvmlDeviceGetMemoryInfo(h, version=n.nvmlMemory_v2).total
    assert n.nvmlDeviceGetComputeRunningProcesses(h) == []
    try:
        n.nvmlDeviceGetPowerUsage(h)
    except n.NVMLError_NotSupported:
        pass
    n.nvmlShutdown()
"""


class Run:
    def __init__(self, parts, server, env):
        self.parts, self.server, self.env = parts, server, env
        self.passed = self.failed = self.skipped = 0

    def command(self, title, command, env, good=lambda outcome: outcome.status == 0):
        outcome = run_both.run(command, env, 60)
        if good(outcome):
            self.passed += 1
            print("passed  " + title)
        else:
            self.failed += 1
            run_both.show("FAILED  " + title, outcome)
        return outcome

    def pooled(self, command):
        return [self.parts.tool, "run", "--server", self.server.url, "--"] + command

    def skip(self, title, why):
        self.skipped += 1
        print("skipped %s: %s" % (title, why))


def script(body, prelude=PRELUDE):
    return [sys.executable, "-c", prelude + textwrap.dedent(body)]


def nvidia_smi(run):
    smi = shutil.which("nvidia-smi")
    if smi is None:
        run.skip("nvidia-smi", "not installed")
        return
    env = run.server.client_env
    run.command("nvidia-smi -L", run.pooled([smi, "-L"]), env,
                lambda o: o.status == 0 and o.out.count("GPU-") == 2)
    run.command("nvidia-smi", run.pooled([smi]), env,
                lambda o: o.status == 0 and "MiB /" in o.out and "CUDA Version: 13.0" in o.out)
    run.command("nvidia-smi --query-gpu",
                run.pooled([smi, "--query-gpu=name,memory.total,memory.used", "--format=csv,noheader"]),
                env, lambda o: o.status == 0 and len(o.out.splitlines()) == 2)


def main():
    parts = run_both.Parts(os.path.abspath(sys.argv[1]))
    parts.need("soft", "client", "daemon", "tool")
    with tempfile.TemporaryDirectory(prefix="gpupool-nvml-") as work:
        env = run_both.clean_environment(work)
        env.update(GPUPOOL_SOFT_DEVICES="2", GPUPOOL_SOFT_SHARED="nvml-%d" % os.getpid())
        server = run_both.Server(parts, work, env)
        run = Run(parts, server, env)
        try:
            for title, body in CASES.items():
                run.command(title, run.pooled(script(body)), server.client_env)
            lonely = dict(env, LD_LIBRARY_PATH=os.path.dirname(parts.client))
            run.command("no pool", script(NO_POOL), lonely,
                        lambda o: o.status == 0 and "no pool server is configured" in o.err)
            if run_both.run([sys.executable, "-c", "import pynvml"], env, 60).status == 0:
                run.command("pynvml", run.pooled(script(PYNVML, "")), server.client_env)
            else:
                run.skip("pynvml", "not installed (PyPI: nvidia-ml-py)")
            nvidia_smi(run)
        finally:
            status = server.stop()
            segment = "/dev/shm/gpupool-soft-%d-nvml-%d" % (os.geteuid(), os.getpid())
            if os.path.exists(segment):
                os.unlink(segment)
        if status != 0:
            run.failed += 1
            print("the server ended with %s" % status)
        if run.failed:
            print(server.text()[-4000:])
    print("%d passed, %d failed, %d skipped" % (run.passed, run.failed, run.skipped))
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
