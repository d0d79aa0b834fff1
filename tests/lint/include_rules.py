#!/usr/bin/env python3
"""Checks who may include whom, and where outside libraries have their home.

usage: include_rules.py SOURCE-ROOT

The rules are the table below; each finding is one line "file:line: rule".
"""
import os
import re
import sys

import files

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
CODE = (".c", ".h")

# Headers that the build makes, by the last part of their path.
GENERATED = re.compile(r"^(cuda_api|wire_calls|be_hooks|be_dispatch|be_driver_table|fe_exports)\.h$"
                       r"|_ptx\.h$|^random_calls\.inc\.h$|\.pb-c\.h$|_golden\.h$|^(sd|fe|be|gp)_\w+\.h$")

# A folder's files never include what begins with one of these.
NEVER = {
    "protocol/base/": ("protocol/wire", "protocol/abi", "protocol/image", "protocol/cudart",
                       "transport/", "frontend/", "backend/", "cuda_api.h", "wire_calls.h"),
    "protocol/": ("transport/", "frontend/", "backend/"),
    "transport/": ("protocol/wire", "protocol/abi", "protocol/image", "protocol/cudart",
                   "frontend/", "backend/", "cuda_api.h", "wire_calls.h"),
    "protocol/directory/": ("protocol/wire", "transport/", "frontend/", "backend/"),
    "frontend/": ("backend/",),
    "backend/": ("frontend/",),
    "tests/programs/": ("protocol/", "transport/", "frontend/", "backend/"),
    "deploy/": ("protocol/", "transport/", "frontend/", "backend/"),
}

# The backend's parts; each may include itself and those before it.
BACKEND_ORDER = ["metrics", "sched", "tenant", "images", "driver", "memory", "cuda", "session", "main"]
SUPERVISOR_NEVER = ("driver", "cuda", "session", "memory")

# Library header -> the only places that may include it (tests may include anything).
HOMES = [
    (r"^infiniband/", ("transport/rdma/",)),
    (r"^openssl/", ("transport/tls/", "protocol/base/")),
    (r"^zstd\.h$", ("protocol/base/compress.c", "protocol/image/", "transport/")),
    (r"^lz4\.h$", ("protocol/base/compress.c", "protocol/image/")),
    (r"^zlib\.h$", ("backend/driver/soft/dev/unpack.c",)),
    (r"\.pb-c\.h$", ("protocol/wire/",)),
    (r"^png\.h$", ("deploy/demo/",)),
    (r"^(curl/|jansson\.h$)", ("protocol/directory/",)),
    (r"^microhttpd\.h$", ("backend/supervisor/http.c",)),
    (r"^(cuda|nvml|cuda_runtime\w*)\.h$", ("tests/",)),
]
DLOPEN_HOMES = ("backend/driver/real/", "transport/rdma/verbs.c", "tests/")

# Decisions that take time and snapshots as arguments.
PURE = ("backend/sched/", "protocol/wire/negotiate.c")
IMPURE = re.compile(r"^(pthread|threads|time|sys/(time|socket|epoll|timerfd|wait)|poll|netinet/.*)\.h$"
                    r"|^(transport/|protocol/base/clock\.h)")


