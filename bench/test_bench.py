#!/usr/bin/env python3
"""Tests of the measuring itself: the relay, the verdicts, the reports, each workload once.

usage: test_bench.py BUILD-FOLDER
"""
import os
import socket
import sys
import tempfile
import threading
import time
import unittest
from xml.etree import ElementTree

import report
import runs
import svg
import targets

BUILD = None


class Echo:
    """A server that sends back what it gets, and ends a connection when its client does."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = "tcp://127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(peer,), daemon=True).start()

    @staticmethod
    def answer(peer):
        with peer:
            try:
                while data := peer.recv(65536):
                    peer.sendall(data)
            except OSError:
                pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)


class RelayTest(unittest.TestCase):
    def setUp(self):
        self.echo = Echo()
        self.addCleanup(self.echo.close)

    def connect(self, *options):
        process, url = runs.start_ready([BUILD.relay, "--to", self.echo.url, *options,
                                         "--exit-with-parent"])
        self.addCleanup(runs.stop, process)
        peer = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=10)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.addCleanup(peer.close)
        return peer

    def exchange(self, peer, data):
        sender = threading.Thread(target=peer.sendall, args=(data,))
        sender.start()
        back = self.take(peer, len(data))
        sender.join(10)
        return back

    @staticmethod
    def take(peer, count):
        parts = bytearray()
        while len(parts) < count and (data := peer.recv(65536)):
            parts += data
        return bytes(parts)

    def test_bytes_arrive_whole_and_the_end_after_them(self):
        data = os.urandom(3_000_001)
        peer = self.connect("--rtt", "2ms", "--buffer", "65537")
        self.assertEqual(self.exchange(peer, data), data)
        peer.sendall(b"last")
        peer.shutdown(socket.SHUT_WR)
        self.assertEqual(self.take(peer, 5), b"last")

    def test_a_round_trip_takes_at_least_what_was_asked(self):
        peer = self.connect("--rtt", "20ms")
        for _ in range(3):
            begin = time.monotonic()
            self.assertEqual(self.exchange(peer, b"ping"), b"ping")
            self.assertGreaterEqual(time.monotonic() - begin, 0.020)

    def test_delay_does_not_limit_the_rate(self):
        peer = self.connect("--rtt", "50ms")
        begin = time.monotonic()
        self.exchange(peer, bytes(8 << 20))
        # 64 KiB a round trip, as a relay that waits for its own delay would have it: 6.4 s.
        self.assertLess(time.monotonic() - begin, 5)

    def test_a_rate_is_kept(self):
        peer = self.connect("--mbit", "80")
        begin = time.monotonic()
        self.exchange(peer, bytes(1 << 20))
        self.assertGreaterEqual(time.monotonic() - begin, (1 << 20) / 10e6)

    def test_a_cut_comes_after_the_very_byte(self):
        peer = self.connect("--cut-after", "1000", "--direction", "down")
        peer.sendall(bytes(5000))
        got = 0
        with self.assertRaises(ConnectionResetError):
            while True:
                data = peer.recv(100)
                if not data:
                    break
                got += len(data)
        self.assertLessEqual(got, 1000)  # a reset may overtake what was not read yet

    def test_a_stall_is_silence_not_an_end(self):
        peer = self.connect("--stall-after", "1000", "--direction", "up")
        peer.sendall(bytes(5000))
        self.assertEqual(len(self.take(peer, 1000)), 1000)
        peer.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            peer.recv(1)


def row(side, workload, value, unit="us", rtt="0"):
    middle = {"median": value, "low": value, "high": value, "rounds": 1}
    return {"side": side, "rtt": rtt, "workload": workload, "unit": unit, **middle, "p99": middle}


def result_of(rows):
    return {"rows": rows, "round_trips": {"tls": {"decode": 3}}, "idle_worker_mib": {"tls": 1.0},
            "machine": {"cpu": "c", "cores": 2, "kernel": "k", "congestion": "reno", "load": 0.0},
            "commit": "abc", "changed": False, "buildtype": None, "date": "d", "driver": "soft",
            "instant": True, "gbit": 0.0}


class ReportTest(unittest.TestCase):
    def setUp(self):
        self.result = result_of([row("direct", "sync_launch", 1.0), row("tls", "sync_launch", 30.0),
                                 row("floor tls", "pingpong", 20.0), row("tls", "decode", 50.0),
                                 row("direct", "decode", 10.0),
                                 row("tls", "decode", 150.0, rtt="100us")])
        self.result["targets"] = targets.judge(self.result)

    def verdict(self, words):
        return {t["what"]: t["holds"] for t in self.result["targets"]}[words]

    def test_targets_hold_are_missed_or_unknown(self):
        self.assertIs(self.verdict("launch and synchronise over its floor, tls"), False)
        self.assertIs(self.verdict("round trips of a decode-like step, tls"), False)
        self.assertIs(self.verdict("idle worker's memory, tls"), True)
        self.assertIsNone(self.verdict("sustained launches of one thread, tls"))

    def test_steps_at_a_distance_are_judged_by_direct_and_the_line_each_by_its_own(self):
        rows = [row("direct", "training", 200.0), row("direct", "training_5us", 10000.0),
                row("floor tls", "pingpong", 1000.0, rtt="1ms"), row("tls", "training", 1300.0, rtt="1ms")]
        words = "%s over direct and one round trip, tls"
        instant = words % "training-like step at 1 ms"
        paced = words % "training-like step of launches of 5 us, at 1 ms,"

        def verdicts(more):
            return {t["what"]: t["holds"] for t in targets.judge(result_of([*rows, *more]))}

        self.assertIs(verdicts([])[instant], False)
        self.assertNotIn(paced, verdicts([]))
        self.assertIs(verdicts([row("tls", "training_5us", 11500.0, rtt="1ms")])[paced], True)
        self.assertIs(verdicts([row("tls", "training_5us", 11600.0, rtt="1ms")])[paced], False)

    def test_a_table_names_every_workload_and_every_verdict(self):
        text = report.table(self.result)
        for words in ("sync_launch", "decode", "MISSED", "holds", "not measured"):
            self.assertIn(words, text)

    def test_plots_are_well_formed(self):
        with tempfile.TemporaryDirectory() as folder:
            report.draw(self.result, folder)
            names = os.listdir(folder)
            self.assertIn("step-decode.svg", names)
            for name in names:
                ElementTree.parse(os.path.join(folder, name))

    def test_a_plot_without_figures_is_no_plot(self):
        self.assertEqual(svg.bars("t", "us", ["a"], ["x"], {"x": {}}), "")

    def test_a_comparison_marks_what_is_really_different(self):
        slower = result_of([row("tls", "decode", 100.0)])
        line = [text for text in report.comparison(self.result, slower).splitlines()
                if text.startswith("tls, 0, decode")][0]
        self.assertTrue(line.endswith("*") and "2.00" in line, line)


class OptionTest(unittest.TestCase):
    def test_what_cannot_be_measured_is_said_in_a_line(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as other:
            other.write("[]")
            other.flush()
            for words, said in ((["--transports", "tcp,rdma"], "tcp, tls and shm"),
                                (["--rtt", "0,soon"], "times like"),
                                (["--rounds", "0"], "at least 1"),
                                (["--compare", "/nowhere", "/nowhere"], "No such file"),
                                (["--compare", other.name, other.name], "not what --out writes")):
                done = runs.subprocess.run([sys.executable, os.path.join(runs.HERE, "run.py"), "--build",
                                            BUILD.folder, *words], text=True, capture_output=True, timeout=60)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(said, done.stderr)
                self.assertNotIn("Traceback", done.stderr)


class WorkloadTest(unittest.TestCase):
    def test_each_workload_runs_on_the_software_device(self):
        env = dict(os.environ, LD_LIBRARY_PATH=os.path.dirname(BUILD.soft), GPUPOOL_SOFT_DEVICES="2")
        lines = runs.subprocess.run([BUILD.bench, "--list"], env=env, check=True, text=True,
                                    stdout=runs.subprocess.PIPE).stdout.splitlines()
        names = [line.split()[0] for line in lines]
        alone = [n for n in names if n in ("startup", "memory")]
        together = [n for n in names if n not in alone]
        self.assertGreater(len(together), 20)
        for group in [together, *[[n] for n in alone]]:
            outcome = runs.bench(BUILD, env, group, rounds=1, seconds=0.03, timeout=120)
            self.assertIsNone(outcome.why)
            for name in group:
                self.assertGreater(outcome.figures[name].get("median", 0), 0, name)


if __name__ == "__main__":
    BUILD = runs.Build(sys.argv[1])
    runs.clean_environment()
    os.environ["GPUPOOL_SOFT_INSTANT"] = "1"
    unittest.main(argv=sys.argv[:1], verbosity=2)
