"""A real etcd for tests: one member or three, TLS, client certificates, a folder of its own."""
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import base64
import urllib.error
import urllib.request

from pool import check, eventually

PROGRAM = shutil.which("etcd")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Etcd:
    def __init__(self, lab, members=1):
        self.lab, self.members = lab, members
        subprocess.run([os.path.join(lab.source, "deploy/certs.sh"), lab.certs, "--etcd", "member", "--etcd", "client",
                        "--tenant", "alice"], check=True, stdout=subprocess.DEVNULL)
        ports = free_ports(2 * members)
        self.clients, self.peers = ports[:members], ports[members:]
        self.processes = [None] * members
        self.context = ssl.create_default_context(cafile=f"{lab.certs}/ca.crt")
        self.context.load_cert_chain(f"{lab.certs}/etcd-client.crt", f"{lab.certs}/etcd-client.key")

    def urls(self):
        return ",".join(f"https://127.0.0.1:{p}" for p in self.clients)

    def start(self, *which):
        for i in which or range(self.members):
            name = f"m{i}"
            cluster = ",".join(f"m{k}=http://127.0.0.1:{p}" for k, p in enumerate(self.peers))
            certs = self.lab.certs
            with open(self.lab.path(name + ".log"), "ab") as log:
                self.processes[i] = subprocess.Popen(
                    [PROGRAM, "--name", name, "--data-dir", self.lab.path(name), "--listen-client-urls",
                     f"https://127.0.0.1:{self.clients[i]}", "--advertise-client-urls",
                     f"https://127.0.0.1:{self.clients[i]}", "--listen-peer-urls", f"http://127.0.0.1:{self.peers[i]}",
                     "--initial-advertise-peer-urls", f"http://127.0.0.1:{self.peers[i]}", "--initial-cluster", cluster,
                     "--client-cert-auth", "--trusted-ca-file", f"{certs}/ca.crt", "--cert-file",
                     f"{certs}/etcd-member.crt", "--key-file", f"{certs}/etcd-member.key"],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        check("etcd serves", eventually(self.healthy, 30))
        return self

    def ask(self, path, body, token=None, member=0, timeout=10):
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = token
        request = urllib.request.Request(f"https://127.0.0.1:{self.clients[member]}/v3{path}",
                                         json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, context=self.context, timeout=timeout) as answer:
            return json.loads(answer.read())

    def healthy(self):
        try:
            self.ask("/kv/put", {"key": "eA==", "value": "eA=="}, timeout=2)
            return True
        except urllib.error.HTTPError as problem:
            return problem.code in (400, 401, 403)  # it wants a token
        except OSError:
            return False

    def entries(self, token=None, member=0):
        """What is registered: {key below the prefix: value}"""
        encode = lambda text: base64.b64encode(text.encode()).decode()
        answer = self.ask("/kv/range", {"key": encode("/gpupool/v1/"), "range_end": encode("/gpupool/v10"),
                                        "serializable": True}, token, member)
        return {base64.b64decode(kv["key"]).decode()[len("/gpupool/v1/"):]: json.loads(base64.b64decode(kv["value"]))
                for kv in answer.get("kvs", [])}

    def stop(self, *which):
        for i in which or range(self.members):
            if self.processes[i] is not None:
                self.processes[i].send_signal(signal.SIGKILL)
                self.processes[i].wait()
                self.processes[i] = None

    def options(self, ttl="3s"):
        certs = self.lab.certs
        return ["--etcd", self.urls(), "--etcd-ca", f"{certs}/ca.crt", "--etcd-cert", f"{certs}/etcd-client.crt",
                "--etcd-key", f"{certs}/etcd-client.key", "--etcd-ttl", ttl]

    def environment(self):
        certs = self.lab.certs
        return {"GPUPOOL_ETCD": self.urls(), "GPUPOOL_ETCD_CA": f"{certs}/ca.crt",
                "GPUPOOL_ETCD_CERT": f"{certs}/etcd-client.crt", "GPUPOOL_ETCD_KEY": f"{certs}/etcd-client.key"}
