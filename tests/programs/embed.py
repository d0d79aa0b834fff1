#!/usr/bin/env python3
"""Turns a text file into a C header with one string constant.

usage: embed.py NAME INPUT OUTPUT
"""
import sys


def main():
    name, source, target = sys.argv[1:4]
    with open(source, encoding="utf-8") as f:
        lines = f.read().split("\n")
    with open(target, "w", encoding="utf-8") as out:
        out.write("/* generated from %s, do not edit */\n" % source.rsplit("/", 1)[-1])
        out.write("static const char %s[] =\n" % name)
        for line in lines:
            text = line.replace("\\", "\\\\").replace('"', '\\"')
            out.write('    "%s\\n"\n' % text)
        out.write("    \"\";\n")


if __name__ == "__main__":
    main()
