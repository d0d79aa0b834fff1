#!/usr/bin/env python3
"""Generator of everything that follows from the call descriptions.

gen.py --emit KIND --out FILE SPEC...   write one generated file
gen.py --check-ids LOCK SPEC...         fail if an id or a locked shape changed
gen.py --lock LOCK SPEC...              write the lock anew (before a release only)
"""

import argparse
import sys

import emit_api
import emit_calls
import emit_wire
import lock
from spec import Loader, SpecError

EMITTERS = {
    "api-header": emit_api.api_header,
    "version-script": emit_api.version_script,
    "proc-table": emit_api.proc_table,
    "soft-exports": emit_api.soft_exports,
    "driver-header": emit_api.driver_header,
    "driver-source": emit_api.driver_source,
    "reference": emit_api.reference,
    "wire-header": emit_wire.header,
    "wire-source": emit_wire.source,
    "client-exports": emit_calls.client_exports,
    "hooks-header": emit_calls.hooks_header,
    "dispatch-source": emit_calls.dispatch_source,
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--emit", choices=sorted(EMITTERS))
    parser.add_argument("--out")
    parser.add_argument("--check-ids", metavar="LOCK")
    parser.add_argument("--lock", metavar="LOCK")
    parser.add_argument("specs", nargs="+")
    return parser.parse_args()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def main():
    args = arguments()
    try:
        spec = Loader().load(args.specs)
        if args.emit:
            write(args.out, EMITTERS[args.emit](spec))
    except SpecError as error:
        print(error, file=sys.stderr)
        return 1
    if args.lock:
        write(args.lock, lock.render(spec))
    if args.check_ids:
        faults = list(lock.check(spec, args.check_ids))
        for fault in faults:
            print(fault, file=sys.stderr)
        return 1 if faults else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
