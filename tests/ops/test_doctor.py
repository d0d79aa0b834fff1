#!/usr/bin/env python3
"""gpupool doctor finds planted faults and names the remedy; gpupool certs; manual pages, completion."""
import os
import re
import shutil
import socket
import subprocess
import sys
import time

import pool
from pool import check


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def signed(lab, name, days, *, ca="certs", cn="alice", usage="clientAuth", san="URI:gpupool:tenant/alice"):
    """A certificate of our own, so that it can be wrong."""
    path, authority = lab.path(name), lab.path(ca)
    extensions = lab.write(name + ".ext", f"basicConstraints=CA:FALSE\nextendedKeyUsage={usage}\nsubjectAltName={san}\n")
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path + ".key",
            "-subj", f"/CN={cn}", "-out", path + ".csr")
    command = ["x509", "-req", "-in", path + ".csr", "-CA", authority + "/ca.crt", "-CAkey", authority + "/ca.key",
               "-set_serial", str(abs(hash(name))), "-extfile", extensions, "-out", path + ".crt"]
    openssl(*command, "-days", str(days))
    return path


def faults(build, source):
    lab = pool.Lab(build, source)
    try:
        expired, made = signed(lab, "expired", 0), time.time()
        server = lab.server("gpu1", config='[tenant "research"]\nmatch = cn:alice\n')
        old = lab.server("gpu2", "--wire-format", "99")
        subprocess.run([os.path.join(source, "deploy/certs.sh"), lab.path("other"), "--tenant", "alice"], check=True,
                       stdout=subprocess.DEVNULL)
        strange = subprocess.run([os.path.join(build, "backend/gpupoold"), "--help"], capture_output=True, check=True)
        check("the daemon is there", strange.stdout)
        foreign = pool.Server(lab, "gpu3", (), "", {})
        lab.servers.append(foreign)
        foreign.start("--tls-cert", lab.path("other/server.crt"), "--tls-key", lab.path("other/server.key"))
        usage = signed(lab, "usage", 5, usage="serverAuth")
        other_ca = lab.path("other/alice")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            closed = f"tls://127.0.0.1:{probe.getsockname()[1]}"
        broken = lab.write("broken.ini", "[client]\nserver = tls://a:1\nspeed = high\n")
        open_key = lab.path("open.key")
        shutil.copy(lab.path("certs/alice.key"), open_key)
        os.chmod(open_key, 0o644)
        secret = lab.path("secret.key")
        openssl("pkey", "-in", lab.path("certs/alice.key"), "-aes256", "-passout", "pass:x", "-out", secret)
        good = {"GPUPOOL_SERVER": server.url}

        def planted(what, says, remedy, code=1, marks=1, arguments=(), **env):
            done = lab.run("doctor", *arguments, who="alice", **{**good, **env})
            found = re.findall(r"^FAULT .*", done.stdout, re.M)
            check(f"{what}: {says}", done.returncode == code and says in done.stdout and remedy in done.stdout and
                  len(found) == (marks if code else 0), done.stdout, done.stderr)

        pool.eventually(lambda: time.time() > made + 1)  # whole seconds, the certificate's
        planted("nothing", "0 faults", "", code=0)
        check("and leaves no session that waits for it", pool.eventually(
            lambda: lab.json("get", "sessions", "--socket", server.socket) == []), server.log())
        planted("no server", "no server is named", "GPUPOOL_SERVER", GPUPOOL_SERVER="")
        planted("a directory", "the directory knows", "", code=0, GPUPOOL_SERVER="", GPUPOOL_ETCD="https://127.0.0.1:1")
        planted("a bad setting", "broken.ini:3", "correct that line", GPUPOOL_CONFIG=broken)
        planted("no certificate", "/nonexistent.crt: no such file", "GPUPOOL_CERT", GPUPOOL_CERT="/nonexistent.crt")
        planted("no certificate for the best lane", "/nonexistent.crt: no such file", "GPUPOOL_CERT",
                GPUPOOL_CERT="/nonexistent.crt", GPUPOOL_SERVER=server.url.replace("tls:", "gpupool:"))
        planted("an expired one", "expired", "get a new one", GPUPOOL_CERT=expired + ".crt", GPUPOOL_KEY=expired + ".key")
        planted("another use", "not made for clients", "clientAuth", GPUPOOL_CERT=usage + ".crt",
                GPUPOOL_KEY=usage + ".key")
        planted("another's key", "does not belong", "made together", GPUPOOL_KEY=lab.path("certs/bob.key"))
        planted("a key behind a password", "no key that can be read", "no password", GPUPOOL_KEY=secret)
        planted("a key for all to read", "others can read", "chmod 600", code=0, GPUPOOL_KEY=open_key)
        planted("a server's certificate as authority", "no authority's", "who signs servers",
                GPUPOOL_CA=lab.path("certs/server.crt"))
        planted("an unknown name", "nowhere.invalid", "DNS", GPUPOOL_SERVER="tls://nowhere.invalid:7470")
        planted("a closed port", "nobody listens", "systemctl start gpupoold", GPUPOOL_SERVER=closed)
        planted("a foreign server", "not signed by our CA", "signed by your ca", GPUPOOL_SERVER=foreign.url)
        planted("another name", "localhost", "0 faults", code=0,
                GPUPOOL_SERVER=server.url.replace("127.0.0.1", "localhost"))
        planted("an authority that the server does not know", "FAULT server", "tls-ca", GPUPOOL_CERT=other_ca + ".crt",
                GPUPOOL_KEY=other_ca + ".key")
        planted("no tenant", "belongs to no tenant", "[tenant]", GPUPOOL_CERT=lab.path("certs/bob.crt"),
                GPUPOOL_KEY=lab.path("certs/bob.key"))
        planted("another version", "this side 99", "same version", GPUPOOL_SERVER=old.url)
        planted("plain TCP to elsewhere", "plain TCP", "use tls://", marks=2, GPUPOOL_SERVER="tcp://192.0.2.1:1")
        for url, words in ((server.url, "tls, TLSv1.3, TLS_AES"),
                           (server.url.replace("tls:", "gpupool:"), "shm, not encrypted, opened by TLSv1.3")):
            done = lab.run("info", "--server", url, who="alice", GPUPOOL_STATS="json")
            check("info works", "cipher" in done.stderr, done)
            told = re.search(r'"cipher": "(.*?)"', done.stderr).group(1)
            check("who encrypts is told as it is", words in done.stdout and told.startswith("TLS_AES") == ("shm" not in words),
                  done.stdout, done.stderr)
        lab.run("drain", "--socket", server.socket)
        if not os.path.exists("/dev/infiniband"):
            planted("RDMA without a device", "no RDMA device", "use gpupool://",
                    GPUPOOL_SERVER=server.url.replace("tls:", "rdma:"))
        planted("a drained server", "drains it", "come back later")
        done = subprocess.run(["sh", "-c", f'ulimit -l 64; exec "{lab.tool}" doctor --infiniband /dev'], text=True,
                              capture_output=True, timeout=60, env=lab.environment("alice", GPUPOOL_SERVER=server.url))
        check("little memory may be locked", done.returncode == 1 and "only 64 KiB" in done.stdout and
              "memlock unlimited" in done.stdout, done)
    finally:
        lab.close()


