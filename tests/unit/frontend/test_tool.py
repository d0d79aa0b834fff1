#!/usr/bin/env python3
"""The command `gpupool`: exit codes, messages, and what `run` gives to the program.

test_tool.py GPUPOOL
"""

import os
import subprocess
import sys
import tempfile

FAULTS = []


def run(tool, *arguments, **variables):
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
    return subprocess.run([tool, *arguments], env=environment, capture_output=True, text=True, timeout=30)


def check(what, condition, done):
    if not condition:
        FAULTS.append(f"{what}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


def usage(tool):
    done = run(tool)
    check("no command is wrong usage", done.returncode == 2 and "Usage" in done.stderr, done)
    done = run(tool, "fly")
    check("an unknown command is wrong usage", done.returncode == 2 and "fly" in done.stderr, done)
    done = run(tool, "run", "--fly", "--", "true")
    check("an unknown option is wrong usage", done.returncode == 2 and "--fly" in done.stderr, done)
    done = run(tool, "run")
    check("a program is needed", done.returncode == 2, done)
    done = run(tool, "run", "--ca", "/nonexistent/ca.crt", "--", "true")
    check("a missing file is told", done.returncode == 2 and "/nonexistent/ca.crt" in done.stderr, done)
    for command in ([], ["run"], ["info"]):
        done = run(tool, *command, "--help")
        check(f"help of {command}", done.returncode == 0 and "Example" in done.stdout and not done.stderr, done)
    done = run(tool, "version")
    check("version", done.returncode == 0 and done.stdout.startswith("gpupool "), done)


def info(tool):
    done = run(tool, "info")
    check("without a server info fails in one line",
          done.returncode == 1 and done.stderr.count("\n") == 1 and "GPUPOOL_SERVER" in done.stderr, done)
    done = run(tool, "info", "--server", "tcp://127.0.0.1:1")
    check("where nobody listens too",
          done.returncode == 1 and done.stderr.count("\n") == 1 and "127.0.0.1:1" in done.stderr, done)


def program(tool):
    with tempfile.TemporaryDirectory() as folder:
        ca = os.path.join(folder, "ca.crt")
        open(ca, "w", encoding="ascii").close()
        done = subprocess.run([tool, "run", "--server", "tls://a:1,tls://b:2", "--ca", "ca.crt", "--", "sh", "-c",
                               'echo "$LD_LIBRARY_PATH|$GPUPOOL_SERVER|$GPUPOOL_CA|$1"; exit 7', "sh", "--server"],
                              cwd=folder, env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": "/before"},
                              capture_output=True, text=True, timeout=30)
        if done.returncode == 1 and "no libcuda.so.1" in done.stderr:
            return  # the client library is not built in this tree
        words = done.stdout.strip().split("|")
        check("the program's exit code is kept", done.returncode == 7, done)
        check("the library's folder comes first",
              len(words) == 4 and words[0].endswith(":/before") and
              os.path.exists(os.path.join(words[0].split(":")[0], "libcuda.so.1")), done)
        check("options become the environment, paths absolute",
              words[1:] == ["tls://a:1,tls://b:2", os.path.realpath(ca), "--server"], done)
        done = run(tool, "run", "--", "/nonexistent/program")
        check("a program that is not there", done.returncode == 127, done)
        done = run(tool, "run", "--", folder)
        check("a program that cannot be run", done.returncode == 126, done)


def main(argv):
    tool = os.path.abspath(argv[1])
    usage(tool)
    info(tool)
    program(tool)
    for fault in FAULTS:
        print(fault)
    print(f"{len(FAULTS)} faults")
    return 1 if FAULTS else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
