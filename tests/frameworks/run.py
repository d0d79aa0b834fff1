#!/usr/bin/env python3
"""Installs frameworks from PyPI and runs this folder's programs straight and through a pool.

usage: run.py --build BUILD DIR [NAME...]

Prints a table in Markdown.  Exit status: 0 all that could run gave the same twice and nothing failed,
1 something did not, 77 not built.
"""
import argparse
import glob
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "programs"))
import limit  # noqa: E402
import run_both  # noqa: E402

# Environments with their packages.  numba-cuda up to 0.14 links by the driver, which takes PTX; later
# ones link by nvJitLink to machine code. JAX after 0.6 wants machine code from a compiler of its own.
ENVIRONMENTS = {
    "all": ["numpy", "nvidia-ml-py", "cuda-python", "cuda-core", "cupy-cuda13x[ctk]", "taichi", "torch"],
    "numba": ["numpy", "numba-cuda[cu12]==0.14.0"],
    "jax": ["jax[cuda12]==0.6.2"],
}
# XLA writes PTX and makes machine code of it by these; where there are none the driver has to.
COMPILERS = ("ptxas", "nvlink")
TOOLKIT = "/usr/local/cuda"
# name -> environment, module that tells whether it is installed, program, variables, only through a pool
PROGRAMS = {
    "cuda-python": ("all", "cuda.core", "cuda_python.py", {}, False),
    "cupy": ("all", "cupy", "cupy_arrays.py", {"CUPY_COMPILE_WITH_PTX": "1"}, False),
    "numba": ("numba", "numba_cuda", "numba_kernels.py", {"NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS": "0"}, False),
    "taichi": ("all", "taichi", "taichi_fields.py", {"TI_LOG_LEVEL": "error"}, False),
    "torch": ("all", "torch", "torch_basics.py", {}, False),
    "cudnn": ("all", "nvidia.cudnn", "cudnn_layers.py", {}, False),
    "pycuda": ("all", "pycuda", "pycuda_driver.py", {}, False),
    "jax": ("jax", "jax", "jax_transformer.py",
            {"JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1", "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
             "TF_CPP_MIN_LOG_LEVEL": "2"}, True),
    "pynvml": ("all", "pynvml", "pynvml_info.py", {}, True),
}
# Only by name. Of its large image only what is called is compiled: all of it would not fit into this memory.
NCCL = "nccl"
NCCL_BYTES = 2 << 30
NCCL_SECONDS = 600
SKIPPED = {
    "triton": "its compiler makes machine code with ptxas and loads that",
}


def parse():
    p = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].replace("usage: ", ""))
    p.add_argument("--build", required=True)
    p.add_argument("folder")
    p.add_argument("names", nargs="*")
    return p.parse_args()


def has(python, module):
    return subprocess.run([python, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec(%r) is None)"
                           % module], stderr=subprocess.DEVNULL).returncode == 0


def environment(folder, name):
    """The environment's interpreter, made if there is none."""
    path = os.path.join(folder, name)
    python = os.path.join(path, "bin", "python")
    if not os.path.exists(python):
        print("installing %s ..." % name, flush=True)
        subprocess.run([sys.executable, "-m", "venv", path], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q"] + ENVIRONMENTS[name], check=True)
        if name == "all":  # built here, where there is a toolkit: may fail
            subprocess.run([python, "-m", "pip", "install", "-q", "pycuda"], check=False)
        if name == "jax":
            for at, _, files in os.walk(path):
                for file in set(files).intersection(COMPILERS):
                    os.unlink(os.path.join(at, file))
    return python


def caches(work, name):
    """What a framework compiled in one run must not help the other."""
    home = os.path.join(work, name)
    os.makedirs(home)
    return {"HOME": home, "XDG_CACHE_HOME": home, "CUPY_CACHE_DIR": os.path.join(home, "cupy")}


def steps(outcome):
    """name -> result, name -> seconds"""
    lines = [line.split("\t") for line in outcome.out.splitlines() + outcome.err.splitlines()]
    return ({x[1]: x[2] for x in lines if x[0] == "step" and len(x) == 3},
            {x[1]: float(x[2]) for x in lines if x[0] == "seconds" and len(x) == 3})


def failed(result):
    return result is None or result.startswith("FAILED")


class Table:
    def __init__(self):
        self.bad = 0
        print("| framework, operation | result | direct s | pooled s |\n|---|---|---|---|")

    def add(self, name, step, direct, pooled, seconds):
        result = pooled if direct == pooled else "**direct %s, pooled %s**" % (direct, pooled)
        self.bad += direct != pooled or failed(pooled)
        print("| %s: %s | %s | %s | %s |" % (name, step, result, seconds[0], seconds[1]), flush=True)


def run_one(name, parts, server, env, options, table, work):
    where, module, program, variables, pool_only = PROGRAMS[name]
    python = environment(options.folder, where)
    if not has(python, module):
        print("| %s | skipped: %s is not installed in %s | | |" % (name, module, where))
        return
    version = subprocess.run([python, "-m", "pip", "list", "--format", "freeze"], capture_output=True, text=True)
    command = [python, os.path.join(HERE, program)]
    if name == "jax" and os.path.exists(os.path.join(TOOLKIT, "bin", COMPILERS[0])):
        command = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none $(readlink -f %s) && exec \"$@\"" % TOOLKIT,
                   "sh"] + command
    more = dict(variables, PYTHONDONTWRITEBYTECODE="1")
    pooled = run_both.run([parts.tool, "run", "--server", server.url, "--"] + command,
                          dict(server.client_env, GPUPOOL_STATS="1", **more, **caches(work, name + "-pooled")), 600)
    direct = pooled if pool_only else \
        run_both.run(command, dict(env, LD_LIBRARY_PATH=os.path.dirname(parts.soft), **more,
                             **caches(work, name + "-direct")), 600)
    (a, ta), (b, tb) = steps(direct), steps(pooled)
    for step in list(a) + [s for s in b if s not in a]:
        table.add(name, step, a.get(step), b.get(step),
                  ("" if pool_only else "%.3f" % ta.get(step, 0), "%.3f" % tb.get(step, 0)))
    for title, outcome in (("direct", direct), ("pooled", pooled)):
        if outcome.status != 0 or not steps(outcome)[0]:
            table.bad += 1
            run_both.show("%s, %s" % (name, title), outcome)
    packages = [p for p in version.stdout.split() if p.split("==")[0].replace("_", "-").lower() in
                (name, "cupy-cuda13x", "numba-cuda", "nvidia-ml-py", "nvidia-cudnn-cu13") and
                (name[:4] in p.lower() or name == "pynvml" and "nvidia-ml" in p)]
    print("| %s: whole program, %s exposed round trips | %s | %.1f | %.1f |"
          % (name, run_both.stats_of(pooled.err).get("exposed_round_trips", "no"), ", ".join(packages),
             direct.seconds, pooled.seconds), flush=True)


