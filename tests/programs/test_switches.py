#!/usr/bin/env python3
"""Programs compute the same with each optimisation switched off.

usage: test_switches.py BUILD SOURCE-ROOT PROGRAM...

The switches are those of frontend/core/perf.c.
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


def main():
    parts = run_both.Parts(sys.argv[1])
    parts.need("soft", "client", "daemon", "tool")
    names = switches(sys.argv[2])
    failed = 0 if len(names) >= 8 else 1
    options = type("Options", (), {"unordered": False})
    with tempfile.TemporaryDirectory(prefix="gpupool-switches-") as work:
        env = run_both.clean_environment(work)
        server = run_both.Server(parts, work, env)
        try:
            for program in sys.argv[3:]:
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
    return 1 if failed else 0


sys.exit(main())
