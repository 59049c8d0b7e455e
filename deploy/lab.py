# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh on one machine: nodes and pods as network namespaces with cgroups of their own, a real ringwall a node.

Used by deploy/quickstart and by tests/e2e. Everything a lab makes carries its name and is gone after close(), also when
the program ends by a signal: namespaces, cgroups, pins, processes (only those started here, by their id).

  pod 10.71.N.x ── veth ── bridge of node N ══ link 10.71.0.0/24 ══ bridge of node M ── veth ── pod 10.71.M.x
"""

import atexit
import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """A step of the lab failed; its text is for people."""


def sh(*command, check=True, **options):
    """Runs a command to its end; returns the completed process with text output."""
    done = subprocess.run([str(c) for c in command], text=True, capture_output=True, **options)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done


# A wait only guards against waiting for ever: on a machine that others load, everything takes so many times longer.
PATIENCE = 3


def eventually(what, condition, seconds=10.0):
    """Waits until condition() is true and returns its value; fails with `what` when PATIENCE times the seconds are over.

    Who must see that something came in time measures the time.
    """
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def cgroup2_mount():
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        fields = line.split()
        if fields[2] == "cgroup2":
            return pathlib.Path(fields[1])
    raise LabError("no cgroup v2 is mounted: boot with systemd.unified_cgroup_hierarchy=1, or mount -t cgroup2 none DIR")


def setns_path(path):
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {path}")
    finally:
        os.close(fd)


@contextlib.contextmanager
def inside(netns):
    """The calling thread inside a network namespace, for sockets that the test itself opens."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns_path(netns)
        yield
    finally:
        _libc.setns(home, CLONE_NEWNET)
        os.close(home)


class Pod:
    """A workload: a netns, a cgroup with programs two levels below it, an address of each family."""

    def __init__(self, lab, node, name, index, *, service_account, namespace="default", by_pid=False, labels=None, enrolled=True):
        self.lab, self.node, self.name, self.namespace = lab, node, name, namespace
        self.service_account, self.labels, self.enrolled = service_account, dict(labels or {"app": name}), enrolled
        self.ip, self.ip6 = f"10.71.{node.index}.{index}", f"fd71:{node.index}::{index:x}"
        self.cgroup = node.pods_cgroup / name
        self.leaf_cgroup = self.cgroup / "container" / "main"
        self.leaf_cgroup.mkdir(parents=True)
        self.by_pid = by_pid
        if by_pid:
            # A namespace that has no name: only a process holds it, as in Kubernetes.
            holder = lab.popen(["unshare", "--net", "sleep", "infinity"], preexec_fn=self.enter)
            home = os.stat("/proc/self/ns/net").st_ino
            eventually("the pod's namespace", lambda: os.stat(f"/proc/{holder.pid}/ns/net").st_ino != home)
            self.netns, self.netns_arg = f"/proc/{holder.pid}/ns/net", str(holder.pid)
        else:
            self.netns_arg = f"{lab.prefix}{name}"
            lab.add_netns(self.netns_arg)
            self.netns = f"/run/netns/{self.netns_arg}"
        self._connect(index)

    def _connect(self, index):
        host = f"p{self.node.index}-{index}"
        node_netns = self.node.netns_name
        sh("ip", "-n", node_netns, "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", self.netns_arg)
        sh("ip", "-n", node_netns, "link", "set", host, "master", "br0", "up")
        script = (
            "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.eth0.accept_dad=0;"
            f"ip link set lo up; ip link set eth0 up; ip addr add {self.ip}/24 dev eth0; ip addr add {self.ip6}/64 dev eth0 nodad;"
            f"ip route add default via 10.71.{self.node.index}.1; ip -6 route add default via fd71:{self.node.index}::1"
        )
        sh("nsenter", f"--net={self.netns}", "sh", "-ec", script)

    @property
    def identity(self):
        return f"spiffe://{self.node.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"

    def manifest(self):
        labels = "".join(f"\n    {k}: {v}" for k, v in self.labels.items())
        mesh = "\n  labels:\n    istio.io/dataplane-mode: ambient" if self.enrolled else ""
        return f"""apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: {self.name}
  namespace: {self.namespace}{mesh}
  annotations:
    ringwall.io/node: {self.node.name}
    ringwall.io/netns: {self.netns}
    ringwall.io/cgroup: {self.cgroup}
    ringwall.io/addresses: "{self.ip},{self.ip6}"
spec:
  address: {self.ip}
  serviceAccount: {self.service_account}
  labels:{labels}
"""

    def enter(self):
        """preexec: into the pod's innermost cgroup (before exec, so that sockets belong to it)."""
        (self.leaf_cgroup / "cgroup.procs").write_text(str(os.getpid()))

    def command(self, command):
        return ["nsenter", f"--net={self.netns}", "--", *map(str, command)]

    def run(self, *command, check=True, timeout=30 * PATIENCE, **options):
        return sh(*self.command(command), check=check, preexec_fn=self.enter, timeout=timeout, **options)

    def popen(self, *command, **options):
        return self.lab.popen(self.command(command), preexec_fn=self.enter, **options)

    def curl(self, url, *options, timeout=5 * PATIENCE):
        """curl's exit code and output; never raises for a refused connection."""
        return self.run("curl", "-sS", "--max-time", timeout, *options, url, check=False, timeout=timeout + 10)


