#!/usr/bin/env python3
"""gpupoold as a service: what systemd hears, units, Kubernetes files, as far as tools are here."""
import os
import re
import shutil
import socket
import subprocess
import sys

import pool
from pool import check


def notifies(build, source):
    lab = pool.Lab(build, source)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(lab.path("notify"))
        listener.settimeout(30)
        server = lab.server("gpu1", env={"NOTIFY_SOCKET": lab.path("notify"), "WATCHDOG_USEC": "300000"})
        heard = []
        while heard.count("WATCHDOG=1") < 4 or not any(h.startswith("READY=1") for h in heard):
            heard.append(listener.recv(4096).decode())
        check("ready once, with where", [h for h in heard if h.startswith("READY=1")] ==
              [f"READY=1\nSTATUS=serving at {server.url}"], heard)
        server.process.terminate()
        while not heard[-1].startswith("STOPPING=1"):
            heard.append(listener.recv(4096).decode())
        check("it ends", server.process.wait(timeout=30) == 0)
        listener.close()
    finally:
        lab.close()


def abstract(build, source):
    """A socket without a file, as in containers; and a watchdog that is another's."""
    lab = pool.Lab(build, source)
    try:
        name = f"gpupool-test-{os.getpid()}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind("\0" + name)
        listener.settimeout(30)
        server = lab.server("gpu1", env={"NOTIFY_SOCKET": "@" + name, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"})
        check("ready", listener.recv(4096).startswith(b"READY=1"))
        listener.settimeout(0.2)
        try:
            check("nothing else", listener.recv(4096) == b"")
        except socket.timeout:
            pass
        listener.close()
        server.stop()
    finally:
        lab.close()


def journal(build, source):
    lab = pool.Lab(build, source)
    try:
        path = lab.path("gpu1.log")
        open(path, "ab").close()
        st = os.stat(path)
        server = lab.server("gpu1", env={"JOURNAL_STREAM": f"{st.st_dev}:{st.st_ino}"})
        lab.run("drain", "--socket", server.socket)
        check("levels instead of words", re.search(r"^<6>listening on", server.log(), re.M) and
              not re.search(r"^gpupoold", server.log(), re.M), server.log())
        server.stop()
    finally:
        lab.close()


def units(build, source):
    folder = os.path.join(source, "deploy/systemd")
    if shutil.which("systemd-analyze") is None:
        print("skipped: systemd-analyze is not installed")
        return
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=25",
                           os.path.join(folder, "gpupoold.service")], capture_output=True, text=True, timeout=60)
    check("exposure is at most 2.5", done.returncode == 0, done.stdout[-300:], done.stderr)
    with open(os.path.join(folder, "gpupoold.service"), encoding="utf-8") as file:
        unit = file.read()
    lab = pool.Lab(build, source)
    try:
        # The unit's syntax, with a program that is here.
        changed = lab.write("gpupoold.service", unit.replace("/usr/sbin/gpupoold", os.path.join(build, "backend/gpupoold"))
                            .replace("Documentation=", "# "))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", changed], capture_output=True, text=True, timeout=60)
        ours = [line for line in done.stderr.splitlines() if "gpupoold.service" in line]
        check("its syntax is right", not ours, done.stderr)
    finally:
        lab.close()
    if shutil.which("systemd-sysusers"):
        done = subprocess.run(["systemd-sysusers", "--dry-run", os.path.join(folder, "gpupool.sysusers")],
                              capture_output=True, text=True, timeout=60)
        check("the user's line", done.returncode == 0, done)


def kubernetes(build, source):
    if shutil.which("kubectl") is None:
        print("skipped: kubectl is not installed (Debian package kubernetes-client)")
        return
    for folder, kinds in (("base", {"Namespace", "ConfigMap", "DaemonSet"}), ("client", {"ConfigMap", "Job"})):
        done = subprocess.run(["kubectl", "kustomize", os.path.join(source, "deploy/kubernetes", folder)],
                              capture_output=True, text=True, timeout=60)
        check(f"{folder} is made", done.returncode == 0 and
              set(re.findall(r"^kind: (\S+)", done.stdout, re.M)) == kinds, done.stdout, done.stderr)
    # What the DaemonSet's server is told, the server takes.
    lab = pool.Lab(build, source)
    try:
        with open(os.path.join(source, "deploy/kubernetes/base/server.ini"), encoding="utf-8") as file:
            text = file.read()
        text = text.replace("/etc/gpupool-tls", lab.certs).replace(":7470", ":0").replace(":9470", ":0")
        server = lab.server("node1", config=text, env={"GPUPOOLD_ADVERTISE": "tls://node1:7470"})
        check("it serves", lab.run("info", "--server", server.url.replace("tls://*", "tls://127.0.0.1"),
                                   who="alice").returncode == 0)
        server.stop()
    finally:
        lab.close()


if __name__ == "__main__":
    sys.exit(pool.main({f.__name__: f for f in (notifies, abstract, journal, units, kubernetes)}))
