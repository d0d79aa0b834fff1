#!/usr/bin/env python3
"""Compares our declarations of the CUDA ABI with a real cuda.h.

check_abi.py CC SOURCE_DIR CUDA_API_H [CUDA_INCLUDE_DIR]

Every prototype (by redeclaring it behind the real header), every enumerator and constant, and
the size and each field's offset of every structure. Exit 77 where no cuda.h is installed.
"""

import os
import re
import subprocess
import sys
import tempfile

HEADERS = ("errors.h", "enums_device.h", "enums_graph.h", "constants.h", "structs.h", "structs_more.h")
CANDIDATES = (os.environ.get("CUDA_HOME", "") + "/include", "/usr/local/cuda/include", "/usr/include")
# Guards of our type headers: with these set, cuda_api.h meets the real types.
GUARDS = ("GP_ABI_CUDA_TYPES_H",)


def find_cuda(argv):
    for path in argv[4:5] + list(CANDIDATES):
        if os.path.exists(os.path.join(path, "cuda.h")):
            return path
    return None


def strip_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def read_headers(source):
    texts = []
    for name in HEADERS:
        with open(os.path.join(source, "protocol/abi", name), encoding="utf-8") as file:
            texts.append(strip_comments(file.read()))
    return "\n".join(texts)


def enumerators(text):
    names = []
    for body in re.findall(r"enum\s+\w*\s*\{(.*?)\}", text, flags=re.S):
        names += re.findall(r"\b(CU\w+|cud\w+)\s*(?:=|,|$)", body)
    constants = re.findall(r"#define\s+(CU\w+)\s+[-(0-9]\S*$", text, flags=re.M)
    constants += re.findall(r"#define\s+(CU\w+)\s+CU_LAUNCH_ATTRIBUTE", text)
    return sorted(set(names)), sorted(set(c for c in constants if "PTR" not in c))


def struct_fields(body):
    """Dotted paths of all named fields, anonymous unions and structs included."""
    paths, stack, token = [], [], ""
    for char in body:
        if char == "{":
            stack.append(len(paths))
            token = ""
        elif char == "}":
            token = "}"
        elif char == ";":
            names = re.findall(r"(\w+)\s*(?:\[\w+\]\s*)*$", token.replace("}", "").strip())
            closing = token.startswith("}")
            inner = stack.pop() if closing else None
            if closing and names:
                paths[inner:] = [f"{names[0]}.{p}" for p in paths[inner:]] + [names[0]]
            elif names and not closing:
                paths.append(names[0])
            token = ""
        else:
            token += char
    return paths


def structures(text):
    """{typedef name: [paths]} for each struct and union that has a body."""
    found = {}
    for match in re.finditer(r"typedef\s+(?:struct|union)\s+\w*\s*\{", text):
        depth, at = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        name = re.match(r"\s*(\w+)\s*;", text[at:])
        if name:
            found[name.group(1)] = struct_fields(text[match.end():at - 1])
    return found


def probe_source(include, names, constants, structs):
    out = [include, "#include <stdio.h>\n#include <stddef.h>\nint main(void)\n{\n"]
    out += [f'    printf("enum {n} %lld\\n", (long long){n});\n' for n in names]
    out += [f'    printf("const {n} %lld\\n", (long long)(size_t)({n}));\n' for n in constants]
    for name, paths in sorted(structs.items()):
        out.append(f'    printf("struct {name} %zu\\n", sizeof({name}));\n')
        out += [f'    printf("field {name}.{p} %zu %zu\\n", offsetof({name}, {p}), sizeof((({name} *)0)->{p}));\n'
                for p in paths]
    out.append("    return 0;\n}\n")
    return "".join(out)


def run_probe(compiler, folder, name, source, includes):
    path = os.path.join(folder, name)
    with open(path + ".c", "w", encoding="utf-8") as file:
        file.write(source)
    subprocess.run([*compiler, "-std=gnu17", "-w", *includes, path + ".c", "-o", path], check=True)
    return subprocess.run([path], check=True, capture_output=True, text=True).stdout.splitlines()


def check_prototypes(compiler, folder, source, api, cuda):
    text = "#define __CUDA_API_VERSION_INTERNAL 1\n#include <cuda.h>\n#include <cudaProfiler.h>\n"
    text += "".join(f"#define {guard}\n" for guard in GUARDS) + f'#include "{api}"\n'
    path = os.path.join(folder, "prototypes.c")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    done = subprocess.run([*compiler, "-std=gnu17", "-fsyntax-only", f"-I{cuda}", f"-I{source}", path],
                          capture_output=True, text=True)
    return done.stderr.splitlines() if done.returncode else []


def main(argv):
    compiler, source, api = argv[1].split(), argv[2], os.path.abspath(argv[3])
    cuda = find_cuda(argv)
    if cuda is None:
        print("skipped: no cuda.h is installed")
        return 77
    text = read_headers(source)
    names, constants = enumerators(text)
    structs = structures(text)
    with tempfile.TemporaryDirectory() as folder:
        ours = run_probe(compiler, folder, "ours", probe_source(
            '#include "protocol/abi/cuda_types.h"\n', names, constants, structs), [f"-I{source}"])
        theirs = run_probe(compiler, folder, "theirs", probe_source(
            "#define __CUDA_API_VERSION_INTERNAL 1\n#include <cuda.h>\n#include <cudaProfiler.h>\n", names, constants, structs), [f"-I{cuda}"])
        faults = [f"ours {a}, real {b}" for a, b in zip(ours, theirs) if a != b]
        faults += check_prototypes(compiler, folder, source, api, cuda)
    prototypes = len(re.findall(r"^CUresult cu", open(api, encoding="utf-8").read(), flags=re.M))
    print(f"{len(names)} enumerators, {len(constants)} constants, {len(structs)} structures, "
          f"{len(ours) - len(names) - len(constants) - len(structs)} fields, {prototypes} prototypes against {cuda}")
    for fault in faults:
        print(fault, file=sys.stderr)
    if len(names) < 850 or len(structs) < 80 or prototypes < 600:
        print("too little was compared: the parser of this test lost its way", file=sys.stderr)
        return 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
