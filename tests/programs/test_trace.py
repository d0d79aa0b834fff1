#!/usr/bin/env python3
"""GPUPOOL_TRACE: a file that any reader of JSON reads, with what happened on both sides in order.

usage: test_trace.py BUILD PROGRAM LONG-PROGRAM [ARGS...]
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run_both


def fail(text):
    print("test_trace: " + text, file=sys.stderr)
    sys.exit(1)


def check(good, text):
    if not good:
        fail(text)


def load(path):
    with open(path, encoding="ascii") as file:
        return json.load(file)["traceEvents"]


def spans(events, kind):
    return [e for e in events if e.get("cat") == kind]


def pooled(server, command):
    return [server.tool, "run", "--server", server.url, "--"] + command


def check_nesting(events):
    """Spans of a thread contain each other or are apart: what readers show as one below the other."""
    threads = {}
    for e in events:
        if e["ph"] == "X":
            threads.setdefault((e["pid"], e["tid"]), []).append(e)
    for thread, spans_of in threads.items():
        around = []
        for e in sorted(spans_of, key=lambda e: (e["ts"], -e["dur"])):
            while around and around[-1]["ts"] + around[-1]["dur"] <= e["ts"]:
                around.pop()
            check(not around or e["ts"] + e["dur"] <= around[-1]["ts"] + around[-1]["dur"] + 0.0005,
                  "spans of %s overlap: %s, %s" % (thread, around and around[-1], e))
            around.append(e)


def whole(path):
    events = load(path)
    check_nesting(events)
    calls, waits, server = spans(events, "call"), spans(events, "wait"), spans(events, "server")
    names = {e["name"] for e in calls}
    check({"cuModuleLoadDataEx", "cuLaunchKernelEx"} <= names, "calls are missing: %s" % names)
    check(waits, "no waits")
    check({e["name"] for e in spans(events, "line")} == {"send", "data"}, "no bytes")
    check(sum(e["args"]["bytes"] for e in calls) > 1 << 20, "the calls carried no bytes")
    for wait in waits:  # within a call of the same thread
        check(any(c["tid"] == wait["tid"] and c["ts"] <= wait["ts"] and
                  wait["ts"] + wait["dur"] <= c["ts"] + c["dur"] + 0.01 for c in calls),
              "a wait outside any call: %s" % wait)
    check(names - {"gpTrace"} <= {e["name"] for e in server}, "the server did not run it all")
    # On one machine both clocks are the same; a round trip is the error.
    first, last = min(e["ts"] for e in calls), max(e["ts"] + e["dur"] for e in calls)
    check(all(first - 1e5 <= e["ts"] <= last + 1e5 for e in server), "another clock")
    load_here = next(e for e in calls if e["name"] == "cuModuleLoadDataEx")
    load_there = next(e for e in server if e["name"] == "cuModuleLoadDataEx")
    check(load_there["dur"] <= load_here["dur"], "longer there than here")


def load_cut(path):
    """A kill may come in the middle of a write, of which the kernel then leaves so many pages: without the list's end."""
    with open(path, encoding="ascii") as file:
        text = file.read()
    if not text.endswith("]}\n"):
        text = text[:text.rindex(",\n{")] + "\n]}\n"
    return json.loads(text)["traceEvents"]


def killed(server, command, path):
    """A process that is killed leaves what it had written."""
    process = subprocess.Popen(pooled(server, command), env=dict(server.client_env, GPUPOOL_TRACE=path),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (os.path.exists(path) and os.path.getsize(path) > 200000):
        check(process.poll() is None and time.monotonic() < until, "nothing was written")
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    check(len(load_cut(path)) > 100, "little is left")


def main():
    parts = run_both.Parts(sys.argv[1])
    parts.need("daemon", "tool", "client", "soft")
    with tempfile.TemporaryDirectory() as work:
        server = run_both.Server(parts, work, run_both.clean_environment(work))
        server.tool = parts.tool
        try:
            path = os.path.join(work, "trace-%p.json")
            process = subprocess.Popen(pooled(server, [sys.argv[2]]), stdout=subprocess.DEVNULL,
                                       env=dict(server.client_env, GPUPOOL_TRACE=path))
            check(process.wait() == 0, "the program failed")
            whole(path.replace("%p", str(process.pid)))
            killed(server, sys.argv[3:], os.path.join(work, "killed.json"))
        finally:
            server.stop()


main()
