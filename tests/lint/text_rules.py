#!/usr/bin/env python3
"""Checks the text of all files: length, white space, leftovers, private paths.

usage: text_rules.py SOURCE-ROOT
"""
import os
import re
import sys

import files

LINES_MOST = 1000
SOURCES = (".c", ".h", ".cu", ".py", ".sh", ".ptx", ".proto", ".build", ".md")
# May be long: tables that only grow, results to compare with.
LONG = re.compile(r"(^|/)(ids\.lock|golden/.*|.*\.toml|.*_golden\.\w+)$")
# Kept byte by byte for a reason: samples of hostile or foreign input.
VERBATIM = re.compile(r"(^|/)(corpus|golden|seeds|bad)/")

RULES = [
    (re.compile(r"[ \t]+$"), "white space at the end of the line"),
    (re.compile(r"^(<{7}|>{7}|={7})( |$)"), "left over from a merge"),
    (re.compile(r"\b(TODO|FIXME|HACK)\b"), "finish it, or say in the README what is not done"),
    # An absolute path below somebody's folder: it exists on one machine only.
    (re.compile(r"(?<![\w.$})*-])/(?:home|root|work|workspace|Users)/\w"),
     "a path of one machine"),
]
TAB = re.compile(r"^ *\t")


def check(root, name):
    text = files.read(root, name)
    if text is None or VERBATIM.search(name):
        return []
    found = []
    lines = text.split("\n")
    if name.endswith(SOURCES) and not LONG.search(name) and len(lines) - 1 > LINES_MOST:
        found.append("%s: %d lines, more than %d" % (name, len(lines) - 1, LINES_MOST))
    if text and not text.endswith("\n"):
        found.append("%s: no newline at the end" % name)
    if name == "tests/lint/text_rules.py":
        return found
    for number, line in enumerate(lines, 1):
        for pattern, rule in RULES:
            if pattern.search(line):
                found.append("%s:%d: %s" % (name, number, rule))
        if name.endswith((".c", ".h", ".cu", ".py")) and TAB.search(line):
            found.append("%s:%d: a tab" % (name, number))
    return found


def main():
    root = os.path.abspath(sys.argv[1])
    found = []
    for name in files.listed(root):
        found += check(root, name)
    print("\n".join(found) or "text rules: nothing found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
