#!/usr/bin/env python3
"""Runs programs straight on the machine's GPU and through a pool server on it, and compares.

usage: tests/gpu/run.sh [--build DIR] [--driver LIBRARY] [--python PYTHON] [--part PART]... [--out FILE]
                        [--timeout SECONDS] [FOLDER...]

Parts: tests (the project's own CUDA programs), folders (those of each FOLDER), torch (PyTorch, where
PYTHON has it). One gpupoold serves them over mutual TLS on loopback, with the machine's driver or
with LIBRARY. A table in Markdown tells how each ended both ways, what it took, and its exposed round
trips: of the whole program, and for training of one step. --out writes it to a file too.

  equal...       the same result; for folders as tests/samples.sh says it
  as straight    it does not pass on this device straight either, in the same way
  WRONG          passed straight and not through the pool, or with another result; or the other way round

Exit status: 0 nothing is wrong, 1 something is, 77 no GPU or not built.
"""
import argparse
import ast
import json
import math
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "programs"))
import run_both  # noqa: E402
import samples  # noqa: E402

PARTS = ("tests", "folders", "torch")
TOLERANCE = 1e-3  # of numbers that kernels add up in any order

# Program, arguments, variables; what of PyTorch each shows stands in it.
TORCH = [
    ("torch_checks.py", [], {}),
    ("torch_checks.py", ["compile"], {}),
    ("torch_train.py", ["10"], {}),
    ("torch_train.py", ["10"], {"PYTORCH_CUDA_ALLOC_CONF": "backend:cudaMallocAsync"}),
    ("torch_train.py", ["10"], {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}),
    ("torch_loader.py", ["fork"], {}),
    ("torch_loader.py", ["spawn"], {}),
    ("torch_generate.py", [], {}),
]
# What one more step costs, from a short run and a longer one.
STEPS_SHORT, STEPS_LONG = 10, 30


def parse():
    p = argparse.ArgumentParser(prog="tests/gpu/run.sh", usage=__doc__.split("\n\n")[1].replace("usage: ", ""))
    p.add_argument("--build", default="build")
    p.add_argument("--driver", default="cuda", help="a library instead of the machine's driver")
    p.add_argument("--python", default=sys.executable, help="the interpreter that has PyTorch")
    p.add_argument("--part", action="append", choices=PARTS, help="only this; may be repeated")
    p.add_argument("--out", help="write the table here too")
    p.add_argument("--timeout", type=float, default=600, help="seconds for each run")
    p.add_argument("folders", nargs="*")
    return p.parse_intermixed_args()


def device_count(parts, env):
    """How many devices there are straight, or why there are none."""
    text = ("import ctypes as c\nl = c.CDLL('libcuda.so.1')\nn = c.c_int()\nr = l.cuInit(0) or l.cuDeviceGetCount(c.byref(n))\n"
            "print(n.value if r == 0 else 'error %d' % r)")
    done = subprocess.run([sys.executable, "-c", text], env=parts.direct_env(env), capture_output=True, text=True)
    said = done.stdout.strip()
    if said.isdigit() and int(said) > 0:
        return int(said), None
    return 0, said or (done.stderr.strip().splitlines() or ["no answer"])[-1]


class Table:
    def __init__(self):
        self.lines, self.notes, self.wrong, self.count = [], [], 0, 0
        self.line("| program | straight | s | pooled | s | exposed round trips | result |\n|---|---|---|---|---|---|---|")

    def line(self, text):
        self.lines.append(text)
        print(text, flush=True)

    def skip(self, name, reason):
        self.line("| %s | skipped: %s | | | | | |" % (name, reason))

    def add(self, name, direct, pooled, result, note=None, trips=None):
        self.count += 1
        self.wrong += result == "WRONG"
        trips = trips or run_both.stats_of(pooled.err).get("exposed_round_trips", "?")
        self.line("| %s | %s | %.1f | %s | %.1f | %s | %s |" % (
            name, samples.word_for(direct), direct.seconds, samples.word_for(pooled), pooled.seconds, trips, result))
        if result == "WRONG":
            self.notes.append("%s: %s" % (name, note or "one way only"))
            for way, o in (("straight", direct), ("pooled", pooled)):
                tail = (run_both.without_stats(o.err) + o.out).splitlines()[-8:]
                self.notes += ["    %s: %s" % (way, line) for line in tail] if o.status != 0 else []

    def end(self):
        for line in self.notes:
            self.line(("\n" if not line.startswith(" ") else "") + line)
        self.line("\n%d programs, %d wrong" % (self.count, self.wrong))
        return 1 if self.wrong else 0