class Node:
    """A node: a netns with a bridge, a cgroup for its pods, a mesh directory, a daemon."""

    def __init__(self, lab, index, trust_domain="cluster.local"):
        self.lab, self.index, self.name, self.pods, self.daemon = lab, index, f"node-{index}", {}, None
        self.trust_domain = trust_domain
        self.netns_name = f"{lab.prefix}{self.name}"
        lab.add_netns(self.netns_name)
        self.netns = f"/run/netns/{self.netns_name}"
        self.cgroup = lab.cgroup / self.name
        self.pods_cgroup, self.daemon_cgroup = self.cgroup / "pods", self.cgroup / "daemon"
        self.pods_cgroup.mkdir(parents=True)
        self.daemon_cgroup.mkdir()
        self.dir = lab.dir / self.name
        self.mesh_dir, self.state_dir, self.ca_dir = self.dir / "mesh.d", self.dir / "state", self.dir / "ca"
        self.mesh_dir.mkdir(parents=True)
        self.config = self.dir / "ringwall.yaml"
        self.socket = self.dir / "admin.sock"
        self.log, self.access_log = self.dir / "ringwall.log", self.dir / "access.log"
        script = (
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0;"
            # An address of its own: the bridge would take a port's, another one whenever ports come and go.
            f"ip link set lo up; ip link add br0 address 02:71:00:00:00:{index:02x} type bridge; ip link set br0 up;"
            f"ip addr add 10.71.{index}.1/24 dev br0; ip addr add fd71:{index}::1/64 dev br0 nodad"
        )
        sh("nsenter", f"--net={self.netns}", "sh", "-ec", script)

    def link_to(self, other):
        a, b = f"link{other.index}", f"link{self.index}"
        sh("ip", "-n", self.netns_name, "link", "add", a, "type", "veth", "peer", "name", b, "netns", other.netns_name)
        for node, device, peer in ((self, a, other), (other, b, self)):
            script = (
                f"ip link set {device} up; ip addr add 10.71.0.{node.index}/24 dev {device};"
                f"ip addr add fd71::{node.index}/64 dev {device} nodad;"
                f"ip route add 10.71.{peer.index}.0/24 via 10.71.0.{peer.index};"
                f"ip -6 route add fd71:{peer.index}::/64 via fd71::{peer.index}"
            )
            sh("nsenter", f"--net={node.netns}", "sh", "-ec", script)
        return a

    def pod(self, name, index, **options):
        self.pods[name] = Pod(self.lab, self, name, index, **options)
        return self.pods[name]

    def write_config(self, **extra):
        lines = {
            "node": self.name,
            "trustDomain": self.trust_domain,
            "meshDir": self.mesh_dir,
            "stateDir": self.state_dir,
            "capture": f"{{cgroup: {self.pods_cgroup}, kubeletCgroup: \"\", bpffs: {self.lab.bpffs}}}",
            "ca": f"{{provider: files, dir: {self.ca_dir}}}",
            "admin": f"{{socket: {self.socket}}}",
            "log": f"{{level: info, access: {self.access_log}}}",
            "drainTimeout": "5s",
        }
        lines.update(extra)
        self.config.write_text("".join(f"{k}: {v}\n" for k, v in lines.items()))

    def start(self, wait=True, env=None, program=None):
        self.daemon = Daemon(self, env=env, program=program)
        if wait:
            self.daemon.wait_ready()
        return self.daemon

    def ctl(self, *arguments, check=True, timeout=20 * PATIENCE):
        """A thread of the daemon that is busy leaves its part out of an answer; that is told, and it is asked again."""
        def ask():
            done = sh(self.lab.program("ringwallctl"), "-s", self.socket, *arguments, check=check, timeout=timeout)
            return done if "incomplete: no answer in time" not in done.stderr else None

        return eventually(f"a whole answer of {self.name} to {' '.join(map(str, arguments))}", ask)

    def ctl_json(self, *arguments):
        return json.loads(self.ctl(*arguments, "-o", "json").stdout)

    def access_lines(self):
        return self.access_log.read_text().splitlines() if self.access_log.exists() else []


