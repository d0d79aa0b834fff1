"""A pool server and its clients, as the tests in this folder start them.

Real daemon, real TLS, a port chosen by the kernel; everything ends with the test.
"""

import os
import select
import signal
import subprocess
import tempfile
import time


class Pool:
    """One gpupoold on the software device, its certificates and its clients' environment."""

    def __init__(self, build, source, scheme="tls", options=(), address="127.0.0.1", inside=(), name="localhost",
                 port="0"):
        self.build, self.source, self.scheme, self.options = build, source, scheme, options
        self.address, self.inside, self.port = address, list(inside), port
        self.folder = tempfile.TemporaryDirectory(prefix="gpupool-chaos-")
        self.certs = os.path.join(self.folder.name, "certs")
        subprocess.run([os.path.join(source, "deploy/certs.sh"), self.certs, "--server-name", address, "--server-name",
                        name], check=True, stdout=subprocess.DEVNULL)
        self.log_path = os.path.join(self.folder.name, "gpupoold.log")
        self.server = None
        self.url = ""

    def start(self):
        listen = f"{'tls' if self.scheme == 'gpupool' else self.scheme}://{self.address}:{self.port}"
        if self.scheme == "shm":
            listen = f"shm://{self.folder.name}/socket"
        read_end, write_end = os.pipe()
        command = [*self.inside, os.path.join(self.build, "backend/gpupoold"), "--driver", "soft", "--listen",
                   listen, "--ready-fd", str(write_end), "--exit-with-parent",
                   "--tls-cert", f"{self.certs}/server.crt", "--tls-key", f"{self.certs}/server.key",
                   "--tls-ca", f"{self.certs}/ca.crt", *self.options]
        with open(self.log_path, "ab") as log:
            self.server = subprocess.Popen(command, pass_fds=[write_end], stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log)
        os.close(write_end)
        with os.fdopen(read_end) as ready:
            self.url = ready.readline().strip()
        if self.scheme == "gpupool":
            self.url = self.url.replace("tls:", "gpupool:")
        if not self.url:
            raise RuntimeError("gpupoold did not start:\n" + self.log())
        return self

    def environment(self):
        env = dict(os.environ)
        env.update(GPUPOOL_SERVER=self.url, GPUPOOL_CERT=f"{self.certs}/client.crt",
                   GPUPOOL_KEY=f"{self.certs}/client.key", GPUPOOL_CA=f"{self.certs}/ca.crt",
                   LD_LIBRARY_PATH=os.path.join(self.build, "frontend/cuda"))
        return env

    def client(self, *arguments):
        return subprocess.Popen([os.path.join(self.build, "tests/chaos/soak"), *arguments],
                                env=self.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def workers(self):
        """pids of the server's children but the one that keeps images"""
        with open(f"/proc/{self.server.pid}/task/{self.server.pid}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split() if not self.keeps_images(pid)]

    @staticmethod
    def keeps_images(pid):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                return file.read().strip() == "gpupoold-images"
        except OSError:
            return False

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.server.pid}/fd"))

    def resident_kib(self):
        with open(f"/proc/{self.server.pid}/status", encoding="ascii") as file:
            return int(next(line for line in file if line.startswith("VmRSS")).split()[1])

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self):
        """SIGTERM; the exit status of an orderly end."""
        self.server.send_signal(signal.SIGTERM)
        return self.server.wait(timeout=30)

    def close(self):
        if self.server is not None and self.server.poll() is None:
            self.server.kill()
            self.server.wait()
        self.folder.cleanup()


def wait_dots(process, count, seconds=30):
    """Wait until the client finished `count` more rounds; False when it ended instead."""
    deadline = time.monotonic() + seconds
    while count > 0:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise TimeoutError("a client made no progress")
        data = os.read(process.stdout.fileno(), 65536)
        if not data:
            return False
        count -= len(data)
    return True


def finish(process, seconds):
    """(exit status, standard error) of a client that must end within `seconds`."""
    process.wait(timeout=seconds)  # its input stays open meanwhile: closing it tells soak to stop
    _, err = process.communicate()
    return process.returncode, err.decode(errors="replace")


def eventually(condition, seconds=10):
    """Polls a fact of the operating system that nothing announces (a process that ends)."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
