#!/usr/bin/env python3
"""Checks tests/gpu/run.sh on the software device: what is equal, wrong, as straight, left out.

usage: test_run.py BUILD PROGRAM
"""
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "programs"))
sys.path.insert(0, HERE)
import run as gpu  # noqa: E402
import run_both  # noqa: E402

SCRIPTS = {
    "a_same": ("echo 3.5", "equal"),
    "b_differs": ("echo \"${GPUPOOL_SERVER:-none}\"", "WRONG"),
    "c_fails_pooled": ("[ -z \"${GPUPOOL_SERVER:-}\" ]", "WRONG"),
    "d_fails_straight": ("[ -n \"${GPUPOOL_SERVER:-}\" ]", "WRONG"),
    "e_fails": ("exit 3", "as straight"),
}
FAILED = []


def expect(what, ok, text=""):
    if not ok:
        FAILED.append(what)
        print("wrong: %s\n%s" % (what, text))


def run(build, *words, driver=True):
    soft = ["--driver", run_both.Parts(build).soft] if driver else []
    env = dict(os.environ)
    env.pop("LD_LIBRARY_PATH", None)
    return subprocess.run([os.path.join(HERE, "run.sh"), "--build", build] + soft + list(words),
                          capture_output=True, text=True, env=env)


def folders(build, program):
    with tempfile.TemporaryDirectory() as folder:
        for name, (body, _) in SCRIPTS.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write("#!/bin/sh\n" + body + "\n")
            os.chmod(f.name, 0o755)
        os.symlink(program, os.path.join(folder, "f_program"))
        with open(os.path.join(folder, "samples.args"), "w", encoding="utf-8") as f:
            f.write("a_same\n")
        done = run(build, "--part", "folders", "--out", os.path.join(folder, "table"), folder)
        expect("exit status", done.returncode == 1, done.stdout + done.stderr)
        for name, (_, result) in list(SCRIPTS.items()) + [("f_program", ("", "equal"))]:
            rows = [line for line in done.stdout.splitlines() if line.startswith("| %s |" % name)]
            expect(name, len(rows) == 1 and rows[0].endswith("| %s |" % result), done.stdout + done.stderr)
        expect("the program went through the pool", "| f_program | passed" in done.stdout and
               not any("f_program" in line and "| ? |" in line for line in done.stdout.splitlines()), done.stdout)
        expect("count", "6 programs, 3 wrong" in done.stdout, done.stdout)
        with open(os.path.join(folder, "table"), encoding="utf-8") as f:
            expect("the table in a file", f.read().strip() == done.stdout.strip(), done.stdout)
        for name in ("b_differs", "c_fails_pooled", "d_fails_straight"):
            os.unlink(os.path.join(folder, name))
        done = run(build, "--part", "folders", folder)
        expect("exit status of what is right", done.returncode == 0, done.stdout + done.stderr)


def values():
    expect("numbers", gpu.near(1.0, 1.0005) and not gpu.near(1.0, 1.01) and not gpu.near(1, 2))
    expect("lists", gpu.near([1.0, (2.0, "x")], [1.0001, (2.0, "x")]) and not gpu.near([1.0], [1.0, 1.0]))
    expect("others", gpu.near("a", "a") and not gpu.near("a", "b") and not gpu.near(True, False) and not gpu.near(1, "1"))
    expect("not a number", gpu.near(float("nan"), float("nan")) and not gpu.near(float("nan"), 1.0))
    found = gpu.own_tests(BUILD, 1)
    expect("own tests", "drv_vector_add" in found and "drv_vector_add_shm" not in found and "drv_paged" not in found and
           found["drv_peer"][3] is not None and found["drv_ipc"][2] and found["drv_managed_bytes_all"][1] == ["64", "3", "1"])


BUILD = os.path.abspath(sys.argv[1])
values()
folders(BUILD, os.path.abspath(sys.argv[2]))
done = run(BUILD, "--part", "folders", driver=False)
expect("no GPU is skipped", done.returncode in (0, 77), done.stdout + done.stderr)
print("FAILED: %s" % ", ".join(FAILED) if FAILED else "passed")
sys.exit(1 if FAILED else 0)
