# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with each peer. A scenario yields samples: (metric, unit, value, better), better being "higher" or "lower"."""

import json
import os
import resource
import shutil
import subprocess
import time

import peers
import publishing
import resident
from lab import LabError
from results import NO_MESH

WARMUP_S = 0.5
AROUND_S = 0.25  # what a measurement costs beside its measuring: programs that start, answers that are waited for


def begin_load(peer, *arguments):
    return peer.client.popen(peer.mesh.load, "run", "--to", peer.target, *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)


def end_load(peer, child, arguments, timeout=120):
    out, err = child.communicate(timeout=timeout)
    if child.returncode != 0:
        raise LabError(f"{peer.name}: load {' '.join(map(str, arguments))}: {err.strip()}")
    return json.loads(out)


def load(peer, *arguments):
    return end_load(peer, begin_load(peer, *arguments), arguments)


class Cost:
    """CPU seconds of a peer's processes over a `with` block."""

    def __init__(self, peer):
        self.peer = peer

    def __enter__(self):
        self.before, self.wall = self.peer.cpu(), time.monotonic()
        return self

    def __exit__(self, *_):
        after = self.peer.cpu()
        self.wall = time.monotonic() - self.wall
        self.by_process = {name: after[name] - self.before[name] for name in after}
        self.seconds = sum(self.by_process.values())


class Scenario:
    """`seconds` of measuring after a warm-up. `adds`: its latencies are compared with no mesh's, too."""

    adds = False
    rounds_max = 100  # where another round would tell nothing more
    last = False  # the peer does not go on as it was: it is stopped afterwards

    def __init__(self, name, title):
        self.name, self.title = name, title

    def skip(self, peer):
        """Why it is not done with this peer, or None."""
        return peer.without(self.name)

    def expected(self, seconds):
        """How long one peer's turn will take, roughly."""
        return seconds + WARMUP_S + AROUND_S

    def run(self, peer, seconds):
        raise NotImplementedError


class Bulk(Scenario):
    KINDS = {"up": "sink", "down": "source", "both": "both"}

    def __init__(self, streams, direction):
        suffix = "" if direction == "up" else f"-{direction}"
        super().__init__(f"bulk-{streams}{suffix}", f"bulk, {streams} stream{'s' if streams > 1 else ''}, {direction}")
        self.streams, self.direction = streams, direction

    def run(self, peer, seconds):
        with Cost(peer) as cost:
            seen = load(peer, "--kind", self.KINDS[self.direction], "--conns", self.streams, "--warmup", WARMUP_S, "--seconds", seconds)
        if seen["failed"] or seen["bytes"] == 0:
            raise LabError(f"{peer.name}: {seen['failed']} streams failed, {seen['bytes']} bytes")
        yield "throughput", "Gbit/s", seen["bytes"] * 8 / seen["seconds"] / 1e9, "higher"
        if cost.by_process:
            # The warm-up's bytes cost too.
            yield "cpu", "CPU s/GB", cost.seconds / (seen["all_bytes"] / 1e9), "lower"


class Requests(Scenario):
    def __init__(self, size, rate, conns=16):
        word = f"{rate // 1000}k" if rate else "max"
        super().__init__(f"rr-{size}-{word}", f"request/response of {size} B, {f'{rate} a second' if rate else 'as many as go'}")
        self.size, self.rate, self.conns, self.adds = size, rate, conns, rate > 0

    def run(self, peer, seconds):
        with Cost(peer) as cost:
            seen = load(peer, "--kind", "request", "--size", self.size, "--conns", self.conns, "--rate", self.rate, "--warmup", WARMUP_S,
                        "--seconds", seconds)
        if seen["done"] == 0:
            raise LabError(f"{peer.name}: no request was answered")
        latency = seen["latency_us"]
        if not self.rate:
            yield "rate", "requests/s", seen["done"] / seen["seconds"], "higher"
        for word in ("p50", "p90", "p99", "p999"):
            yield word, "us", latency[word], "lower"
        if self.rate:
            yield "lost", "requests", seen["failed"] + seen["dropped"], "lower"
        if cost.by_process:
            yield "cpu", "CPU s/1000", cost.seconds / seen["all_done"] * 1000, "lower"