class Daemon:
    """One `ringwall run` in its node's namespace and cgroup. Readiness comes by sd_notify, not by polling."""

    def __init__(self, node, env=None, program=None):
        self.node = node
        path = node.dir / "notify.sock"
        path.unlink(missing_ok=True)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.notify.bind(str(path))

        def enter():
            (node.daemon_cgroup / "cgroup.procs").write_text(str(os.getpid()))
            setns_path(node.netns)

        with open(node.log, "ab") as log:
            self.process = node.lab.popen(
                [program or node.lab.program("ringwall"), "run", "-c", node.config],
                preexec_fn=enter, stdout=log, stderr=log, env={**os.environ, "NOTIFY_SOCKET": str(path), **(env or {})})

    @property
    def pid(self):
        return self.process.pid

    def wait_ready(self, seconds=30):
        deadline = time.monotonic() + seconds * PATIENCE
        while True:
            if self.process.poll() is not None:
                raise LabError(f"{self.node.name}'s daemon ended with {self.process.returncode}:\n{self.tail()}")
            self.notify.settimeout(0.1)
            try:
                if b"READY=1" in self.notify.recv(4096):
                    return
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise LabError(f"{self.node.name}'s daemon is not ready after {seconds} s:\n{self.tail()}") from None

    def tail(self, n=25):
        return "\n".join(self.node.log.read_text(errors="replace").splitlines()[-n:])

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, seconds=30):
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(seconds * PATIENCE)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait(10)

    def rss_kib(self):
        return self._kib("Rss:")

    def own_kib(self):
        """Without the pages of program and libraries, which come and go as they are used."""
        return self._kib("Anonymous:")

    def _kib(self, word):
        for line in pathlib.Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(word):
                return int(line.split()[1])
        return 0

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def clear_remains(name):
    """What a killed run of a lab of this name left behind is removed; one that still runs is an error."""
    prefix = f"rw-{name}-"
    cgroups = list(cgroup2_mount().glob(f"{prefix}*"))
    for cgroup in cgroups:
        owner = pathlib.Path("/proc") / cgroup.name.removeprefix(prefix) / "cmdline"
        if owner.exists() and b"python" in owner.read_bytes():
            raise LabError(f"{name} runs already, as process {owner.parent.name}: one at a time")
    for cgroup in cgroups:
        remove_cgroup(cgroup)
    for netns in pathlib.Path("/run/netns").glob(f"{prefix}*"):
        sh("ip", "netns", "del", netns.name, check=False)
    for directory in pathlib.Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        sh("umount", directory / "bpf", check=False)
        shutil.rmtree(directory, ignore_errors=True)


def remove_cgroup(cgroup):
    """Ends what still runs in a cgroup and below it, and removes it."""
    def pids():
        return [int(p) for f in cgroup.rglob("cgroup.procs") for p in f.read_text().split()]
    for pid in pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(LabError):
        eventually("its processes end", lambda: not pids())
    for directory in sorted((d for d in (cgroup, *cgroup.rglob("*")) if d.is_dir()), key=lambda d: -len(d.parts)):
        with contextlib.suppress(OSError):
            directory.rmdir()


