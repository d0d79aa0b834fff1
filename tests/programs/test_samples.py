#!/usr/bin/env python3
"""usage: test_samples.py BUILD PROGRAM -- samples.py on a folder of programs that pass and fail

The folder holds a real CUDA program and scripts that tell the direct run from the pooled one by
their environment.
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
POOLED = '[ -n "$GPUPOOL_SERVER" ]'

SCRIPTS = {
    "fails": "echo wrong; exit 3",
    "waives": "exit 2",
    "fails_pooled": POOLED + " && exit 1; exit 0",
    "prints_times": POOLED + ' && t=7.25 || t=12.5; echo "kernel: $t ms, 4 elements"',
    "prints_other": POOLED + " && n=4 || n=5; echo $n elements",
    "prints_table": POOLED + " && n=10.5 || n=7; printf 'Latency (us)\\n D 0 1\\n 0 %s 2\\n' $n",
    "other_table": POOLED + " && n=4 || n=5; printf 'Elements (Kb)\\n 0 %s\\n' $n",
    "own_number": "n=7; " + POOLED + " || n=$$; echo process $n; echo done",
    "own_line": POOLED + " && echo process $$ || echo process; echo result 4",
    "other_order": POOLED + " && printf 'a\\nb\\n' || printf 'b\\na\\n'",
    "with_data": "cat beside.txt; echo $*",
    "hangs": "sleep 60",
    "left_out": "exit 1",
}


def check(ok, what, text):
    if not ok:
        sys.exit("%s:\n%s" % (what, text))


def fill(folder, program):
    """DIR/NAME/NAME for one, DIR/NAME for the others."""
    os.symlink(program, os.path.join(folder, "real"))
    for name, body in SCRIPTS.items():
        os.mkdir(os.path.join(folder, name))
        path = os.path.join(folder, name, name)
        with open(path, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\n%s\n" % body)
        os.chmod(path, 0o755)
    with open(os.path.join(folder, "with_data", "beside.txt"), "w", encoding="ascii") as f:
        f.write("found\n")
    with open(os.path.join(folder, "samples.args"), "w", encoding="ascii") as f:
        f.write("with_data -n 3 'two words'\nleft_out skip for a reason\n")


def main():
    build, program = sys.argv[1], os.path.abspath(sys.argv[2])
    command = [sys.executable, os.path.join(HERE, "samples.py"), "--build", build,
               "--timeout", "20"]
    with tempfile.TemporaryDirectory(prefix="gpupool-samples-test-") as folder:
        fill(folder, program)
        good = subprocess.run(command + [folder, "real", "prints_times", "other_order",
                                         "own_number", "prints_table", "with_data", "left_out"],
                              capture_output=True, text=True)
        bad = subprocess.run(command + [folder, "--timeout", "3"], capture_output=True, text=True)
        none = subprocess.run(command + [folder, "no_such"], capture_output=True, text=True)
    if good.returncode == 77:
        print(good.stderr)
        sys.exit(77)
    check(good.returncode == 0, "programs that pass", good.stdout + good.stderr)
    check("6 passed, 0 did not, 1 left out" in good.stdout, "count of passes", good.stdout)
    rows = {line.split()[0]: line for line in bad.stdout.splitlines() if line.strip()}
    wanted = {
        "real": ("passed", "equal"), "fails": ("FAILED 3", "FAILED 3"),
        "waives": ("waived", "waived"), "fails_pooled": ("passed", "FAILED 1"),
        "prints_times": ("equal but times",), "prints_other": ("differs",),
        "prints_table": ("equal but times",), "other_table": ("differs",),
        "own_number": ("equal but own",), "own_line": ("differs",),
        "other_order": ("other order",), "with_data": ("passed", "equal"),
        "hangs": ("timeout", "timeout"), "left_out": ("left out: for a reason",),
    }
    for name, words in wanted.items():
        row = rows.get(name, "")
        for word in words:
            check(word in row, "row of %s lacks %s" % (name, word), bad.stdout)
    trips = rows["real"].split()
    check(trips[trips.index("passed", 2) + 3].isdigit(), "round trips of real", rows["real"])
    check(bad.returncode == 1, "status with failures", bad.stdout)
    check("7 did not" in bad.stdout, "count of failures", bad.stdout)
    check("direct: 5 elements" in bad.stdout, "first difference", bad.stdout)
    check(none.returncode == 2, "a name that is not there", none.stdout + none.stderr)


if __name__ == "__main__":
    main()
