#!/usr/bin/env python3
"""On a slow line bytes that shrink travel packed, and are the same.

usage: test_packed.py BUILD RELAY PROGRAM
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run_both

PLAIN = 5 * (17 << 20)  # what the program copies, both ways together


def relay(path, url):
    read_end, write_end = os.pipe()
    process = subprocess.Popen([path, "--to", url, "--rtt", "0us", "--mbit", "80",
                                "--exit-with-parent", "--ready-fd", str(write_end)],
                               pass_fds=[write_end])
    os.close(write_end)
    with os.fdopen(read_end) as ready:
        return process, ready.readline().strip()


def moved(outcome):
    stats = run_both.stats_of(outcome.err)
    return int(stats.get("bytes_sent", 0)) + int(stats.get("bytes_received", 0))


def main():
    parts = run_both.Parts(sys.argv[1])
    parts.need("soft", "client", "daemon", "tool")
    options = type("Options", (), {"unordered": False})
    why = []
    with tempfile.TemporaryDirectory(prefix="gpupool-packed-") as work:
        env = run_both.clean_environment(work)
        server = run_both.Server(parts, work, env)
        process, url = relay(sys.argv[2], server.url)
        try:
            direct = run_both.run([sys.argv[3]], dict(env, LD_LIBRARY_PATH=os.path.dirname(parts.soft)),
                                  60)
            pooled = run_both.run([parts.tool, "run", "--server", url, "--", sys.argv[3]],
                                  dict(server.client_env, GPUPOOL_STATS="1"), 90)
            why = run_both.differences(direct, pooled, options)
            # The first copy each way shows how fast the line is; the others shrink to a half.
            if not PLAIN * 0.4 < moved(pooled) < PLAIN * 0.9:
                why.append("%d bytes travelled for %d" % (moved(pooled), PLAIN))
        finally:
            process.kill()
            process.wait()
            server.stop()
        if why:
            print("\n".join(why))
            run_both.show("pooled", pooled)
    return 1 if why else 0


sys.exit(main())
