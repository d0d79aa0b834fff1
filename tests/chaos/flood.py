#!/usr/bin/env python3
"""Thousands of half-open connections do not stop a good client.

flood.py BUILD SOURCE [COUNT]

Most say nothing, a third begin a TLS record and stop, ten claim one of 16 KiB. COUNT (10,000) is
lowered to what descriptors there are. Meanwhile and afterwards clients get their sessions.
"""

import resource
import socket
import sys
import time

from pool import Pool, eventually

SPARE = 100


def half_open(port, number):
    line = socket.create_connection(("127.0.0.1", port))
    if number % 3 == 1:
        line.send(b"\x16\x03\x01\x01\x00\x01")
    if number % 1000 == 2:  # whoever says more than a few bytes costs a worker
        line.send(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(31))
    return line


def good_client(pool):
    begin = time.monotonic()
    _, err = (client := pool.client("1")).communicate(timeout=60)
    if client.returncode != 0:
        return f"a good client ended with {client.returncode}: {err.decode()}"
    print(f"a good client was done after {time.monotonic() - begin:.2f} s")
    return None


def main(argv):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(int(argv[3]) if len(argv) > 3 else 10000, hard - SPARE)
    pool = Pool(argv[1], argv[2]).start()
    lines, faults = [], []
    try:
        before = pool.descriptors()
        port = int(pool.url.rsplit(":", 1)[1])
        lines = [half_open(port, number) for number in range(count)]
        print(f"{count} half-open connections")
        faults += [good_client(pool), good_client(pool)]
        for line in lines:
            line.close()
        faults.append(good_client(pool))
        if not eventually(lambda: pool.descriptors() <= before + 2):
            faults.append(f"{pool.descriptors()} descriptors left, {before} before")
        if pool.stop() != 0:
            faults.append("the server did not end in order")
        if " died " in pool.log():
            faults.append("a worker died:\n" + pool.log()[-2000:])
    finally:
        pool.close()
    faults = [fault for fault in faults if fault]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
