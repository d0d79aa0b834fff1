#!/usr/bin/env python3
"""Many sessions one after the other, and many at once, leave the supervisor as it was.

sessions.py BUILD SOURCE [SERIAL] [AT_ONCE]
"""

import sys

from pool import Pool, eventually, finish, wait_dots

# The C library keeps a little of what it once used; a leak of one small object a session shows.
GROWTH_KIB = 512


def serial(pool, count):
    faults = []
    for number in range(count):
        status, err = finish(pool.client("1"), 30)
        if status != 0:
            faults.append(f"session {number} ended with {status}: {err.strip()}")
            break
    return faults


def at_once(pool, count):
    clients = [pool.client("0") for _ in range(count)]
    faults = []
    try:
        for number, client in enumerate(clients):
            if not wait_dots(client, 1, 60):
                faults.append(f"client {number} of {count}: {finish(client, 30)}")
        for client in clients:
            client.stdin.close()
            client.stdin = None
        for number, client in enumerate(clients):
            status, err = finish(client, 60)
            if status != 0:
                faults.append(f"client {number} of {count} ended with {status}: {err.strip()}")
    finally:
        for client in clients:
            if client.poll() is None:
                client.kill()
                client.communicate()
    return faults


def main(argv):
    count = int(argv[3]) if len(argv) > 3 else 1000
    many = int(argv[4]) if len(argv) > 4 else 64
    pool = Pool(argv[1], argv[2]).start()
    try:
        faults = serial(pool, 20) + at_once(pool, 8)  # warm: what is kept is allocated now
        eventually(lambda: 2 <= len(pool.workers()) <= 4)  # the warm ones, made ready a moment later
        before = (pool.descriptors(), len(pool.workers()), pool.resident_kib())
        faults += serial(pool, count)
        faults += at_once(pool, many)
        if not eventually(lambda: pool.descriptors() <= before[0] and len(pool.workers()) <= before[1]):
            faults.append(f"descriptors {before[0]} -> {pool.descriptors()}, "
                          f"workers {before[1]} -> {len(pool.workers())}")
        if pool.resident_kib() > before[2] + GROWTH_KIB:
            faults.append(f"resident memory {before[2]} -> {pool.resident_kib()} KiB")
        print(f"{count} sessions in a row, {many} at once: descriptors {before[0]} -> {pool.descriptors()}, "
              f"workers {before[1]} -> {len(pool.workers())}, resident {before[2]} -> {pool.resident_kib()} KiB")
        if pool.stop() != 0:
            faults.append("the server did not end in order:\n" + pool.log())
    finally:
        pool.close()
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
