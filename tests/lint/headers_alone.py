#!/usr/bin/env python3
"""Compiles each header of the product by itself: a header includes what it needs.

usage: headers_alone.py SOURCE-ROOT BUILD-ROOT COMPILER...
"""
import concurrent.futures
import os
import re
import subprocess
import sys

import files

FOLDERS = ("protocol/", "transport/", "protocol/directory/", "frontend/", "backend/", "tests/support/")
FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function",
         "-Wno-unused-const-variable", "-fsyntax-only", "-x", "c", "-"]
# Headers of libraries that the build may be told to leave out.
OPTIONAL = re.compile(r"fatal error: '?((?:infiniband|rdma|microhttpd|criterion)[\w/.]*)")

# A header that refuses to be included without some macro is no interface.
TEMPLATE = re.compile(r'error: #error "?(.*must[^"\n]*)')


def compile_alone(compiler, root, build, name):
    """None when it compiles, otherwise the compiler's first lines."""
    command = compiler + ["-I" + root, "-I" + os.path.join(build, "protocol"),
                          "-I" + os.path.join(build, "protocol", "wire")] + FLAGS
    done = subprocess.run(command, input=('#include "%s"\n' % name).encode(), cwd=root,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode == 0:
        return None
    text = done.stdout.decode(errors="replace")
    if OPTIONAL.search(text):
        print("%s: left out, %s is not installed" % (name, OPTIONAL.search(text).group(1)))
        return None
    if TEMPLATE.search(text):
        print("%s: left out, a template: %s" % (name, TEMPLATE.search(text).group(1)))
        return None
    return "\n".join(text.splitlines()[:6])


def main():
    root, build = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    compiler = sys.argv[3:]
    names = [n for n in files.listed(root, ".h") if n.startswith(FOLDERS)]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda n: compile_alone(compiler, root, build, n), names)
        for name, problem in zip(names, results):
            if problem is not None:
                failed += 1
                print("%s does not compile alone:\n%s" % (name, problem))
    print("%d headers, %d do not compile alone" % (len(names), failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