def nccl_libraries(folder):
    """NCCL, the number of the CUDA run time's library, and where that is; the toolkit's, or a wheel's."""
    wheels = os.path.join(folder, "*", "lib", "python*", "site-packages", "nvidia")
    for library in glob.glob(TOOLKIT + "*/lib*/libnccl.so.2") + glob.glob(wheels + "/nccl/lib/libnccl.so.2"):
        for runtime in glob.glob(TOOLKIT + "*/lib*/libcudart.so.1?") + glob.glob(wheels + "/*/lib/libcudart.so.1?"):
            return library, runtime.rsplit(".", 1)[1], os.path.dirname(runtime)
    return None


def run_nccl(parts, work, env, options, table):
    found = nccl_libraries(options.folder)
    if found is None:
        print("| nccl | skipped: libnccl.so.2 or libcudart is neither in %s nor in %s | | |" % (TOOLKIT, options.folder))
        return
    try:
        group = limit.Group(NCCL_BYTES)
    except limit.NoLimit as why:
        print("| nccl | skipped: %s | | |" % why)
        return
    server = run_both.Server(parts, work, env)
    try:
        pooled = run_both.run([parts.tool, "run", "--server", server.url, "--", sys.executable,
                               os.path.join(HERE, "nccl_one_rank.py")],
                              dict(server.client_env, GPUPOOL_STATS="1", NCCL_LIBRARY=found[0], NCCL_CUDART=found[1],
                                   LD_LIBRARY_PATH=found[2], PYTHONDONTWRITEBYTECODE="1"), NCCL_SECONDS)
    finally:
        server.stop()
    results, seconds = steps(pooled)
    for name, result in results.items():
        table.add(NCCL, name, result, result, ("", "%.1f" % seconds.get(name, 0)))
    if pooled.status != 0 or not results:
        table.bad += 1
        run_both.show("nccl, pooled", pooled)
        print(server.text())
    most = group.most_used()
    print("| nccl: whole program, %s exposed round trips, %s of memory with its server | %s | | %.1f |"
          % (run_both.stats_of(pooled.err).get("exposed_round_trips", "no"),
             "no figure" if most is None else "%.1f GB" % (most / 1e9), found[0], pooled.seconds), flush=True)
    group.leave()


def run_all(names, parts, env, options, table, work):
    if not names:
        return
    server = run_both.Server(parts, work, env)
    try:
        for name in names:
            run_one(name, parts, server, env, options, table, work)
    finally:
        server.stop()


def main():
    options = parse()
    parts = run_both.Parts(os.path.abspath(options.build))
    parts.need("soft", "client", "daemon", "tool")
    options.folder = os.path.abspath(options.folder)
    os.makedirs(options.folder, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpupool-frameworks-") as work:
        env = run_both.clean_environment(work)
        table = Table()
        names = options.names or list(PROGRAMS)
        if NCCL in names:
            run_nccl(parts, work, env, options, table)
        run_all([name for name in names if name != NCCL], parts, env, options, table, work)
        for name, why in SKIPPED.items():
            print("| %s | skipped: %s | | |" % (name, why))
    print("\n%s" % ("%d of these differ or failed" % table.bad if table.bad else "nothing differs, nothing failed"))
    return 1 if table.bad else 0


if __name__ == "__main__":
    sys.exit(main())
