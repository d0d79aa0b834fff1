#!/usr/bin/env python3
"""Appends the outcome of a `meson test` run to a file of results.

usage: meson_results.py LOG.json LABEL RESULTS

One line a test: passed, failed or skipped, the name, the reason. What failed is
shown with the end of its output. Exit status 1 when the log holds no test.
"""
import json
import sys

PASSED = {"OK", "EXPECTEDFAIL", "UNEXPECTEDPASS"}
SKIPPED = {"SKIP"}


def reason_of(test):
    """The line in which a skipped test says why."""
    lines = [line.strip() for line in
             (test.get("stdout", "") + "\n" + test.get("stderr", "")).splitlines() if line.strip()]
    for line in lines:
        if "skipped" in line or "not built" in line:
            return line.replace("skipped: ", "").replace("run_both: ", "")
    return lines[-1] if lines else "no reason given"


def show(label, test):
    print("--- %s: %s: %s after %.1f s" % (label, test["name"], test["result"], test["duration"]))
    for stream in ("stdout", "stderr"):
        for line in test.get(stream, "").splitlines()[-40:]:
            print("    " + line)


def main():
    log, label, results = sys.argv[1:4]
    count = 0
    try:
        source = open(log, encoding="utf-8", errors="replace")
    except OSError as error:
        print("meson_results: " + str(error))
        return 1
    with source, open(results, "a", encoding="utf-8") as out:
        for line in source:
            test = json.loads(line)
            name, result = "%s: %s" % (label, test["name"].split(" / ")[-1]), test["result"]
            count += 1
            if result in PASSED:
                out.write("passed\t%s\t\n" % name)
            elif result in SKIPPED:
                out.write("skipped\t%s\t%s\n" % (name, reason_of(test)))
            else:
                show(label, test)
                out.write("failed\t%s\t%s\n" % (name, result))
    return 0 if count else 1


if __name__ == "__main__":
    sys.exit(main())
