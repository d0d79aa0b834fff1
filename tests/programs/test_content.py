#!/usr/bin/env python3
"""What one program has copied to a device, the next one names by its hash: the bytes travel once.

usage: test_content.py BUILD DRV_BULK

The program copies 9 MiB to the device and back. The keeper of a server that is busy may not have
hashed all of it when the second program comes, but then it has by and by.
"""
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run_both

MIB = 9
BYTES = MIB << 20
TRIES = 5


def run(parts, server, program, **more):
    outcome = run_both.run([parts.tool, "run", "--server", server.url, "--", program, "1", str(MIB)],
                           dict(server.client_env, GPUPOOL_STATS="1", **more), 60)
    return outcome, int(run_both.stats_of(outcome.err).get("bytes_sent", 0))


def main():
    parts = run_both.Parts(sys.argv[1])
    parts.need("soft", "client", "daemon", "tool")
    options = type("Options", (), {"unordered": False})
    why = []
    with tempfile.TemporaryDirectory(prefix="gpupool-content-") as work:
        env = run_both.clean_environment(work)
        folder = os.path.join(work, "contents")
        for place in ([], ["--content-cache", folder]):
            os.makedirs(os.path.join(work, "server%d" % len(place)))
            server = run_both.Server(parts, os.path.join(work, "server%d" % len(place)), env,
                                     more=["--content-cache-bytes=256m", *place])
            try:
                direct = run_both.run([sys.argv[2], "1", str(MIB)],
                                      dict(env, LD_LIBRARY_PATH=os.path.dirname(parts.soft)), 60)
                first, sent = run(parts, server, sys.argv[2], GPUPOOL_CONTENT_CACHE="yes")
                why += run_both.differences(direct, first, options)
                if sent < BYTES:
                    why.append("the first sent %d bytes only" % sent)
                for _ in range(TRIES):
                    again, sent = run(parts, server, sys.argv[2], GPUPOOL_CONTENT_CACHE="yes")
                    why += run_both.differences(direct, again, options)
                    if sent < BYTES // 50:
                        break
                else:
                    why.append("%d bytes are sent by each" % sent)
                for more in ({}, {"GPUPOOL_CONTENT_CACHE": "yes", "GPUPOOL_PERF": "no_content"}):
                    plain, sent = run(parts, server, sys.argv[2], **more)
                    why += run_both.differences(direct, plain, options)
                    if sent < BYTES:
                        why.append("%d bytes are sent by who did not ask for less" % sent)
            finally:
                server.stop()
            if why:
                print("\n".join(why))
                run_both.show("pooled", first)
                print(server.text())
                return 1
    return 0


sys.exit(main())
