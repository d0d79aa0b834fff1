#!/usr/bin/env python3
"""Golden tests of the generator.

test_gen.py GEN_PY [--update]

sample.toml through every emitter must equal golden/; each bad/*.toml must be refused with
the file, line and text of its first comment; a lock must notice each kind of change.
"""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLE = os.path.join(HERE, "sample.toml")
KINDS = ("api-header", "client-exports", "dispatch-source", "driver-header", "driver-source", "hooks-header",
         "proc-table", "reference", "soft-exports", "version-script", "wire-header", "wire-source")


def run(gen, *arguments):
    return subprocess.run([sys.executable, gen, *arguments], capture_output=True, text=True)


def golden(gen, folder, update):
    faults = []
    for kind in KINDS:
        path = os.path.join(folder, kind)
        done = run(gen, "--emit", kind, "--out", path, SAMPLE)
        if done.returncode:
            faults.append(f"{kind}: {done.stderr.strip()}")
            continue
        with open(path, encoding="utf-8") as file:
            text = file.read()
        wanted = os.path.join(HERE, "golden", kind)
        if update:
            with open(wanted, "w", encoding="utf-8") as file:
                file.write(text)
        with open(wanted, encoding="utf-8") as file:
            if file.read() != text:
                faults.append(f"{kind} differs from {wanted}; look, then run with --update")
    return faults


def refusals(gen, folder):
    faults = []
    for name in sorted(os.listdir(os.path.join(HERE, "bad"))):
        path = os.path.join(HERE, "bad", name)
        with open(path, encoding="utf-8") as file:
            expected = f"{path}:" + file.readline().removeprefix("# expect: ").strip()
        done = run(gen, "--emit", "client-exports", "--out", os.path.join(folder, "x"), path)
        if done.returncode != 1 or done.stderr.strip() != expected:
            faults.append(f"{name}: expected '{expected}', got {done.returncode} '{done.stderr.strip()}'")
    return faults


def locks(gen, folder):
    """(what changes in the description, what the check must say; "" for nothing)"""
    with open(SAMPLE, encoding="utf-8") as file:
        text = file.read()
    lock, spec = os.path.join(folder, "ids.lock"), os.path.join(folder, "spec.toml")
    run(gen, "--lock", lock, SAMPLE)
    cases = [
        (text, ""),
        (text.replace('type = "u32[3]"', 'type = "u32[4]"'), "cuSampleBulk (0x0012) changed its arguments"),
        (text.replace("max = 4096", "max = 8192"), "cuSampleBulk (0x0012) changed its arguments"),
        (text.replace("id = 0x013", "id = 0x014"), "gpSampleNotice had id 0x0013, now 0x0014"),
        (text.replace("[gpSampleNotice]", "[gpOtherNotice]"), "id 0x0013 belonged to gpSampleNotice, reused by gpOtherNotice"),
        (text + '[gpNew]\nkind = "internal"\nid = 0x20\nsince = "1.1"\nmode = "async"\n', "gpNew (0x0020) is not locked"),
    ]
    faults = []
    for changed, expected in cases:
        with open(spec, "w", encoding="utf-8") as file:
            file.write(changed)
        done = run(gen, "--check-ids", lock, spec)
        good = expected in done.stderr and done.returncode == 1 if expected else done.returncode == 0
        if not good:
            faults.append(f"lock: expected '{expected}', got {done.returncode} '{done.stderr.strip()}'")
    with open(lock, encoding="utf-8") as file:
        lines = file.readlines()
    with open(lock, "a", encoding="utf-8") as file:
        file.write(lines[-1])
    done = run(gen, "--check-ids", lock, SAMPLE)
    if done.returncode != 1 or "stands there twice" not in done.stderr:
        faults.append(f"lock: a line twice: got {done.returncode} '{done.stderr.strip()}'")
    return faults


def main(argv):
    gen, update = argv[1], "--update" in argv
    with tempfile.TemporaryDirectory() as folder:
        faults = golden(gen, folder, update) + refusals(gen, folder) + locks(gen, folder)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(KINDS)} golden files, {len(os.listdir(os.path.join(HERE, 'bad')))} refusals, 7 locks: "
          f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
