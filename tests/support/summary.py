#!/usr/bin/env python3
"""Prints what was skipped and what failed, then the count.

usage: summary.py RESULTS   (lines "passed|failed|skipped<TAB>NAME<TAB>REASON")

Exit status 0 when something passed and nothing failed.
"""
import sys


def main():
    count = {"passed": 0, "failed": 0, "skipped": 0}
    kept = {"failed": [], "skipped": []}
    with open(sys.argv[1], encoding="utf-8") as f:
        for line in f:
            outcome, name, reason = line.rstrip("\n").split("\t")
            count[outcome] += 1
            if outcome in kept:
                kept[outcome].append(name + (": " + reason if reason else ""))
    for outcome in ("skipped", "failed"):
        for text in kept[outcome]:
            print("%s %s" % (outcome, text))
    print("%(passed)d passed, %(failed)d failed, %(skipped)d skipped" % count)
    return 0 if count["passed"] and not count["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
