# SPDX-License-Identifier: GPL-3.0-or-later
"""ringwall-bench: scenarios against peers, each pair in turn in the same run; a table, JSON, and a page with plots.

  ringwall-bench [--quick] [--scenario NAME]... [--peer NAME]... [--rounds N] [--seconds S] [--json FILE] [--plots DIR]
                 [--ztunnel PATH] [--list]

Machines are shared and noisy: read ratios, not figures. A round measures every scenario with every peer; within a round the
peers of a scenario follow each other at once, so a slow moment of the machine meets neighbours alike.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "deploy")]

import others  # noqa: E402
import peers as peers_module  # noqa: E402
import publishing  # noqa: E402
import report  # noqa: E402
import scenarios as scenarios_module  # noqa: E402
from lab import LabError  # noqa: E402
from results import Results  # noqa: E402

BASELINE = "haproxy"
START_S = {"ringwall": 2.0}  # what it takes to change from one of ringwall's variants to another; others start once
SETUP_S = 12


def machine():
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(), "load": os.getloadavg()[0],
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def chosen(items, names, what):
    if not names:
        return items
    known = {item.name for item in items}
    for name in names:
        if name not in known:
            raise SystemExit(f"ringwall-bench: no {what} '{name}'; there are: {', '.join(sorted(known))}")
    return [item for item in items if item.name in names]


class Runner:
    def __init__(self, mesh, seconds):
        self.mesh, self.seconds, self.results, self.running = mesh, seconds, Results(), {}
        self.broken, self.without = {}, {}

    def ready(self, peer):
        """Starts the peer if it does not run; of those that share the nodes only one runs at a time."""
        if peer.name in self.running:
            return
        if isinstance(peer, peers_module.Ringwall):
            for other in list(self.running.values()):
                if isinstance(other, peers_module.Ringwall):
                    self.end(other)
        self.running[peer.name] = peer
        peer.start()

    def end(self, peer):
        self.running.pop(peer.name, None)
        peer.stop()

    def measure(self, scenario, peer, round_):
        try:
            self.ready(peer)
            for metric, unit, value, better in scenario.run(peer, self.seconds):
                self.results.add(scenario.name, peer.name, metric, unit, value, better, round_)
            if scenario.adds:
                self.results.derive(scenario.name, peer.name, round_)
            if scenario.last:
                self.end(peer)
        except (LabError, OSError, ValueError, subprocess.SubprocessError) as problem:
            self.broken[(scenario.name, peer.name)] = str(problem)
            print(f"  {scenario.name} with {peer.name} failed: {problem}", file=sys.stderr)
            try:
                self.end(peer)  # it may be in any state: the next scenario begins with a new one
            except (LabError, OSError, subprocess.SubprocessError) as second:
                print(f"  {peer.name} does not end: {second}", file=sys.stderr)

    def all(self, plan, rounds):
        for r in range(rounds):
            for scenario, peers in plan:
                if r < scenario.rounds_max:
                    print(f"  round {r + 1} of {rounds}: {scenario.name}", file=sys.stderr, flush=True)
                    for peer in peers:
                        self.measure(scenario, peer, r)
        for peer in list(self.running.values()):
            self.end(peer)


def make_plan(scenarios, peers, without):
    """[(scenario, its peers)]; who is left out, and why, goes to `without`."""
    plan = []
    for scenario in scenarios:
        whys = {peer.name: scenario.skip(peer) for peer in peers}
        without.update({(scenario.name, name): why for name, why in whys.items() if why})
        plan.append((scenario, [peer for peer in peers if not whys[peer.name]]))
    return plan


def estimate(plan, rounds, seconds):
    total = SETUP_S
    for scenario, peers in plan:
        changes = sum(isinstance(peer, peers_module.Ringwall) for peer in peers)
        one = len(peers) * scenario.expected(seconds) + (changes * START_S["ringwall"] if changes > 1 else 0)
        total += one * min(rounds, scenario.rounds_max)
    return total


def parse(arguments):
    p = argparse.ArgumentParser(prog="ringwall-bench", description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--build", required=True, help=argparse.SUPPRESS)
    p.add_argument("--quick", action="store_true", help="four scenarios, three peers, one short round: under a minute")
    p.add_argument("--scenario", action="append", help="only this one; may be given again")
    p.add_argument("--peer", action="append", help="only this one; may be given again")
    p.add_argument("--rounds", type=int, help="how often each pair is measured (3; --quick: 1)")
    p.add_argument("--seconds", type=float, help="of measuring, a sample (1.2; --quick: 1)")
    p.add_argument("--json", metavar="FILE", help="all samples")
    p.add_argument("--plots", metavar="DIR", help="a page with plots, SVG and PNG")
    p.add_argument("--ztunnel", metavar="PATH", help="a ztunnel binary to measure too")
    p.add_argument("--list", action="store_true", help="names of scenarios and peers")
    return p.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    scenarios = scenarios_module.all_scenarios()
    if options.list:
        print("scenarios:\n" + "\n".join(f"  {s.name:18} {s.title}" for s in scenarios))
        print("peers: " + " ".join(p.name for p in others.all_peers(None)))
        return 0
    if os.geteuid() != 0:
        raise SystemExit("ringwall-bench makes network namespaces: run it as root")
    scenarios = chosen(scenarios, options.scenario or (sorted(scenarios_module.QUICK) if options.quick else None), "scenario")
    wanted = options.peer or (["none", "haproxy", "ringwall"] if options.quick else None)
    chosen(others.all_peers(None), wanted, "peer")
    rounds = options.rounds or (1 if options.quick else 3)
    seconds = options.seconds or (1 if options.quick else 1.2)
    about = machine()
    try:
        mesh = peers_module.Mesh(options.build)
    except LabError as problem:
        raise SystemExit(str(problem)) from problem
    about["ringwall"] = subprocess.run([mesh.lab.program("ringwall"), "version"], text=True, capture_output=True).stdout.partition("\n")[0]
    runner, began = Runner(mesh, seconds), time.monotonic()
    try:
        peers = []
        for peer in chosen(others.all_peers(mesh, options.ztunnel), wanted, "peer"):
            why = peer.missing()
            if why:
                print(f"  without {peer.name}: {why}", file=sys.stderr)
                runner.without[("*", peer.name)] = why
            else:
                peers.append(peer)
        plan = make_plan(scenarios, peers, runner.without)
        print(f"  {len(scenarios)} scenarios, {len(peers)} peers, {rounds} round(s): about {estimate(plan, rounds, seconds) / 60:.1f} minutes",
              file=sys.stderr, flush=True)
        others_use = publishing.Others(mesh.lab)
        used, since = others_use.used(), time.monotonic()
        runner.all(plan, rounds)
        about["others"] = round((others_use.used() - used) / (time.monotonic() - since), 2)
    finally:
        mesh.close()
    about.update(rounds=rounds, seconds=seconds, took=round(time.monotonic() - began), load_after=os.getloadavg()[0],
                 failed=[{"scenario": s, "peer": p, "why": why} for (s, p), why in runner.broken.items()],
                 without=[{"scenario": s, "peer": p, "why": why} for (s, p), why in runner.without.items()])
    document = {"machine": about, "results": list(runner.results.rows())}
    names = [p.name for p in peers]
    print(report.table(document, runner.results, names, BASELINE))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(document, indent=1) + "\n")
    if options.plots:
        report.page(document, runner.results, names, BASELINE, pathlib.Path(options.plots))
    return 1 if runner.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
