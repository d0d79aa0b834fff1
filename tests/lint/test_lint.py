#!/usr/bin/env python3
"""The checks find what they are for: each rule against a small tree that breaks it."""
import os
import subprocess
import sys
import tempfile
import unittest

COMPILER = os.environ.get("CC", "cc")
HERE = os.path.dirname(os.path.abspath(__file__))


class Tree(unittest.TestCase):
    def run_on(self, script, contents, *more):
        """The script's exit status and output on a tree of these files."""
        with tempfile.TemporaryDirectory() as root:
            for name, text in contents.items():
                path = os.path.join(root, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
            done = subprocess.run([sys.executable, os.path.join(HERE, script), root, *more],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            return done.returncode, done.stdout.decode()

    def expect(self, script, contents, text):
        status, out = self.run_on(script, contents)
        self.assertEqual(status, 1, out)
        self.assertIn(text, out)


class IncludeRules(Tree):
    def test_a_clean_tree_passes(self):
        status, out = self.run_on("include_rules.py", {
            "protocol/base/log.h": "#include <stdio.h>\n",
            "frontend/core/a.h": "",
            "frontend/core/a.c":
                '#include "frontend/core/a.h"\n\n#include "protocol/base/log.h"\n\n'
                "#include <stdlib.h>\n"})
        self.assertEqual(status, 0, out)

    def test_the_frontend_must_not_include_the_backend(self):
        self.expect("include_rules.py", {
            "backend/session/s.h": "", "frontend/core/a.c": '#include "backend/session/s.h"\n'},
            "frontend/ must not include")

    def test_transport_knows_no_wire_format(self):
        self.expect("include_rules.py", {
            "protocol/wire/w.h": "", "transport/a.c": '#include "protocol/wire/w.h"\n'},
            "transport/ must not include")

    def test_a_library_has_one_home(self):
        self.expect("include_rules.py", {"backend/main/a.c": "#include <openssl/ssl.h>\n"},
                    "belongs to")

    def test_dlopen_has_one_home(self):
        self.expect("include_rules.py", {"frontend/core/a.c": 'void *p = dlopen("x", 1);\n'},
                    "dlopen")

    def test_backend_parts_are_ordered(self):
        self.expect("include_rules.py", {
            "backend/session/s.h": "", "backend/memory/m.c": '#include "backend/session/s.h"\n'},
            "comes before")

    def test_the_supervisor_knows_no_driver(self):
        self.expect("include_rules.py", {
            "backend/driver/d.h": "", "backend/supervisor/s.c": '#include "backend/driver/d.h"\n'},
            "supervisor must not")

    def test_pure_files_have_no_clock(self):
        self.expect("include_rules.py", {"backend/sched/turn.c": "#include <time.h>\n"},
                    "pure file")

    def test_own_header_comes_first(self):
        self.expect("include_rules.py", {
            "transport/a.h": "", "transport/a.c": "#include <stdio.h>\n"}, "first include")

    def test_includes_are_named_from_the_root(self):
        self.expect("include_rules.py", {
            "transport/b.h": "", "transport/a.c": '#include "b.h"\n'}, "from the root")


class TextRules(Tree):
    def test_a_clean_file_passes(self):
        status, out = self.run_on("text_rules.py", {"a/a.c": "int a;\n"})
        self.assertEqual(status, 0, out)

    def test_long_files_are_found(self):
        self.expect("text_rules.py", {"a/a.c": "int a;\n" * 1001}, "1001 lines")

    def test_white_space_is_found(self):
        self.expect("text_rules.py", {"a/a.c": "int a; \n"}, "a.c:1: white space")

    def test_private_paths_are_found(self):
        self.expect("text_rules.py", {"a/a.md": "see " + "/home" + "/me/file\n"}, "one machine")

    def test_unfinished_work_is_found(self):
        self.expect("text_rules.py", {"a/a.c": "/* " + "TO" + "DO */\n"}, "finish it")


class HeadersAlone(Tree):
    def test_a_complete_header_passes(self):
        status, out = self.run_on("headers_alone.py", {
            "transport/a.h": "#include <stdint.h>\nuint32_t a(void);\n"}, ".", COMPILER)
        self.assertEqual(status, 0, out)

    def test_a_header_that_needs_another_is_found(self):
        status, out = self.run_on("headers_alone.py", {"transport/a.h": "uint32_t a(void);\n"},
                                  ".", COMPILER)
        self.assertEqual(status, 1, out)
        self.assertIn("transport/a.h does not compile alone", out)


if __name__ == "__main__":
    unittest.main()
