#!/usr/bin/env python3
"""Compares our declarations of NVML's ABI with a real nvml.h.

usage: check_abi.py CC SOURCE_DIR [INCLUDE_DIR]

The same program prints sizes, offsets and values with either header. Exit 77 where there is none.
"""
import os
import re
import subprocess
import sys
import tempfile

CANDIDATES = ("/usr/local/cuda/include", "/usr/include", "/usr/include/nvidia")


def main():
    compiler, source = sys.argv[1].split(), sys.argv[2]
    folder = next((p for p in sys.argv[3:4] + list(CANDIDATES)
                   if os.path.exists(os.path.join(p, "nvml.h"))), None)
    if folder is None:
        print("no nvml.h is installed")
        return 77
    ours = os.path.join(os.path.abspath(source), "protocol/abi/nvml_types.h")
    with open(ours, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    text = re.sub(r"union \{.*?\}", "union", text, flags=re.S)
    with open(os.path.join(folder, "nvml.h"), encoding="utf-8") as file:
        real = file.read()
    lines = []
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", text, flags=re.S):
        if not re.search(r"\b%s\b" % name, real):
            continue
        lines.append('printf("%s %%zu\\n", sizeof(%s));' % (name, name))
        for declaration in body.split(";"):
            for field in re.findall(r"(\w+)(?:\[\w+\])?\s*(?:,|$)", declaration.strip()):
                lines.append('printf("%s.%s %%zu\\n", offsetof(%s, %s));' % (name, field, name, field))
    for name in re.findall(r"\b(NVML_[A-Z0-9_]+)(?:\s*=|,)", text):
        if re.search(r"\b%s\b" % name, real):
            lines.append('printf("%s %%d\\n", (int)%s);' % (name, name))
    program = "#include <stddef.h>\n#include <stdio.h>\n#include HEADER\nint main(void) {\n%s\nreturn 0; }\n"
    printed = []
    with tempfile.TemporaryDirectory() as work:
        c = os.path.join(work, "abi.c")
        with open(c, "w", encoding="utf-8") as file:
            file.write(program % "\n".join(lines))
        for header in (ours, os.path.join(folder, "nvml.h")):
            exe = os.path.join(work, "abi")
            subprocess.run(compiler + ['-DHEADER="%s"' % header, c, "-o", exe], check=True)
            printed.append(subprocess.run([exe], check=True, stdout=subprocess.PIPE).stdout.decode().splitlines())
    different = [a + "  real: " + b for a, b in zip(*printed) if a != b]
    print("\n".join(different) or "%d declarations agree" % len(printed[0]))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