def certs(build, source):
    lab = pool.Lab(build, source)
    try:
        folder = lab.path("lab")
        done = lab.run("certs", folder, "--tenant", "carol", "--server-name", "gpu9.example", PATH=os.environ["PATH"])
        check("made", done.returncode == 0 and os.path.exists(folder + "/carol.key"), done)
        shown = subprocess.run(["openssl", "x509", "-in", folder + "/server.crt", "-noout", "-ext", "subjectAltName"],
                               capture_output=True, text=True, check=True)
        check("for the server's name", "gpu9.example" in shown.stdout, shown)
        check("its help", lab.run("certs", "--help").returncode == 0)
        check("wrong use", lab.run("certs").returncode == 2)
    finally:
        lab.close()


def pages(build, source):
    lab = pool.Lab(build, source)
    try:
        gpupoold = os.path.join(build, "backend/gpupoold")
        manuals = {"gpupool.1": lab.run("man").stdout,
                   "gpupoold.8": subprocess.run([gpupoold, "--print", "man"], capture_output=True, text=True,
                                                check=True).stdout}
        for command in ("run", "get", "describe", "top", "report", "drain", "kick", "quota", "doctor", "certs"):
            check(f"{command} is in the manual", f".SS gpupool {command}\n" in manuals["gpupool.1"], manuals["gpupool.1"])
        with open(os.path.join(source, "frontend/core/config.c"), encoding="ascii") as file:
            settings = re.findall(r'^    {"([a-z-]+)", ', file.read(), re.M)
        with open(os.path.join(source, "frontend/core/perf.c"), encoding="ascii") as file:
            settings += re.findall(r'{"(no_[a-z_]+)", ', file.read())
        page = manuals["gpupool.1"].replace(r"\-", "-")
        for word in [*settings, "memory", "GPUPOOL_STATS", "GPUPOOL_TRACE", "CUDA_VISIBLE_DEVICES"]:
            check(f"{word} is in the manual", re.search(rf"^#?{word} = |\b{word}\b", page, re.M), page)
        check("all of them", len(settings) > 30, settings)
        check("options are in the manual", r"\-\-listen" in manuals["gpupoold.8"] and "(internal)" not in
              manuals["gpupoold.8"])
        for name, text in manuals.items():
            if shutil.which("mandoc") is None:
                print("not linted, mandoc is not installed:", name)
                continue
            lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning"], input=text, capture_output=True, text=True, check=False)
            check(f"{name} is well-formed", [line for line in lint.stdout.splitlines() if "missing date" not in line] == [],
                  lint.stdout)
        example = subprocess.run([gpupoold, "--print", "example"], capture_output=True, text=True, check=True).stdout
        # Every setting that has a value of its own is one that the daemon takes.
        live = re.sub(r"^#(?=[a-z-]+ = \S)", "", example, flags=re.M)
        live = re.sub(r'^#(?=\[tenant)', "", live, flags=re.M).replace("[tenant", "[tenant", 1)
        live += "match = cn:alice\n"
        path = lab.write("example.ini", live.replace("tls://*:7470", "tcp://127.0.0.1:0").replace("driver = auto", "driver = soft"))
        done = subprocess.run([gpupoold, "--config", path, "--print", "reference"], capture_output=True, text=True, check=False)
        check("the reference", done.returncode == 0 and "| `--listen URL`" in done.stdout, done)
        server = lab.server("gpu1", config=open(path, encoding="utf-8").read())
        check("the example is a configuration", lab.json("get", "tenants", "--socket", server.socket)[0]["tenant"] == "NAME")
        server.stop()
    finally:
        lab.close()