class Runs:
    """Both ways, with one server."""

    def __init__(self, options, parts, env, server):
        self.options, self.parts, self.env, self.server = options, parts, env, server

    def direct(self, command, folder=None, more=()):
        return run_both.run(command, dict(self.parts.direct_env(self.env), **dict(more)), self.options.timeout, folder)

    def pooled(self, command, folder=None, more=()):
        return run_both.run([self.parts.tool, "run", "--server", self.server.url, "--"] + command,
                            dict(self.server.client_env, GPUPOOL_STATS="1", **dict(more)), self.options.timeout, folder)


def ended(direct, pooled):
    """What the ends say by themselves; None where outputs decide."""
    if direct.status == 0 and pooled.status == 0:
        return None
    return "as straight" if direct.status == pooled.status else "WRONG"


# --- the project's own ------------------------------------------------------------------------

def own_tests(build, devices):
    """name -> (program, arguments, whether lines may come in any order); or why not. From what Meson
    wrote, wherever the build folder stands now."""
    found = {}
    with open(os.path.join(build, "meson-info", "intro-tests.json"), encoding="utf-8") as f:
        tests = json.load(f)
    for test in tests:
        words = test["cmd"]
        if not any(os.path.basename(w) == "run_both.py" for w in words):
            continue
        at = next(i for i, w in enumerate(words) if os.path.basename(w) == "run_both.py")
        asked = run_both.parse(words[at + 1:])
        if asked.all or asked.server_option or asked.lane != "tls":
            continue  # about the server, and elsewhere the same program
        program = os.path.join(build, "tests", "programs", os.path.basename(asked.program))
        reason = None
        if not os.path.exists(program):
            reason = "not built"
        elif (asked.devices or 1) > devices:
            reason = "wants %d devices" % asked.devices
        found[test["name"]] = (program, asked.args, asked.unordered, reason)
    return found


def run_own(runs, table, devices):
    for name, (program, args, unordered, reason) in sorted(own_tests(runs.parts.build, devices).items()):
        if reason is not None:
            table.skip(name, reason)
            continue
        direct, pooled = runs.direct([program] + args), runs.pooled([program] + args)
        result, note = ended(direct, pooled), None
        if result is None:
            a, b = direct.out, pooled.out
            if unordered:
                a, b = ("\n".join(sorted(x.splitlines())) for x in (a, b))
            result = "equal" if a == b else "WRONG"
            note = None if a == b else samples.compare(a, b)[1] or "only measured values differ"
        table.add(name, direct, pooled, result, note)


# --- folders ----------------------------------------------------------------------------------

def run_folder(runs, table, folder):
    folder = os.path.abspath(folder)
    arguments = samples.arguments_in(folder)
    for name, path in samples.programs_in(folder).items():
        args, at = arguments.get(name, []), os.path.dirname(path)
        if args[:1] == ["skip"]:
            table.skip(name, " ".join(args[1:]))
            continue
        direct, pooled = runs.direct([path] + args, at), runs.pooled([path] + args, at)
        result, note = ended(direct, pooled), None
        if result is None:
            result, note = samples.compare(direct.out, pooled.out)
        if result == "differs":
            again = runs.direct([path] + args, at)
            own = again.status == 0 and samples.equal_but_own(direct.out, again.out, pooled.out)
            result = "equal but own" if own else "WRONG"
        table.add(name, direct, pooled, result, note)


# --- PyTorch ----------------------------------------------------------------------------------

def near(a, b):
    """The same, but for what numbers may differ by that are added up in another order."""
    if isinstance(a, float) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(near(x, y) for x, y in zip(a, b))
    return type(a) is type(b) and a == b


