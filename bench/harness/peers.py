# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured: no mesh, ringwall with its switches, and pairs of other proxies that do the same job.

Every pair carries TCP from the client pod to the server pod over TLS 1.3 with P-256 certificates on both sides and
AES-256-GCM (Envoy: AES-128-GCM, see others.py). The pairs run inside the pods, as sidecars: the client's listens on the pod's loopback, the server's on the
pod's address; so all of them have the same hops, a loopback on each side and the two bridges between. Each process has a
cgroup of its own, by which the kernel accounts its CPU time.
"""

import os
import pathlib
import shutil
import signal
import socket

from lab import ROOT, Lab, LabError, eventually, inside, sh

APP_PORT, APP_PORT_REDIRECTED, HBONE_PORT = 9000, 9001, 15008
SWITCHED = ("bulk-1", "bulk-1-down", "bulk-64", "rr-1024-5k", "connect")  # where ringwall's variants are measured


class Process:
    """A proxy process (and its children) in a cgroup of its own."""

    def __init__(self, lab, name, netns, command, cwd=None, env=None):
        self.name, self.cgroup = name, lab.cgroup / f"peer-{name}"
        self.cgroup.mkdir(exist_ok=True)

        def enter():
            (self.cgroup / "cgroup.procs").write_text(str(os.getpid()))

        self.log = lab.dir / f"{name}.log"
        with open(self.log, "ab") as log:
            self.child = lab.popen(["nsenter", f"--net={netns}", "--", *command], preexec_fn=enter, stdout=log, stderr=log, cwd=cwd,
                                   env={**os.environ, **(env or {})})

    def stop(self):
        for pid in self.pids():
            with_pid(os.kill, pid, signal.SIGTERM)
        self.child.wait(20)

    def pids(self):
        return [int(p) for p in (self.cgroup / "cgroup.procs").read_text().split()]


def with_pid(call, *arguments):
    try:
        return call(*arguments)
    except (ProcessLookupError, FileNotFoundError):
        return None


def cpu_seconds(cgroup):
    for line in (cgroup / "cpu.stat").read_text().splitlines():
        if line.startswith("usage_usec"):
            return int(line.split()[1]) / 1e6
    raise LabError(f"{cgroup}/cpu.stat has no usage")


def rss_bytes(cgroup):
    total = 0
    for pid in (cgroup / "cgroup.procs").read_text().split():
        text = with_pid(pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text) or ""
        total += sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Rss:"))
    return total


def listens(netns, address, port):
    with inside(netns), socket.socket(socket.AF_INET if ":" not in address else socket.AF_INET6) as s:
        s.settimeout(1)
        return s.connect_ex((address, port)) == 0


class Peer:
    """`client` is the pod that the load comes from, `target` where it goes to; `sides` are the cgroups that are accounted."""

    name = ""
    order = 0

    def __init__(self, mesh):
        self.mesh = mesh
        self.processes = []

    def missing(self):
        """Why this peer cannot be measured on this machine, or None."""
        return None

    def start(self):
        pass

    def stop(self):
        for process in reversed(self.processes):
            process.stop()
        self.processes = []

    @property
    def client(self):
        return self.mesh.plain_client

    @property
    def server(self):
        return self.mesh.plain_server

    @property
    def target(self):
        return f"{self.server.ip}:{APP_PORT}"

    @property
    def sides(self):
        return {p.name: p.cgroup for p in self.processes}

    idle_max = 100000

    def without(self, scenario):
        """Why this peer cannot take part in this scenario, or None."""
        return None

    def pids(self):
        return [int(pid) for cgroup in self.sides.values() for pid in (cgroup / "cgroup.procs").read_text().split()]

    @property
    def handshakes(self):
        """Where a server shakes hands, from which pod, and the client's chain, key and roots for it; None: nowhere."""
        return None

    def cpu(self):
        return {name: cpu_seconds(cgroup) for name, cgroup in self.sides.items()}

    def rss(self):
        return {name: rss_bytes(cgroup) for name, cgroup in self.sides.items()}


class NoMesh(Peer):
    name = "none"


class Ringwall(Peer):
    """The mesh's own daemons; `config` are lines of the node file that differ from the defaults."""

    def __init__(self, mesh, name="ringwall", **config):
        super().__init__(mesh)
        self.name, self.config = name, config

    def start(self):
        for node in self.mesh.lab.nodes:
            node.write_config(**self.config_of(node))
            node.start()

    def config_of(self, node):
        lines = {"log": "{level: warn, access: none}", "limits": "{handshakesPerSecondPerSource: 1000000}"}
        lines.update((k, v) for k, v in self.config.items() if k != "ca")
        if "ca" in self.config:
            lines["ca"] = f"{{provider: files, dir: {node.ca_dir}, {self.config['ca']}}}"
        return lines

    def stop(self):
        for node in self.mesh.lab.nodes:
            node.daemon.stop()

    @property
    def client(self):
        return self.mesh.client

    @property
    def server(self):
        return self.mesh.server

    @property
    def sides(self):
        return {node.name: node.daemon_cgroup for node in self.mesh.lab.nodes}

    def without(self, scenario):
        return None if not self.config or scenario in SWITCHED else "one switch alone is measured where it matters"

    @property
    def handshakes(self):
        files = [self.mesh.pki / name for name in ("mesh-all.pem", "mesh.key", "mesh-root.pem")]
        return self.mesh.plain_client, f"{self.server.ip}:{HBONE_PORT}", files