class Connections(Scenario):
    """New connections: through warm tunnels where the peer has tunnels, each with its own handshake where it has not."""

    def __init__(self):
        super().__init__("connect", "new connections, one byte there and back")

    def run(self, peer, seconds):
        load(peer, "--kind", "connect", "--conns", 4, "--warmup", 0, "--seconds", 0.2)
        with Cost(peer) as cost:
            seen = load(peer, "--kind", "connect", "--conns", 32, "--warmup", 0.3, "--seconds", seconds)
        if seen["done"] == 0:
            raise LabError(f"{peer.name}: no connection came through")
        yield "rate", "connections/s", seen["done"] / seen["seconds"], "higher"
        yield "p50", "us", seen["latency_us"]["p50"], "lower"
        yield "p99", "us", seen["latency_us"]["p99"], "lower"
        yield "failed", "connections", seen["failed"], "lower"
        if cost.by_process:
            yield "cpu", "CPU s/1000", cost.seconds / seen["all_done"] * 1000, "lower"


class Handshakes(Scenario):
    """Full mutual handshakes with the server's side of a peer, by a generator on our tls room, the same for all; the load
    comes from as many of its processes as there are cores. Beside it the ceiling: both ends in memory, on all cores."""

    CONNS = 16

    def __init__(self):
        super().__init__("handshakes", "full mutual handshakes")

    def expected(self, seconds):
        return max(seconds, 1) + WARMUP_S + AROUND_S

    def run(self, peer, seconds):
        n = len(os.sched_getaffinity(0))
        if not peer.handshakes:
            yield from self.ceiling(peer, n)
            return
        pod, to, (chain, key, roots) = peer.handshakes
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with Cost(peer) as cost:
            children = [pod.popen(peer.mesh.load, "shake", "--to", to, "--chain", chain, "--key", key, "--roots", roots, "--conns", self.CONNS,
                                  "--warmup", WARMUP_S, "--seconds", max(seconds, 1), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) for _ in range(n)]
            seen = [end_load(peer, child, ["shake"]) for child in children]
        done, failed = (sum(s[word] for s in seen) for word in ("done", "failed"))
        if done == 0 or failed > done / 100:
            raise LabError(f"{peer.name}: {done} handshakes, {failed} failed: {next((s['why'] for s in seen if s['why']), 'no reason')}")
        yield "rate", "handshakes/s", sum(s["done"] / s["seconds"] for s in seen), "higher"
        yield "p99", "us", max(s["latency_us"]["p99"] for s in seen), "lower"
        total = max(sum(s["total"] for s in seen), 1)
        yield "cpu", "CPU s/1000", cost.seconds / total * 1000, "lower"
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        generator = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        yield "cpu-both", "CPU s/1000", (cost.seconds + generator) / total * 1000, "lower"

    def ceiling(self, peer, n):
        """As the rows of no mesh, both ends in memory on each core at once: our sessions; plain wolfSSL, which verifies each chain by
        itself; and the public-key operations alone that a handshake needs."""
        def columns(program, argument):
            path = peer.mesh.lab.build / "bench" / "micro" / program
            children = [peer.mesh.lab.popen([path, argument], stdout=subprocess.PIPE, text=True) for _ in range(n)]
            return list(zip(*([line.split("\t")[1:] for line in child.communicate(timeout=60)[0].splitlines()] for child in children)))
        yield "rate", "handshakes/s", sum(1e9 / float(ns) for ns, in columns("bench_tls", "handshake")[0]), "higher"
        for what, each in zip(("keys", "wolfssl", "both"), columns("bench_handshake", "rates")):
            if what != "both":
                yield f"rate-{what}", "handshakes/s", sum(1e6 / float(wall) for wall, _, _ in each), "higher"
            yield f"cpu-{what}", "CPU s/1000", sum(float(cpu) for _, cpu, _ in each) / n / 1000, "lower"


