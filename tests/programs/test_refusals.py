#!/usr/bin/env python3
"""When there is no pool to be had, a program is told so: soon, clearly, and with an error.

usage: test_refusals.py BUILD-DIR INIT-CODE-PROGRAM [unittest arguments]

Each case runs a program whose cuInit must fail within five seconds, with a line
on standard error that names the cause, and nothing foreign on standard output.
"""
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run_both  # noqa: E402

PARTS = None
PROGRAM = None
SECONDS = 5.0
SERVER = None
WORK = None


class Listener:
    """A server that is none: accepts connections and says `answer`, or nothing."""

    def __init__(self, answer=None):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.answer = answer
        self.open = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            self.open.append(peer)
            if self.answer is not None:
                peer.sendall(self.answer)

    def close(self):
        self.socket.close()
        for peer in self.open:
            peer.close()


def closed_port():
    """A port of loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


class Refusals(unittest.TestCase):
    def init(self, **settings):
        """(cuInit's code, standard error, seconds) with these GPUPOOL_ settings."""
        env = run_both.clean_environment(WORK)
        env["LD_LIBRARY_PATH"] = os.path.dirname(PARTS.client)
        env.update({"GPUPOOL_" + k.upper(): v for k, v in settings.items()})
        outcome = run_both.run([PROGRAM], env, 30)
        self.assertEqual(outcome.status, 0, outcome.err)
        found = re.fullmatch(r"cuInit (\d+), again (\d+), cuDeviceGetCount (\d+)\n", outcome.out)
        self.assertIsNotNone(found, outcome.out)
        self.assertNotEqual(found.group(3), "0")
        self.assertEqual(found.group(1), found.group(2))
        return int(found.group(1)), outcome.err, outcome.seconds

    def refused(self, text, **settings):
        code, err, seconds = self.init(**settings)
        self.assertNotEqual(code, 0)
        self.assertLess(seconds, SECONDS + 0.5, err)
        self.assertRegex(err, "(?i)gpupool.*(%s)" % text)
        self.assertLessEqual(len(err.splitlines()), 3, err)
        return code

    def certificates(self, name="client"):
        certs = os.path.join(WORK, "certs")
        return {"cert": "%s/%s.crt" % (certs, name), "key": "%s/%s.key" % (certs, name),
                "ca": certs + "/ca.crt"}

    def test_no_server_is_configured(self):
        self.assertEqual(self.refused("server"), 100)

    def test_nobody_listens(self):
        self.refused("nobody listens", server="tls://127.0.0.1:%d" % closed_port(),
                     **self.certificates())

    def test_the_server_says_nothing(self):
        listener = Listener()
        self.addCleanup(listener.close)
        self.refused("time|answer", server="tls://127.0.0.1:%d" % listener.port,
                     **self.certificates())

    def test_the_server_speaks_another_protocol(self):
        listener = Listener(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.addCleanup(listener.close)
        self.refused("tls|protocol", server="tls://127.0.0.1:%d" % listener.port,
                     **self.certificates())

    def test_the_url_is_wrong(self):
        for url in ("gopher://127.0.0.1:1", "tls://", "tls://127.0.0.1:99999", "127.0.0.1"):
            with self.subTest(url):
                self.refused("url|scheme|port|address|transport|server", server=url,
                             **self.certificates())

    def test_plain_text_is_for_loopback_only(self):
        self.refused("loopback", server="tcp://192.0.2.1:7470")

    def test_the_certificate_is_missing(self):
        wrong = self.certificates()
        wrong["cert"] = os.path.join(WORK, "nothing.crt")
        self.refused("nothing.crt", server=SERVER.url, **wrong)

    def test_the_server_is_of_another_authority(self):
        other = os.path.join(WORK, "other")
        subprocess.run([run_both.CERTS, other], check=True)
        wrong = dict(self.certificates(), ca=other + "/ca.crt")
        self.refused("certificate|verif|authority", server=SERVER.url, **wrong)

    def test_the_client_is_of_another_authority(self):
        other = os.path.join(WORK, "stranger")
        subprocess.run([run_both.CERTS, other], check=True)
        wrong = {"cert": other + "/client.crt", "key": other + "/client.key",
                 "ca": os.path.join(WORK, "certs", "ca.crt")}
        self.refused("certificate|refus|tls", server=SERVER.url, **wrong)

    def test_with_the_right_certificate_it_works(self):
        code, err, _ = self.init_ok()
        self.assertEqual(code, 0, err)

    def init_ok(self):
        env = run_both.clean_environment(WORK)
        env["LD_LIBRARY_PATH"] = os.path.dirname(PARTS.client)
        env.update({"GPUPOOL_SERVER": SERVER.url})
        env.update({"GPUPOOL_" + k.upper(): v for k, v in self.certificates().items()})
        outcome = run_both.run([PROGRAM], env, 30)
        self.assertEqual(outcome.out, "cuInit 0, again 0, cuDeviceGetCount 0\n")
        return 0, outcome.err, outcome.seconds

    def test_settings_come_from_a_file(self):
        c = self.certificates()
        path = os.path.join(WORK, "client.ini")
        with open(path, "w", encoding="utf-8") as f:
            f.write("[client]\nserver = %s\ncert = %s\nkey = %s\nca = %s\n"
                    % (SERVER.url, c["cert"], c["key"], c["ca"]))
        code, err, _ = self.init_from_file(GPUPOOL_CONFIG=path)
        self.assertEqual(code, 0, err)

    def test_settings_come_from_the_home_folder(self):
        c = self.certificates()
        home = os.path.join(WORK, "home")
        os.makedirs(os.path.join(home, ".config", "gpupool"), exist_ok=True)
        with open(os.path.join(home, ".config", "gpupool", "client.ini"), "w",
                  encoding="utf-8") as f:
            f.write("[client]\nserver = %s\ncert = %s\nkey = %s\nca = %s\n"
                    % (SERVER.url, c["cert"], c["key"], c["ca"]))
        code, err, _ = self.init_from_file(HOME=home)
        self.assertEqual(code, 0, err)

    def init_from_file(self, **variables):
        env = dict(run_both.clean_environment(WORK), **variables)
        env.pop("XDG_CONFIG_HOME", None)
        env["LD_LIBRARY_PATH"] = os.path.dirname(PARTS.client)
        outcome = run_both.run([PROGRAM], env, 30)
        found = re.match(r"cuInit (\d+)", outcome.out)
        return int(found.group(1)) if found else -1, outcome.err, outcome.seconds


class Tool(unittest.TestCase):
    def run_tool(self, *args):
        return run_both.run([PARTS.tool] + list(args), run_both.clean_environment(WORK), 30)

    def test_a_program_that_is_not_there(self):
        outcome = self.run_tool("run", "--direct", "--", os.path.join(WORK, "no-such-program"))
        self.assertEqual(outcome.status, 127, outcome.err)
        self.assertIn("no-such-program", outcome.err)

    def test_the_programs_status_is_the_tools(self):
        outcome = self.run_tool("run", "--direct", "--", "/bin/sh", "-c", "exit 42")
        self.assertEqual(outcome.status, 42, outcome.err)

    def test_direct_runs_on_the_software_device(self):
        outcome = self.run_tool("run", "--direct", "--", PROGRAM)
        self.assertEqual(outcome.out, "cuInit 0, again 0, cuDeviceGetCount 0\n", outcome.err)

    def test_nonsense_is_refused_with_help(self):
        outcome = self.run_tool("run", "--no-such-option", "--", "/bin/true")
        self.assertNotEqual(outcome.status, 0)
        self.assertIn("no-such-option", outcome.err)


def main():
    global PARTS, PROGRAM, SERVER, WORK
    PARTS = run_both.Parts(os.path.abspath(sys.argv[1]))
    PROGRAM = os.path.abspath(sys.argv[2])
    PARTS.need("soft", "client", "daemon", "tool")
    with tempfile.TemporaryDirectory(prefix="gpupool-refusals-") as WORK:
        SERVER = run_both.Server(PARTS, WORK, run_both.clean_environment(WORK))
        try:
            done = unittest.main(argv=[sys.argv[0]] + sys.argv[3:], exit=False)
        finally:
            status = SERVER.stop()
    if status != 0:
        print("the server ended with %s:\n%s" % (status, SERVER.text()))
    return 0 if done.result.wasSuccessful() and status == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