class Lab:
    """Owns everything; close() undoes it in reverse. Safe to call twice, runs at exit and on SIGINT/SIGTERM/SIGHUP.

    A signal never falls between making a thing and writing it down: see _making().
    """

    def __init__(self, name, build=None):
        self.name, self.prefix = name, f"rw-{name}-"
        self.build = pathlib.Path(build or os.environ.get("RINGWALL_BUILD", ROOT / "build"))
        self.nodes, self._netns, self._children, self.closed = [], [], [], False
        self.dir = self.cgroup = self.bpffs = None
        self.keep = False
        self._owner, self._depth, self.signal = os.getpid(), 0, None
        atexit.register(self.close)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        with self._making():
            self.dir = pathlib.Path(tempfile.mkdtemp(prefix=self.prefix))
            self.cgroup = cgroup2_mount() / f"rw-{name}-{self._owner}"
            self.cgroup.mkdir()
            self.bpffs = self.dir / "bpf"
            self.bpffs.mkdir()
            sh("mount", "-t", "bpf", "none", self.bpffs)

    def _on_signal(self, number, _frame):
        if os.getpid() != self._owner:
            os._exit(128 + number)  # a child that has not yet become its program
        self.signal = number
        if self._depth == 0:
            raise SystemExit(128 + number)

    @contextlib.contextmanager
    def _making(self):
        """A signal that comes inside counts at the end."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0 and self.signal:
                raise SystemExit(128 + self.signal)

    def program(self, name):
        path = self.build / name
        if not path.exists():
            raise LabError(f"{path} is not built: meson compile -C {self.build}")
        return path

    def add_netns(self, name):
        with self._making():
            self._netns.append(name)
            sh("ip", "netns", "add", name)

    def popen(self, command, **options):
        with self._making():
            child = subprocess.Popen([str(c) for c in command], **options)
            self._children.append(child)
        return child

    def node(self, index, **options):
        node = Node(self, index, **options)
        for other in self.nodes:
            node.link_to(other)
        self.nodes.append(node)
        return node

    def make_ca(self, trust_domain="cluster.local"):
        """One root; a signing certificate a node. The root's key stays in the lab's own folder."""
        root = self.dir / "root-ca"
        ctl = self.program("ringwallctl")
        sh(ctl, "ca", "init", "--dir", root, "--trust-domain", trust_domain)
        for node in self.nodes:
            sh(ctl, "ca", "issue-node", "--dir", root, "--node", node.name, "--out", node.ca_dir)
        return root

    def apply(self, name, text, nodes=None, wait=True):
        """Puts a manifest in place by rename, on every node, and waits until the daemons took notice."""
        nodes = nodes or self.nodes
        before = {node: node.ctl_json("status") for node in nodes} if wait else {}
        for node in nodes:
            temporary = node.mesh_dir / f".{name}.new"
            temporary.write_text(text)
            temporary.rename(node.mesh_dir / name)
        self._wait_for_worlds(nodes, before)

    def remove(self, name, nodes=None, wait=True):
        nodes = nodes or self.nodes
        before = {node: node.ctl_json("status") for node in nodes} if wait else {}
        for node in nodes:
            (node.mesh_dir / name).unlink()
        self._wait_for_worlds(nodes, before)

    def _wait_for_worlds(self, nodes, before):
        for node in nodes:
            if node in before:
                eventually(f"{node.name} reads its mesh directory again",
                           lambda n=node: n.ctl_json("status")["config"]["attempts"] > before[n]["config"]["attempts"], 30)

    def apply_workloads(self, wait=False):
        text = "---\n".join(pod.manifest() for node in self.nodes for pod in node.pods.values() if pod.enrolled is not None)
        self.apply("workloads.yaml", text, wait=wait)

    def close(self):
        if self.closed or os.getpid() != self._owner or self.keep:
            return
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.closed = True
        for child in reversed(self._children):
            if child.poll() is None:
                child.kill()
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
        # Programs that our children started stay in our cgroups: they are ours to end.
        if self.cgroup:
            remove_cgroup(self.cgroup)
        if self.bpffs:
            sh("umount", self.bpffs, check=False)
        for name in reversed(self._netns):
            sh("ip", "netns", "del", name, check=False)
        if self.dir:
            shutil.rmtree(self.dir, ignore_errors=True)
