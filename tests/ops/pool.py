"""Servers, operators and clients for the tests of this folder: real daemons, real TLS."""
import json
import os
import subprocess
import sys
import tempfile
import time


class Failed(Exception):
    pass


def check(what, ok, *details):
    if not ok:
        raise Failed(what + "".join("\n  " + str(d) for d in details))


def eventually(condition, seconds=20):
    """Polls a fact that nothing announces."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(0.02)


def sanitized(build):
    """Whether the software device of this build is many times slower than it is."""
    with open(os.path.join(build, "meson-info/intro-buildoptions.json"), encoding="utf-8") as file:
        return any(o["name"] == "b_sanitize" and o["value"] not in ("none", []) for o in json.load(file))


class Lab:
    """A folder with certificates, servers and what they need; all gone at the end."""

    def __init__(self, build, source, tenants=("alice", "bob", "ops")):
        self.build, self.source = build, source
        self.folder = tempfile.TemporaryDirectory(prefix="gpupool-ops-")
        self.certs = self.path("certs")
        self.tool = os.path.join(build, "frontend/tool/gpupool")
        self.servers = []
        command = [os.path.join(source, "deploy/certs.sh"), self.certs]
        for tenant in tenants:
            command += ["--tenant", tenant]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def server(self, name, *options, config="", env=None):
        server = Server(self, name, options, config, env or {})
        self.servers.append(server)
        return server.start()

    def environment(self, who=None, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("GPUPOOL")}
        env["HOME"] = self.folder.name
        if who:
            env.update(GPUPOOL_CERT=f"{self.certs}/{who}.crt", GPUPOOL_KEY=f"{self.certs}/{who}.key",
                       GPUPOOL_CA=f"{self.certs}/ca.crt")
        env.update(more)
        return env

    def run(self, *arguments, who=None, timeout=60, **env):
        return subprocess.run([self.tool, *arguments], env=self.environment(who, **env), text=True,
                              capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)

    def json(self, *arguments, who=None, **env):
        done = self.run(*arguments, "-o", "json", who=who, **env)
        check(f"{arguments} succeeds", done.returncode == 0, done)
        return json.loads(done.stdout)

    def soak(self, who, url, *arguments):
        """A program on the pool that works until its input is closed."""
        env = self.environment(who, GPUPOOL_SERVER=url,
                               LD_LIBRARY_PATH=os.path.join(self.build, "frontend/cuda"))
        return subprocess.Popen([os.path.join(self.build, "tests/chaos/soak"), *arguments], env=env,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def close(self):
        for server in self.servers:
            server.kill()
        self.folder.cleanup()


class Server:
    def __init__(self, lab, name, options, config, env):
        self.lab, self.name, self.options, self.env = lab, name, options, env
        self.config = lab.write(name + ".ini", config)
        self.socket = lab.path(name + ".sock")
        self.log_path = lab.path(name + ".log")
        self.process, self.url = None, ""

    def start(self, *more):
        lab = self.lab
        read_end, write_end = os.pipe()
        command = [os.path.join(lab.build, "backend/gpupoold"), "--driver", "soft", "--name", self.name,
                   "--ready-fd", str(write_end), "--exit-with-parent", "--config", self.config,
                   "--admin-socket", self.socket, "--tls-cert", f"{lab.certs}/server.crt", "--tls-key",
                   f"{lab.certs}/server.key", "--tls-ca", f"{lab.certs}/ca.crt", *self.options, *more]
        if not any(o.startswith("--listen") for o in command):
            command.append("--listen=tls://127.0.0.1:0")
        env = dict(os.environ)
        env.update(self.env)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, pass_fds=[write_end], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=env)
        os.close(write_end)
        with os.fdopen(read_end) as ready:
            self.url = ready.readline().strip()
        check("the server starts", self.url != "", self.log())
        return self

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self):
        self.process.terminate()
        code = self.process.wait(timeout=40)
        check("the server ends with 0", code == 0, self.log())
        check("no sanitizer found anything", "Sanitizer" not in self.log() and "runtime error" not in self.log(),
              self.log())

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def main(tests):
    """usage: TEST BUILD SOURCE [NAME]...; runs the named functions, or all."""
    build, source, names = sys.argv[1], sys.argv[2], sys.argv[3:]
    failed = 0
    for name, test in tests.items():
        if names and name not in names:
            continue
        try:
            test(os.path.abspath(build), os.path.abspath(source))
            print(f"ok {name}")
        except Failed as problem:
            failed += 1
            print(f"FAILED {name}: {problem}")
    return 1 if failed else 0
