#!/usr/bin/env python3
"""Lines that are reset, closed, silent and late at random bytes, under programs that must not notice.

cuts.py BUILD SOURCE [MISHAPS] [SEED] [SCHEME...]

Each run of `exact` goes through a relay that does something to each connection after a random
number of bytes, handshakes of resumed connections included. The program checks every result, and
that each launch and each callback came exactly once and in its order. Runs go on until the line has
failed MISHAPS times (GPUPOOL_TEST_CUTS, else 60).
"""

import os
import random
import signal
import subprocess
import sys
import time

from pool import Pool

ROUNDS = 12
HANG_SECONDS = 120
# Opening a session is not survived: the first connection is spared for as long as that takes.
SPARE = {"tcp": "24k", "tls": "32k"}


class Relay:
    """bench/relay between the clients and the pool; says what it did."""

    def __init__(self, pool, seed, span):
        read_end, write_end = os.pipe()
        self.process = subprocess.Popen(
            [os.path.join(pool.build, "bench/relay"), "--to", pool.url, "--ready-fd", str(write_end),
             "--exit-with-parent", "--chance", str(seed), "--span", span, "--spare", SPARE[pool.scheme]],
            pass_fds=[write_end], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        os.close(write_end)
        with os.fdopen(read_end) as ready:
            self.url = ready.readline().strip()

    def close(self):
        self.process.send_signal(signal.SIGKILL)
        out, _ = self.process.communicate()
        return [line.split() for line in out.decode().splitlines()]


def one_run(pool, seed, span, happened):
    """What went wrong, or None; counts what the line did."""
    relay = Relay(pool, seed, span)
    env = pool.environment()
    env["GPUPOOL_SERVER"] = relay.url
    program = subprocess.Popen([os.path.join(pool.build, "tests/chaos/exact"), str(ROUNDS), str(seed)],
                               env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, err = program.communicate(timeout=HANG_SECONDS)
        fault = None
        if program.returncode != 0:
            fault = f"seed {seed}, span {span}: ended with {program.returncode}: {err.decode()[-2000:]}"
    except subprocess.TimeoutExpired:
        program.send_signal(signal.SIGABRT if os.environ.get("GPUPOOL_TEST_CORE") else signal.SIGKILL)
        _, err = program.communicate()
        fault = f"seed {seed}, span {span}: hang: {err.decode()[-2000:]}"
    for what, _, _ in relay.close():
        happened[what] = happened.get(what, 0) + 1
    return fault


def main(argv):
    mishaps = int(argv[3]) if len(argv) > 3 and int(argv[3]) else int(os.environ.get("GPUPOOL_TEST_CUTS", 60))
    seed = int(argv[4]) if len(argv) > 4 else random.randrange(1 << 31)
    faults = []
    for scheme in argv[5:] or ["tcp", "tls"]:
        chance = random.Random(seed)
        happened, runs, begin = {}, 0, time.monotonic()
        pool = Pool(argv[1], argv[2], scheme, ("--heartbeat=100ms", "--grace=60s")).start()
        try:
            while sum(happened.values()) < mishaps and len(faults) < 3:
                runs += 1
                fault = one_run(pool, chance.randrange(1 << 31), chance.choice(["16k", "100k", "1m"]), happened)
                if fault:
                    faults.append(f"{scheme}: {fault}")
            if pool.stop() != 0:
                faults.append(f"{scheme}: the server did not end in order")
            if faults:
                faults.append(pool.log()[-4000:])
        finally:
            pool.close()
        print(f"{scheme}: {runs} runs, {sum(happened.values())} mishaps "
              f"({', '.join(f'{n} {what}' for what, n in sorted(happened.items()))}), "
              f"{time.monotonic() - begin:.0f} s, seed {seed}: {len(faults)} faults", flush=True)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