def completion(build, source):
    lab = pool.Lab(build, source)
    try:
        server = lab.server("gpu1", config='[server]\nadmin = cn:ops\n[tenant "research"]\nmatch = cn:alice\n')
        client = lab.soak("alice", server.url, "0")
        check("the program works", client.stdout.read(1) == b".", client)
        script = os.path.join(source, "deploy/completion/gpupool")
        path = os.path.dirname(lab.tool) + ":" + os.environ["PATH"]

        def complete(*words):
            line = " ".join(f'"{w}"' for w in words)
            done = subprocess.run(["bash", "-c", f'. {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; '
                                   '_gpupool; printf "%s\\n" "${COMPREPLY[@]}"'], text=True, capture_output=True,
                                  timeout=60, env=lab.environment("ops", GPUPOOL_SERVER=server.url, PATH=path))
            return done.stdout.split()
        check("commands", {"get", "doctor", "run", "certs"} <= set(complete("gpupool", "")), complete("gpupool", ""))
        check("nothing but commands", {"server", "gpupool"}.isdisjoint(complete("gpupool", "")), complete("gpupool", ""))
        check("kinds", complete("gpupool", "get", "s") == ["servers", "sessions"])
        check("options", "--interval" in complete("gpupool", "get", "gpus", "--int"))
        check("formats", complete("gpupool", "get", "gpus", "-o", "") == ["table", "wide", "json", "yaml"])
        check("values", complete("gpupool", "run", "--prefer", "only") == ["only-onprem", "only-cloud"])
        check("files", "test_doctor.py" in " ".join(complete("gpupool", "run", "--servers-file", __file__[:-3])))
        ids = [session["id"] for session in lab.json("get", "sessions", "--socket", server.socket)]
        check("sessions", len(ids) == 1 and complete("gpupool", "describe", "session", "") == ids and
              complete("gpupool", "kick", "") == ids, ids)
        for kind, name in (("server", "gpu1"), ("tenant", "research"), ("gpu", "GPU-")):
            known = complete("gpupool", "describe", kind, "")
            check(f"each {kind}", len(known) == 1 and known[0].startswith(name), known)
        client.stdin.close()
        client.wait(timeout=60)
        check("programs", "true" in complete("gpupool", "run", "--", "tru"))
        server.stop()
    finally:
        lab.close()


if __name__ == "__main__":
    sys.exit(pool.main({f.__name__: f for f in (faults, certs, pages, completion)}))
