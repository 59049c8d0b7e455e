#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much longer a ping-pong through two daemons takes while a large world is published.

Two nodes in namespaces (deploy/lab.py), captured, mTLS between them. A client sends 1,000 messages a second on one
connection, open loop (publish_load.c). Phases alternate: in a quiet one nothing is published; in a busy one 10,000
policies, 10,000 workloads and 2,000 services are published over and over, each time parsed anew from 200 files, the next
as soon as the last is in force. The same polls of the daemons' status go on in both. What counts is the ratio, busy to
quiet, of one run. A round in which somebody else used the machine, in either phase, is left out: how much others used is
what the processors did less what the lab's cgroup and this program did.

    python3 -B bench/micro/publish_latency.py --build build [--rounds 6] [--seconds 3] [--publish source|target|both]
"""

import argparse
import ctypes
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "deploy"), str(ROOT / "bench" / "harness")]
from lab import Lab  # noqa: E402
from publishing import Others, Publisher, big_mesh, swap  # noqa: E402

PORT, RATE = 9300, 1000
POLICIES = {"other": os.SCHED_OTHER, "batch": os.SCHED_BATCH, "idle": os.SCHED_IDLE}
SYS_SCHED_SETATTR, SYS_SCHED_GETATTR = 314, 315  # x86-64


def make_lab(build):
    lab = Lab(f"publish-{os.getpid()}", build)
    one, two = lab.node(1), lab.node(2)
    one.pod("client", 11, service_account="client")
    two.pod("server", 21, service_account="server")
    lab.make_ca()
    for node in lab.nodes:
        node.write_config()
    lab.apply_workloads()
    return lab, one, two


def is_clean(quiet, busy, others_max):
    return max(quiet.others, busy.others) <= others_max


def clean(rounds, schedule, others_max):
    return sum(is_clean(quiet, busy, others_max) for name, quiet, busy in rounds if name == schedule)


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


class Attr(ctypes.Structure):
    """struct sched_attr of Linux; runtime is the slice that kernels from 6.12 on give a thread."""

    _fields_ = [("size", ctypes.c_uint32), ("policy", ctypes.c_uint32), ("flags", ctypes.c_uint64), ("nice", ctypes.c_int32),
                ("priority", ctypes.c_uint32), ("runtime", ctypes.c_uint64), ("deadline", ctypes.c_uint64), ("period", ctypes.c_uint64)]


def schedule_call(number, tid, attr, *more):
    if ctypes.CDLL(None, use_errno=True).syscall(number, tid, ctypes.byref(attr), *more):
        raise OSError(ctypes.get_errno(), "the kernel refuses this schedule")


class Schedules:
    """Other schedules for the config threads, tried without building anything."""

    def __init__(self, nodes):
        self.built = {}
        for node in nodes:
            for task in pathlib.Path(f"/proc/{node.daemon.pid}/task").iterdir():
                if (task / "comm").read_text().strip() == "config":
                    self.built[int(task.name)] = attr = Attr()
                    schedule_call(SYS_SCHED_GETATTR, int(task.name), attr, ctypes.sizeof(attr), 0)

    def use(self, words):
        for tid, built in self.built.items():
            attr = Attr.from_buffer_copy(built)
            for word in filter(None, words):
                if word in POLICIES:
                    attr.policy, attr.runtime = POLICIES[word], 0
                elif word.startswith("nice"):
                    attr.nice = int(word[4:])
                else:
                    attr.runtime = int(word.removeprefix("slice")) * 1000
            schedule_call(SYS_SCHED_SETATTR, tid, attr, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--publish", choices=("source", "target", "both"), default="both")
    parser.add_argument("--others", type=float, default=0.1, help="processors that others may use in a round that counts")
    parser.add_argument("--limit", type=float, default=300, help="seconds after which no round begins")
    parser.add_argument("--try", dest="schedules", nargs="*", default=[""],
                        help="schedules to compare in turn, words joined by commas: other, batch, idle, niceN, sliceN (in us), of the config threads")
    arguments = parser.parse_args()
    program = arguments.build.resolve() / "bench" / "micro" / "publish_load"
    lab, one, two = make_lab(arguments.build.resolve())
    try:
        big_mesh(lab, program)
        nodes = {"source": [one], "target": [two], "both": [one, two]}[arguments.publish]
        for node in nodes:
            swap(node, "a")
        for node in lab.nodes:
            node.start()
        server = two.pods["server"].popen(program, "server", PORT, stdout=subprocess.PIPE)
        server.stdout.readline()
        client = one.pods["client"].popen(program, "client", two.pods["server"].ip, PORT, RATE, stdin=subprocess.PIPE,
                                          stdout=open(lab.dir / "latencies", "wb"))
        publisher, rounds, schedules = Publisher(nodes, Others(lab)), [], Schedules(nodes)
        limit = time.monotonic() + arguments.limit
        while time.monotonic() < limit and any(clean(rounds, s, arguments.others) < arguments.rounds for s in arguments.schedules):
            for schedule in arguments.schedules:
                schedules.use(schedule.split(","))
                rounds.append((schedule, publisher.phase(arguments.seconds, False), publisher.phase(arguments.seconds, True)))
        client.stdin.close()
        if client.wait(30):
            raise SystemExit("the client failed")
        samples = [tuple(map(int, line.split())) for line in open(lab.dir / "latencies", "rb")]
    finally:
        lab.close()
    for schedule in arguments.schedules:
        report(schedule, [r for r in rounds if r[0] == schedule], samples, arguments.others)


def report(schedule, rounds, samples, others_max):
    pooled, ratios = {"quiet": [], "busy": []}, []
    name = f"{schedule}\t" if schedule else ""
    for _, quiet, busy in rounds:
        if not is_clean(quiet, busy, others_max):
            continue
        p = {}
        for kind, phase in (("quiet", quiet), ("busy", busy)):
            late = [late / 1000 for due, late in samples if phase.began <= due < phase.ended]
            pooled[kind] += late
            p[kind] = quantile(late, 0.999)
        ratios.append(p["busy"] / p["quiet"])
        print(f"{name}round: p99.9 quiet {p['quiet']:.0f} us, busy {p['busy']:.0f} us, ratio {ratios[-1]:.2f}; "
              f"{busy.worlds} worlds in {busy.seconds:.1f} s; others used {quiet.others:.2f} and {busy.others:.2f} processors")
    print(f"{name}{len(ratios)} of {len(rounds)} rounds count")
    if not ratios:
        return
    for kind, late in pooled.items():
        print(f"{name}{kind}: {len(late)} answers, p50 {quantile(late, .5):.0f} us, p99 {quantile(late, .99):.0f} us, "
              f"p99.9 {quantile(late, .999):.0f} us, worst {max(late):.0f} us")
    print(f"{name}p99.9 busy / quiet: {quantile(pooled['busy'], .999) / quantile(pooled['quiet'], .999):.2f} of all answers; "
          f"of the rounds: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