class Idle(Scenario):
    """Memory of open connections that do nothing, a process, and what is left ten seconds after they closed."""

    rounds_max = 1
    BETWEEN_S = 8  # until what the warming-up took is given back

    def __init__(self, conns):
        # A proxy has two descriptors for each, and needs some for itself.
        self.conns = min(conns, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200) // 2)
        super().__init__("idle", f"{self.conns} idle connections")

    def skip(self, peer):
        return super().skip(peer) or (None if peer.name != NO_MESH else "no process")

    def expected(self, seconds):
        return 16 + self.BETWEEN_S

    def run(self, peer, seconds):
        conns = min(self.conns if seconds >= 1 else self.conns // 5, peer.idle_max)
        for kind in ("request", "connect"):  # what the first connections of all cost, code that is mapped in included
            load(peer, "--kind", kind, "--conns", 8, "--warmup", 0, "--seconds", 0.2)
        time.sleep(self.BETWEEN_S)
        before = peer.rss()
        child = peer.client.popen(peer.mesh.load, "run", "--to", peer.target, "--kind", "request", "--idle", "--conns", conns,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            line = child.stdout.readline()
            if not line:
                raise LabError(f"{peer.name}: {child.stderr.read().strip()}")
            seen = json.loads(line)
            if seen["failed"]:
                raise LabError(f"{peer.name}: {seen['failed']} of {conns} connections failed")
            during = peer.rss()
        finally:
            child.stdin.close()
            child.wait(30)
        deadline = time.monotonic() + 10
        least = during
        while time.monotonic() < deadline:
            time.sleep(0.5)  # an interval of sampling: the figure is what is left by the deadline
            now = peer.rss()
            least = {name: min(least[name], now[name]) for name in now}
        for end, name in zip(("server's", "client's") if isinstance(peer, peers.Pair) else ("client's", "server's"), during):
            yield f"bytes, {end} end", "B/connection", (during[name] - before[name]) / conns, "lower"
        yield "left, an end", "B/connection", sum(least[n] - before[n] for n in least) / conns / len(least), "lower"
        yield "connections", "connections", conns, "higher"


class Resident(Scenario):
    """Memory of a daemon that does nothing."""

    rounds_max = 1
    last = True

    def __init__(self):
        super().__init__("resident", "resident size of a daemon: one workload, one of a thousand, a thousand")

    def skip(self, peer):
        return None if peer.name == "ringwall" else "ringwall alone: it is about workloads"

    def expected(self, seconds):
        return 40

    def run(self, peer, seconds):
        peer.stop()
        for what, mib in resident.measure(peer):
            yield what, "MiB", mib, "lower"
        peer.start()


class Syscalls(Scenario):
    """System calls of a peer's processes while one stream runs, by the kernel's tracepoint; its cost is why this is a
    scenario of its own."""

    rounds_max = 1

    def __init__(self):
        super().__init__("syscalls", "system calls of both ends, one stream")

    def skip(self, peer):
        if peer.name == NO_MESH:
            return "no process"
        return super().skip(peer) or (None if shutil.which("perf") else "perf is not installed (Debian's linux-perf)")

    def run(self, peer, seconds):
        arguments = ["--kind", "sink", "--conns", 1, "--warmup", WARMUP_S, "--seconds", seconds + 0.5]
        child = begin_load(peer, *arguments)
        time.sleep(WARMUP_S)  # part of the measuring: the stream is under way
        perf = peer.mesh.lab.popen(["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", ",".join(map(str, peer.pids())),
                                    "--", "sleep", f"{seconds:g}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        said = perf.communicate(timeout=60)[1]
        seen = end_load(peer, child, arguments)
        count = next((line.split(",")[0] for line in said.splitlines() if "sys_enter" in line), "")
        if not count.isdigit():
            raise LabError(f"perf counts nothing: {said.strip()[:200]}")
        megabytes = seen["bytes"] / seen["seconds"] * seconds / 1e6
        yield "calls", "calls/MB", int(count) / max(megabytes, 1e-9), "lower"


class SlowReader(Scenario):
    """The rate of a reading stream beside one that stopped reading, as a share of its rate alone."""

    def __init__(self):
        super().__init__("slow-reader", "a fast stream beside one that does not read")

    def expected(self, seconds):
        return 2 * super().expected(seconds)

    def run(self, peer, seconds):
        alone = load(peer, "--kind", "source", "--conns", 1, "--warmup", WARMUP_S, "--seconds", seconds)
        beside = load(peer, "--kind", "source", "--conns", 2, "--slow", 1, "--warmup", WARMUP_S, "--seconds", seconds)
        yield "share", "of the rate alone", beside["per_conn"][1] / max(alone["per_conn"][0], 1), "higher"


class Disturbed(Scenario):
    """Requests of 1 KiB at 1,000 a second on one connection, in quiet and then while something goes on in both daemons."""

    last = True
    LOAD = ("--kind", "request", "--size", 1024, "--conns", 1, "--rate", 1000, "--warmup", WARMUP_S, "--seconds")

    def skip(self, peer):
        ours = isinstance(peer, peers.Ringwall) and not peer.config
        return None if ours else "only ringwall has a control plane here"

    def compare(self, quiet, busy):
        for word in ("p50", "p99", "p999"):
            yield f"{word} quiet", "us", quiet["latency_us"][word], "lower"
            yield word, "us", busy["latency_us"][word], "lower"
            yield f"{word} ratio", "to quiet", busy["latency_us"][word] / quiet["latency_us"][word], "lower"
        yield "failed", "requests", busy["failed"] + busy["dropped"], "lower"


class PublishLatency(Disturbed):
    def __init__(self):
        super().__init__("publish-latency", "requests while 10,000 workloads and policies are published again and again")

    def expected(self, seconds):
        return 6 * seconds + 6

    def run(self, peer, seconds):
        lab = peer.mesh.lab
        publishing.big_mesh(lab, lab.build / "bench" / "micro" / "publish_load")
        try:
            publisher = publishing.Publisher(lab.nodes, publishing.Others(lab))
            for node in lab.nodes:
                publisher.waiting[node] = publisher.admins[node].world()
                publishing.swap(node, "a")
            publisher.phase(0, False)  # until it is in force
            seen, worlds = [], 0
            for busy in (False, True):
                child = begin_load(peer, *self.LOAD, 2 * seconds)
                worlds = publisher.phase(2 * seconds + WARMUP_S, busy).worlds
                seen.append(end_load(peer, child, self.LOAD))
            yield from self.compare(*seen)
            yield "worlds", "publications", worlds, "higher"
        finally:
            publishing.no_big_mesh(lab)


class RotationLatency(Disturbed):
    """Certificates of the shortest lifetime there is, so that all of them are made anew every few seconds."""

    TTL = "ttl: 10s, rotateAt: 0.3"
    SECONDS = 8

    def __init__(self):
        super().__init__("rotation-latency", "requests while all certificates rotate")

    def expected(self, seconds):
        return 2 * self.SECONDS + 4

    def run(self, peer, seconds):
        lab = peer.mesh.lab
        quiet = load(peer, *self.LOAD, self.SECONDS)
        peer.stop()
        peer.config = {"ca": self.TTL}
        try:
            peer.start()
            before = self.generations(lab)
            busy = load(peer, *self.LOAD, self.SECONDS)
            if before & self.generations(lab):
                raise LabError(f"not every certificate rotated: {sorted(before & self.generations(lab))}")
        finally:
            peer.config = {}
        yield from self.compare(quiet, busy)

    def generations(self, lab):
        return {(node.name, c["identity"], c.get("generation", 0)) for node in lab.nodes for c in node.ctl_json("certs")}


def all_scenarios():
    made = [Bulk(n, d) for d in ("up", "down", "both") for n in (1, 8, 64)]
    made += [Requests(size, rate) for size in (64, 1024) for rate in (1000, 5000, 20000, 0)]
    made += [Connections(), Handshakes(), SlowReader(), Syscalls(), Idle(10000), Resident(), PublishLatency(), RotationLatency()]
    return made


QUICK = {"bulk-1", "rr-1024-5k", "connect", "handshakes"}
