#!/usr/bin/env python3
"""Programs compute the same with each optimisation switched off.

usage: test_switches.py BUILD SOURCE-ROOT PROGRAM... --server PROGRAM...

The switches are those of frontend/core/perf.c; for the programs behind --server those of the server,
over each kind of lane.
"""
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run_both


def switches(root):
    with open(os.path.join(root, "frontend", "core", "perf.c"), encoding="ascii") as file:
        return re.findall(r'\{"(no_\w+)"', file.read())


SERVER = ("--straight=no", "--spin=0s", "--image-cache-bytes=0", "--lines-max=1", "--sandbox=no")


def server_switches(parts, programs):
    """How many runs differ."""
    options = type("Options", (), {"unordered": False})
    failed = 0
    for lane in ("tls", "shm"):
        with tempfile.TemporaryDirectory(prefix="gpupool-switches-") as work:
            env = run_both.clean_environment(work)
            direct = {p: run_both.run([p], dict(env, LD_LIBRARY_PATH=os.path.dirname(parts.soft)), 60)
                      for p in programs}
            for name in SERVER:
                server = run_both.Server(parts, work, env, lane, [name])
                try:
                    for program in programs:
                        pooled = run_both.run([parts.tool, "run", "--server", server.url, "--", program],
                                              server.client_env, 60)
                        why = run_both.differences(direct[program], pooled, options)
                        print("%-22s %-21s %s  %s" % (os.path.basename(program), name, lane,
                                                      "; ".join(why) or "passed"), flush=True)
                        failed += bool(why)
                finally:
                    failed += server.stop() != 0
    return failed


def main():
    parts = run_both.Parts(sys.argv[1])
    parts.need("soft", "client", "daemon", "tool")
    names = switches(sys.argv[2])
    failed = 0 if len(names) >= 11 else 1
    with open(os.path.join(sys.argv[2], "frontend", "README.md"), encoding="utf-8") as file:
        if ",".join(names) not in file.read().replace("GPUPOOL_PERF=", "\n"):
            print("frontend/README.md does not list the switches: " + ",".join(names))
            failed += 1
    at = sys.argv.index("--server")
    options = type("Options", (), {"unordered": False})
    with tempfile.TemporaryDirectory(prefix="gpupool-switches-") as work:
        env = run_both.clean_environment(work)
        server = run_both.Server(parts, work, env)
        try:
            for program in sys.argv[3:at]:
                direct = run_both.run([program], dict(env, LD_LIBRARY_PATH=os.path.dirname(parts.soft)),
                                      60)
                for name in names:
                    pooled = run_both.run([parts.tool, "run", "--server", server.url, "--", program],
                                          dict(server.client_env, GPUPOOL_PERF=name), 60)
                    why = run_both.differences(direct, pooled, options)
                    if "unknown switch" in pooled.err:
                        why.append("not a switch")
                    print("%-22s %-14s %6.2f s  %s" % (os.path.basename(program), name, pooled.seconds,
                                                      "; ".join(why) or "passed"), flush=True)
                    if why:
                        failed += 1
                        run_both.show("pooled", pooled)
        finally:
            failed += server.stop() != 0
    failed += server_switches(parts, sys.argv[at + 1:])
    return 1 if failed else 0


sys.exit(main())