class Pair(Peer):
    """A proxy beside each of the two: `near` on the client's loopback, `far` on the server's address."""

    program = ""
    near_port = far_port = 0
    alpn = True

    @property
    def handshakes(self):
        return (self.client, f"{self.server.ip}:{self.far_port}", [self.mesh.pki / n for n in ("client.pem", "client.key", "root.pem")])

    def without(self, scenario):
        return None if scenario != "handshakes" or self.alpn else "it negotiates no ALPN, which our generator wants"

    def environment(self, near):
        return {}

    def missing(self):
        return None if shutil.which(self.program) else f"{self.program} is not installed"

    @property
    def target(self):
        return f"127.0.0.1:{self.near_port}"

    def near(self):
        raise NotImplementedError

    def far(self):
        raise NotImplementedError

    def file(self, name, text):
        path = self.mesh.lab.dir / name
        path.write_text(text)
        return path

    def start(self):
        self.processes = [Process(self.mesh.lab, f"{self.name}-far", self.server.netns, self.far(), cwd=self.mesh.lab.dir,
                                  env=self.environment(False)),
                          Process(self.mesh.lab, f"{self.name}-near", self.client.netns, self.near(), cwd=self.mesh.lab.dir,
                                  env=self.environment(True))]
        for process, pod, at, port in zip(self.processes, (self.server, self.client), (self.server.ip, "127.0.0.1"),
                                          (self.far_port, self.near_port)):
            def ready(p=process, where=pod, a=at, n=port):
                if p.child.poll() is not None:
                    raise LabError(f"{p.name} ended with {p.child.returncode}:\n{p.log.read_text(errors='replace')[-2000:]}")
                return listens(where.netns, a, n)
            eventually(f"{process.name} listens", ready, 20)


class Haproxy(Pair):
    name, program, near_port, far_port = "haproxy", "haproxy", 10001, 10002

    def config(self, front, back):
        return f"""global
  maxconn 9950
  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
  ssl-default-server-options ssl-min-ver TLSv1.3 no-tls-tickets
  ssl-default-bind-ciphersuites TLS_AES_256_GCM_SHA384
  ssl-default-server-ciphersuites TLS_AES_256_GCM_SHA384
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen it
  {front}
  {back}
"""

    def near(self):
        p = self.mesh.pki
        return ["haproxy", "-f", self.file("haproxy-near.cfg", self.config(
            f"bind 127.0.0.1:{self.near_port}",
            f"server far {self.server.ip}:{self.far_port} ssl crt {p / 'client-all.pem'} ca-file {p / 'root.pem'} verify required no-ssl-reuse"))]

    def far(self):
        p = self.mesh.pki
        return ["haproxy", "-f", self.file("haproxy-far.cfg", self.config(
            f"bind {self.server.ip}:{self.far_port} ssl crt {p / 'server-all.pem'} ca-file {p / 'root.pem'} verify required alpn h2",
            f"server app 127.0.0.1:{APP_PORT}"))]


class Nginx(Pair):
    name, program, near_port, far_port = "nginx", "nginx", 10003, 10004
    module = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")

    def missing(self):
        return super().missing() or (None if self.module.exists() else "nginx's stream module is not installed")

    def config(self, name, server):
        return self.file(f"{name}.conf", f"""load_module {self.module};
worker_processes auto;
pid {self.mesh.lab.dir}/{name}.pid;
error_log {self.mesh.lab.dir}/{name}.log warn;
daemon off;
events {{ worker_connections 24000; }}
stream {{
  server {{
    proxy_timeout 1h;
    ssl_protocols TLSv1.3;
    ssl_session_tickets off;
    {server}
  }}
}}
""")

    def near(self):
        p = self.mesh.pki
        return ["nginx", "-e", "stderr", "-c", self.config("nginx-near", f"""listen 127.0.0.1:{self.near_port};
    proxy_pass {self.server.ip}:{self.far_port};
    proxy_ssl on;
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_session_reuse off;
    proxy_ssl_certificate {p / 'client.pem'};
    proxy_ssl_certificate_key {p / 'client.key'};
    proxy_ssl_trusted_certificate {p / 'root.pem'};
    proxy_ssl_verify on;
    proxy_ssl_name server.bench;""")]

    def far(self):
        p = self.mesh.pki
        return ["nginx", "-e", "stderr", "-c", self.config("nginx-far", f"""listen {self.server.ip}:{self.far_port} ssl;
    ssl_certificate {p / 'server.pem'};
    ssl_certificate_key {p / 'server.key'};
    ssl_client_certificate {p / 'root.pem'};
    ssl_verify_client on;
    ssl_alpn h2;
    proxy_pass 127.0.0.1:{APP_PORT};""")]


