#!/usr/bin/env python3
"""Names the tests of some suites that are programs without Criterion.

usage: plain_tests.py BUILD-DIR SUITE...

Criterion starts each test in a process of its own by a way that ThreadSanitizer
does not survive, so under it only plain programs can run.
"""
import json
import os
import subprocess
import sys


def needs_criterion(program):
    """Whether this program is linked with Criterion's library."""
    if not os.path.exists(program):
        return False
    done = subprocess.run(["readelf", "-d", program], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)
    return b"libcriterion" in done.stdout


def main():
    build, suites = sys.argv[1], set(sys.argv[2:])
    done = subprocess.run(["meson", "introspect", build, "--tests"], check=True,
                          stdout=subprocess.PIPE)
    for test in json.loads(done.stdout):
        own = {s.split(":")[-1] for s in test["suite"]}
        if own & suites and not needs_criterion(test["cmd"][0]):
            print(test["name"])


if __name__ == "__main__":
    main()
