#!/usr/bin/env python3
"""Checks that client libraries take little static thread storage.

usage: static_tls.py LIMIT-BYTES LIBRARY...

Their thread variables are in the static block, for speed. A program that loads a library late has a
little over 1.5 KiB of it left for all that it loads; beyond it, dlopen fails with "cannot allocate
memory in static TLS block".
"""
import struct
import sys

PT_TLS = 7


def tls_bytes(path):
    """Size of the thread storage that a 64-bit little endian ELF file asks for."""
    with open(path, "rb") as file:
        data = file.read(4096)
    assert data[:6] == b"\x7fELF\x02\x01", path + " is no 64-bit ELF file"
    table, = struct.unpack_from("<Q", data, 0x20)
    size, count = struct.unpack_from("<HH", data, 0x36)
    return sum(struct.unpack_from("<Q", data, table + i * size + 40)[0] for i in range(count)
               if struct.unpack_from("<I", data, table + i * size)[0] == PT_TLS)


def main():
    limit, bad = int(sys.argv[1]), 0
    for path in sys.argv[2:]:
        got = tls_bytes(path)
        print("%s: %d bytes of static thread storage, at most %d" % (path, got, limit))
        bad += got > limit
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