class Stunnel(Pair):
    name, program, near_port, far_port = "stunnel", "stunnel", 10005, 10006
    alpn = False
    idle_max = 2000  # a thread for each connection: ten thousand of them are what it is not for

    def config(self, name, text):
        return self.file(f"{name}.conf", f"""foreground = yes
pid =
debug = 3
sslVersionMin = TLSv1.3
ciphersuites = TLS_AES_256_GCM_SHA384
CAfile = {self.mesh.pki / 'root.pem'}
verifyChain = yes
options = NO_TICKET
[it]
{text}
""")

    def near(self):
        p = self.mesh.pki
        return ["stunnel", self.config("stunnel-near", f"""client = yes
accept = 127.0.0.1:{self.near_port}
connect = {self.server.ip}:{self.far_port}
cert = {p / 'client.pem'}
key = {p / 'client.key'}""")]

    def far(self):
        p = self.mesh.pki
        return ["stunnel", self.config("stunnel-far", f"""accept = {self.server.ip}:{self.far_port}
connect = 127.0.0.1:{APP_PORT}
cert = {p / 'server.pem'}
key = {p / 'server.key'}""")]


class Mesh:
    """Two nodes as in the quickstart; a client and a server in the mesh, and a pair outside of it for everybody else."""

    def __init__(self, build):
        self.lab = Lab(f"bench-{os.getpid()}", build)
        one, two = self.lab.node(1), self.lab.node(2)
        self.client = one.pod("client", 11, service_account="client")
        self.plain_client = one.pod("plain-client", 12, service_account="plain", enrolled=None)
        self.server = two.pod("server", 21, service_account="server")
        self.plain_server = two.pod("plain-server", 22, service_account="plain", enrolled=None)
        self.lab.make_ca()
        self.lab.apply_workloads()
        for pod in (self.client, self.plain_client, self.server, self.plain_server):
            # Ten thousand connections and more from one address, again and again.
            sh("nsenter", f"--net={pod.netns}", "sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535", "net.ipv4.tcp_tw_reuse=1")
        self.pki = self.lab.dir / "pki"
        self._make_pki()
        self.load = self.lab.build / "bench" / "load" / "ringwall-load"
        if not self.load.exists():
            raise LabError(f"{self.load} is not built: meson compile -C {self.lab.build}")
        for pod in (self.server, self.plain_server):
            child = pod.popen(self.load, "serve", f"{pod.ip}:{APP_PORT}", f"127.0.0.1:{APP_PORT}", f"{pod.ip}:{APP_PORT_REDIRECTED}", stdin=-1, stdout=-1, text=True)
            if child.stdout.readline() != "listening\n":
                raise LabError("the load's server does not listen")

    def _make_pki(self):
        self.pki.mkdir()

        def openssl(*words):
            sh("openssl", *words, cwd=self.pki)

        def key(name):
            openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")

        key("root")
        openssl("req", "-x509", "-new", "-key", "root.key", "-subj", "/O=bench", "-days", "2", "-out", "root.pem",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        for name in ("client", "server"):
            key(name)
            openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}.bench", "-out", f"{name}.csr")
            (self.pki / "ext").write_text(f"subjectAltName=URI:spiffe://bench/ns/bench/sa/{name},DNS:{name}.bench\n"
                                          "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                                          "extendedKeyUsage=serverAuth,clientAuth\n")
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "2",
                    "-extfile", "ext", "-out", f"{name}.pem")
            (self.pki / f"{name}-all.pem").write_text((self.pki / f"{name}.pem").read_text() + (self.pki / f"{name}.key").read_text())

        # The mesh's own client, for who shakes hands with a daemon directly: as its node's CA would issue it.
        issuer = self.lab.nodes[0].ca_dir
        key("mesh")
        openssl("req", "-new", "-key", "mesh.key", "-subj", "/", "-out", "mesh.csr")
        (self.pki / "ext").write_text(f"subjectAltName=critical,URI:{self.client.identity}\nbasicConstraints=critical,CA:FALSE\n"
                                      "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n"
                                      "authorityKeyIdentifier=keyid\n")
        openssl("x509", "-req", "-in", "mesh.csr", "-CA", issuer / "ca-cert.pem", "-CAkey", issuer / "ca-key.pem", "-set_serial",
                "0x1234567890abcdef", "-days", "1", "-extfile", "ext", "-out", "mesh.pem")
        (self.pki / "mesh-all.pem").write_text((self.pki / "mesh.pem").read_text() + (issuer / "ca-cert.pem").read_text())
        (self.pki / "mesh-root.pem").write_text((issuer / "root-cert.pem").read_text())

    def close(self):
        self.lab.close()