def value(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def steps_of(outcome):
    """name -> (result, seconds)"""
    lines = [line.split("\t") for line in outcome.out.splitlines() + outcome.err.splitlines()]
    seconds = {x[1]: float(x[2]) for x in lines if x[0] == "seconds" and len(x) == 3}
    return {x[1]: (value(x[2]), seconds.get(x[1], 0.0)) for x in lines if x[0] == "step" and len(x) == 3}


def run_torch_program(runs, table, program, args, variables):
    path = [os.path.join(HERE, "..", "frameworks")] + [p for p in [os.environ.get("PYTHONPATH")] if p]
    more = dict(variables, PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=os.pathsep.join(path))
    command = [runs.options.python, os.path.join(HERE, program)] + args
    title = " ".join([program] + args + list(variables.values()))
    with tempfile.TemporaryDirectory(prefix="gpupool-gpu-") as home:
        # What one way compiled must not help the other.
        direct, pooled = (way(command, None, dict(more, TORCHINDUCTOR_CACHE_DIR="%s/%d" % (home, i),
                                                  TRITON_CACHE_DIR="%s/t%d" % (home, i)))
                          for i, way in enumerate((runs.direct, runs.pooled)))
        a, b = steps_of(direct), steps_of(pooled)
        for step in list(a) + [s for s in b if s not in a]:
            (x, tx), (y, ty) = a.get(step, ("nothing", 0)), b.get(step, ("nothing", 0))
            same, failed = near(x, y), str(x).startswith("FAILED")
            result = "WRONG" if not same else "as straight" if failed else "equal"
            table.count += 1
            table.wrong += result == "WRONG"
            table.line("| %s: %s | %s | %.3f | %s | %.3f | | %s |" % (
                title, step, str(x)[:100], tx, "the same" if str(x) == str(y) else str(y)[:100], ty, result))
        table.add(title + ": whole program", direct, pooled, ended(direct, pooled) or ("equal" if a else "WRONG"))
        if program == "torch_train.py" and pooled.status == 0 and "only machine code" not in str(b):
            count_steps(runs, table, title, command, more, home)


def count_steps(runs, table, title, command, more, home):
    """Round trips and seconds of one more training step, each way."""
    each = []
    for way in (runs.direct, runs.pooled):
        pair = []
        for steps in (STEPS_SHORT, STEPS_LONG):
            outcome = way(command[:-1] + [str(steps)], None, dict(more, TORCHINDUCTOR_CACHE_DIR=home))
            spent = steps_of(outcome).get("loss curve", (None, 0.0))[1]
            pair.append((spent, int(run_both.stats_of(outcome.err).get("exposed_round_trips", 0))))
        each.append([(pair[1][i] - pair[0][i]) / (STEPS_LONG - STEPS_SHORT) for i in range(2)])
    table.line("| %s: one training step | | %.4f | | %.4f | %.2f | |" % (title, each[0][0], each[1][0], each[1][1]))


def run_torch(runs, table):
    done = subprocess.run([runs.options.python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    if done.returncode != 0:
        table.skip("PyTorch", "%s has none" % runs.options.python)
        return
    table.line("| PyTorch %s | | | | | | |" % done.stdout.strip())
    for program, args, variables in TORCH:
        run_torch_program(runs, table, program, args, variables)


def main():
    options = parse()
    parts = run_both.Parts(os.path.abspath(options.build), options.driver if options.driver == "cuda"
                           else os.path.abspath(options.driver))
    parts.build = os.path.abspath(options.build)
    parts.need("client", "daemon", "tool")
    wanted = options.part or PARTS
    with tempfile.TemporaryDirectory(prefix="gpupool-gpu-") as work:
        env = run_both.clean_environment(work)
        devices, why = device_count(parts, env)
        if devices == 0:
            run_both.die(77, "skipped: no CUDA device: " + why)
        server = run_both.Server(parts, work, env)
        table = Table()
        runs = Runs(options, parts, env, server)
        try:
            if "tests" in wanted:
                run_own(runs, table, devices)
            if "folders" in wanted:
                for folder in options.folders:
                    run_folder(runs, table, folder)
            if "torch" in wanted:
                run_torch(runs, table)
        finally:
            status = server.stop()
        if status != 0:
            table.wrong += 1
            print("the server ended with %s\n%s" % (status, server.text()[-2000:]))
        bad = table.end()
    if options.out:
        with open(options.out, "w", encoding="utf-8") as f:
            f.write("\n".join(table.lines) + "\n")
    return bad


if __name__ == "__main__":
    sys.exit(main())
