# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with each peer. A scenario yields samples: (metric, unit, value, better), better being "higher" or "lower"."""

import json
import subprocess
import time

from lab import LabError, eventually


def load(peer, *arguments, timeout=120, target=None):
    mesh = peer.mesh
    child = peer.client.popen(mesh.load, "run", "--to", target or peer.target, *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    out, err = child.communicate(timeout=timeout)
    if child.returncode != 0:
        raise LabError(f"{peer.name}: load {' '.join(map(str, arguments))}: {err.strip()}")
    return json.loads(out)


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
    """`seconds` of measuring after `warmup`; a quick run does a third of it."""

    peers_skip = ()

    def __init__(self, name, title):
        self.name, self.title = name, title

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
            seen = load(peer, "--kind", self.KINDS[self.direction], "--conns", self.streams, "--warmup", 0.5, "--seconds", seconds)
        if seen["failed"] or seen["bytes"] == 0:
            raise LabError(f"{peer.name}: {seen['failed']} streams failed, {seen['bytes']} bytes")
        yield "throughput", "Gbit/s", seen["bytes"] * 8 / seen["seconds"] / 1e9, "higher"
        if cost.by_process:
            # The warm-up's bytes cost too: the rate over the whole time is taken to be the measured one.
            gigabytes = seen["bytes"] / seen["seconds"] * (seen["seconds"] + 0.5) / 1e9
            yield "cpu", "CPU s/GB", cost.seconds / gigabytes, "lower"


class Requests(Scenario):
    def __init__(self, size, rate, conns=16):
        word = f"{rate // 1000}k" if rate else "max"
        super().__init__(f"rr-{size}-{word}", f"request/response of {size} B, {f'{rate} a second' if rate else 'as many as go'}")
        self.size, self.rate, self.conns = size, rate, conns

    def run(self, peer, seconds):
        with Cost(peer) as cost:
            seen = load(peer, "--kind", "request", "--size", self.size, "--conns", self.conns, "--rate", self.rate, "--warmup", 0.5,
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
            n = seen["done"] * (seen["seconds"] + 0.5) / seen["seconds"]
            yield "cpu", "CPU s/1000", cost.seconds / n * 1000, "lower"


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
            yield "cpu", "CPU s/1000", cost.seconds / (seen["done"] * (seen["seconds"] + 0.3) / seen["seconds"]) * 1000, "lower"


class Idle(Scenario):
    """Memory of open connections that do nothing, a process, and what is left ten seconds after they closed."""

    def __init__(self, conns):
        super().__init__("idle", f"{conns} idle connections")
        self.conns = conns

    def run(self, peer, seconds):
        if not peer.sides:
            return
        conns = self.conns if seconds >= 2 else self.conns // 5
        before = peer.rss()
        child = peer.client.popen(peer.mesh.load, "run", "--to", peer.target, "--kind", "request", "--idle", "--conns", conns,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = child.stdout.readline()
        if not line:
            raise LabError(f"{peer.name}: {child.stderr.read().strip()}")
        seen = json.loads(line)
        if seen["failed"]:
            child.stdin.close()
            child.wait(30)
            raise LabError(f"{peer.name}: {seen['failed']} of {conns} connections failed")
        during = peer.rss()
        child.stdin.close()
        child.wait(30)
        deadline = time.monotonic() + 10
        least = during
        while time.monotonic() < deadline:
            time.sleep(0.5)  # an interval of sampling: the figure is what is left by the deadline
            now = peer.rss()
            least = {name: min(least[name], now[name]) for name in now}
        for name in during:
            yield f"bytes {name}", "B/connection", (during[name] - before[name]) / conns, "lower"
        yield "left", "B/connection", sum(least[n] - before[n] for n in least) / conns / len(least), "lower"


class SlowReader(Scenario):
    """The rate of a reading stream beside one that stopped reading, as a share of its rate alone."""

    def __init__(self):
        super().__init__("slow-reader", "a fast stream beside one that does not read")

    def run(self, peer, seconds):
        alone = load(peer, "--kind", "source", "--conns", 1, "--warmup", 0.5, "--seconds", seconds)
        beside = load(peer, "--kind", "source", "--conns", 2, "--slow", 1, "--warmup", 0.5, "--seconds", seconds)
        yield "share", "of the rate alone", beside["per_conn"][1] / max(alone["per_conn"][0], 1), "higher"


def all_scenarios():
    made = [Bulk(n, d) for d in ("up", "down", "both") for n in (1, 8, 64)]
    made += [Requests(size, rate) for size in (64, 1024) for rate in (1000, 5000, 20000, 0)]
    made += [Connections(), Idle(10000), SlowReader()]
    return made


QUICK = {"bulk-1", "rr-1024-5k", "connect"}
__all__ = ["QUICK", "all_scenarios", "eventually"]
