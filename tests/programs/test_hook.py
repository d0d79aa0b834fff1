#!/usr/bin/env python3
"""GPUPOOL_NOTICE_HOOK: a command that runs when the session will be ended, and when it was.

usage: test_hook.py BUILD
"""
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))
from pool import Pool  # noqa: E402

# Idle for 0.3 s it is told, 1.2 s later it is ended.
CONFIG = "[tenant \"all\"]\nmatch = *\nidle = 300ms\nidle-grace = 1200ms\n"


def check(good, text):
    if not good:
        print("test_hook: " + text, file=sys.stderr)
        sys.exit(1)


def lines(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def wait_lines(path, count):
    until = time.monotonic() + 20
    while len(lines(path)) < count and time.monotonic() < until:
        time.sleep(0.02)  # for what a process that is nobody's child writes
    return lines(path)


def program(path):
    """In a process of its own: it uses the pool, and does nothing."""
    signals = []
    signal.signal(signal.SIGCHLD, lambda *_: signals.append(1))
    cuda = ctypes.CDLL("libcuda.so.1")
    context, memory = ctypes.c_void_p(), ctypes.c_uint64()
    check(cuda.cuInit(0) == 0, "cuInit")
    check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0, "cuDevicePrimaryCtxRetain")
    check(cuda.cuCtxSetCurrent(context) == 0, "cuCtxSetCurrent")
    check(cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(4096)) == 0, "cuMemAlloc")
    # The command is of the program as it was, whatever becomes of it; and it may block signals.
    os.environ["HOOK_SEES"] = "too late"
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    got = wait_lines(path, 2)
    check(len(got) == 2, "the hook ran %d times: %s" % (len(got), got))
    for line, kind, text in zip(got, ("told", "ended"), ("did nothing for", "idle for too long")):
        fields = line.split("|")
        check(fields[0] == kind, line)
        check(text in fields[1], line)
        check(fields[2] == os.environ["GPUPOOL_SERVER"], line)
        check(fields[3] == str(os.getpid()), line)
        check(fields[4] == "early", line)
        check(fields[5] != str(os.getpid()), "its parent is the program")
        check(int(fields[6], 16) & 1 << signal.SIGTERM - 1 == 0, "signals are blocked: " + line)
    check(not signals, "the program got SIGCHLD")
    try:
        os.waitpid(-1, os.WNOHANG)
        check(False, "there is a child to be waited for")
    except ChildProcessError:
        pass
    check(cuda.cuMemFree_v2(memory) != 0 or cuda.cuCtxSynchronize() != 0, "it was not ended")


def main(build):
    with tempfile.TemporaryDirectory(prefix="gpupool-hook-") as folder:
        config, out = os.path.join(folder, "server.ini"), os.path.join(folder, "out")
        with open(config, "w", encoding="ascii") as file:
            file.write(CONFIG)
        pool = Pool(build, os.path.join(HERE, "..", ".."), options=("--config", config)).start()
        try:
            blocked = "$(sed -n 's/^SigBlk:[[:space:]]*//p' /proc/$$/status)"
            env = dict(pool.environment(), HOOK_SEES="early", GPUPOOL_NOTICE_HOOK=(
                'echo "$GPUPOOL_NOTICE_KIND|$GPUPOOL_NOTICE_TEXT|$GPUPOOL_NOTICE_SERVER|'
                '$GPUPOOL_NOTICE_PID|$HOOK_SEES|$PPID|' + blocked + '" >> "$HOOK_OUT"'), HOOK_OUT=out)
            done = subprocess.run([sys.executable, __file__, "--program", out], env=env, timeout=50,
                                  stdin=subprocess.DEVNULL, check=False)
            check(done.returncode == 0, "the program failed\n" + pool.log()[-2000:])
        finally:
            pool.close()


if __name__ == "__main__":
    if sys.argv[1] == "--program":
        program(sys.argv[2])
    else:
        main(os.path.abspath(sys.argv[1]))
