#!/usr/bin/env python3
"""Lines that are reset, closed, silent and late at random bytes, under programs that must not notice.

cuts.py BUILD SOURCE [MISHAPS] [SEED] [SCHEME...]   (tcp, tls; tls+: by three connections together)

Each run of `exact` goes through a relay that does something to each connection after a random
number of bytes, handshakes of resumed connections included. The program checks every result, and
that each launch and each callback came exactly once and in its order. Runs go on until the line has
failed MISHAPS times (GPUPOOL_TEST_CUTS, else 60; a third of that by several connections).
"""

import os
import random
import signal
import subprocess
import sys
import time

from pool import Pool

ROUNDS = 12
LINES = 3
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


def one_run(pool, lines, seed, span, happened):
    """What went wrong, or None; counts what the line did."""
    relay = Relay(pool, seed, span)
    env = pool.environment()
    env["GPUPOOL_SERVER"] = relay.url
    if lines > 1:
        env.update(GPUPOOL_LINES=str(lines), GPUPOOL_LINES_AFTER="0")
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
    given = int(argv[3]) if len(argv) > 3 else 0
    mishaps = given or int(os.environ.get("GPUPOOL_TEST_CUTS", 60))
    seed = int(argv[4]) if len(argv) > 4 else random.randrange(1 << 31)
    faults = []
    for scheme in argv[5:] or ["tcp", "tls", "tls+"]:
        chance = random.Random(seed)
        happened, runs, begin = {}, 0, time.monotonic()
        lines = LINES if scheme.endswith("+") else 1
        wanted = mishaps if given or lines == 1 else mishaps // 3
        pool = Pool(argv[1], argv[2], scheme.rstrip("+"), ("--heartbeat=100ms", "--grace=60s")).start()
        try:
            while sum(happened.values()) < wanted and len(faults) < 3:
                runs += 1
                # Several live together only where each lives longer than its handshake.
                span = chance.choice(["16k", "100k", "1m"] if lines == 1 else ["200k", "1m", "3m"])
                fault = one_run(pool, lines, chance.randrange(1 << 31), span, happened)
                if fault:
                    faults.append(f"{scheme}: {fault}")
            together = 0 if lines == 1 else pool.log().count(f"by {LINES} connections")
            if lines > 1 and together == 0:
                faults.append(f"{scheme}: never by {LINES} connections")
            if pool.stop() != 0:
                faults.append(f"{scheme}: the server did not end in order")
            if faults:
                faults.append(pool.log()[-4000:])
        finally:
            pool.close()
        print(f"{scheme}: {runs} runs, {together} times together, {sum(happened.values())} mishaps "
              f"({', '.join(f'{n} {what}' for what, n in sorted(happened.items()))}), "
              f"{time.monotonic() - begin:.0f} s, seed {seed}: {len(faults)} faults", flush=True)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