class Checker:
    def __init__(self, root):
        self.root = root
        self.names = set(files.listed(root))
        self.findings = []

    def find(self, name, line, rule):
        self.findings.append("%s:%d: %s" % (name, line, rule))

    def check(self, name):
        text = files.read(self.root, name) or ""
        includes = []
        for number, line in enumerate(text.splitlines(), 1):
            m = INCLUDE.match(line)
            if m:
                includes.append((number, m.group(1), m.group(2)))
            if re.search(r"\bdlopen\s*\(", line) and not name.startswith(DLOPEN_HOMES) \
                    and not re.match(r"\s*(/?\*|//)", line):
                self.find(name, number, "dlopen has its home in %s" % DLOPEN_HOMES[0])
        for number, own, system in includes:
            self.check_include(name, number, own or system, own is not None)
        self.check_order(name, includes)

    def check_include(self, name, number, target, quoted):
        for folder, bad in NEVER.items():
            if name.startswith(folder) and quoted and target.startswith(bad):
                self.find(name, number, "%s must not include %s" % (folder, target))
        for pattern, homes in HOMES:
            if re.search(pattern, target) and not name.startswith(homes + ("tests/",)):
                self.find(name, number, "%s belongs to %s only" % (target, " ".join(homes)))
        if name.startswith(PURE) and IMPURE.search(target):
            self.find(name, number, "a pure file must not include " + target)
        if quoted:
            self.check_backend(name, number, target)
            self.check_exists(name, number, target)
            self.check_private(name, number, target)

    def check_backend(self, name, number, target):
        parts, wanted = name.split("/"), target.split("/")
        if parts[0] != "backend" or wanted[0] != "backend" or len(parts) < 3 or len(wanted) < 3:
            return
        here, there = parts[1], wanted[1]
        if here == "supervisor" and there in SUPERVISOR_NEVER:
            self.find(name, number, "the supervisor must not include backend/" + there)
        if here in BACKEND_ORDER and there in BACKEND_ORDER \
                and BACKEND_ORDER.index(there) > BACKEND_ORDER.index(here):
            self.find(name, number, "backend/%s comes before backend/%s" % (here, there))
        if target.startswith("backend/driver/soft/") != name.startswith("backend/driver/soft/"):
            self.find(name, number, "the software device is used through cu* calls only")

    def check_exists(self, name, number, target):
        beside = os.path.normpath(os.path.join(os.path.dirname(name), target))
        if target in self.names or target + ".in" in self.names:
            return
        if GENERATED.search(os.path.basename(target)):
            return
        if beside in self.names and name.startswith(("tests/", "deploy/", "bench/")):
            return
        if name.startswith("tests/") and any(n.startswith("tests/") and n.endswith("/" + target)
                                             for n in self.names):
            return
        if beside in self.names:
            self.find(name, number, '"%s" must be named from the root of the project' % target)
        elif not os.path.exists(os.path.join(self.root, target)):
            self.find(name, number, '"%s" is no file of the project' % target)

    def check_private(self, name, number, target):
        base = os.path.basename(target)
        if not base.endswith("_priv.h"):
            return
        stem = base[:-len("_priv.h")]
        own = os.path.dirname(name) == os.path.dirname(target)
        if not own and not name.startswith("tests/"):
            self.find(name, number, "%s is for %s and its test" % (target, stem))

    def is_template(self, name):
        """A header that refuses to be included without some macro is no interface."""
        return re.search(r'^#error ".*must', files.read(self.root, name) or "", re.M) is not None

    def check_order(self, name, includes):
        """Own header first, then the project's, then the system's."""
        if not name.endswith(".c") or not includes:
            return
        own = name[:-2] + ".h"
        first = includes[0][1]
        if own in self.names and not self.is_template(own) and first not in (own, os.path.basename(own)) \
                and first not in (own[:-2] + "_priv.h",):
            self.find(name, includes[0][0], "the first include must be its own header")
        system_seen = False
        for number, quoted, system in includes:
            system_seen = system_seen or system is not None
            if quoted is not None and system_seen and not is_fragment(quoted):
                self.find(name, number, "project headers come before the system's")
                return


def is_fragment(target):
    """Files that are included in the middle of code on purpose: tables and templates."""
    return not target.endswith(".h") or target.endswith((".inc.h", "_template.h", "_tmpl.h"))


def main():
    checker = Checker(os.path.abspath(sys.argv[1]))
    for name in sorted(checker.names):
        if name.endswith(CODE):
            checker.check(name)
    print("\n".join(checker.findings) or "include rules: nothing found")
    return 1 if checker.findings else 0


if __name__ == "__main__":
    sys.exit(main())
