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
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "deploy")]

import peers as peers_module  # noqa: E402
import report  # noqa: E402
import scenarios as scenarios_module  # noqa: E402
from lab import LabError  # noqa: E402

BASELINE = "haproxy"


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


class Results:
    """Samples by (scenario, peer, metric), in the order in which they came."""

    def __init__(self):
        self.samples, self.about = {}, {}

    def add(self, scenario, peer, metric, unit, value, better):
        self.samples.setdefault((scenario, peer, metric), []).append(value)
        self.about[(scenario, metric)] = (unit, better)

    def rows(self):
        for (scenario, peer, metric), samples in self.samples.items():
            unit, better = self.about[(scenario, metric)]
            yield {"scenario": scenario, "peer": peer, "metric": metric, "unit": unit, "better": better,
                   "median": statistics.median(samples), "min": min(samples), "max": max(samples), "samples": samples}

    def ratio(self, scenario, metric, peer, baseline):
        """Median of the paired ratios, with the lowest and the highest; None when one of them is missing."""
        ours, theirs = (self.samples.get((scenario, p, metric)) for p in (peer, baseline))
        if not ours or not theirs:
            return None
        ratios = [a / b for a, b in zip(ours, theirs) if b]
        return (statistics.median(ratios), min(ratios), max(ratios)) if ratios else None


class Runner:
    def __init__(self, mesh, seconds):
        self.mesh, self.seconds, self.results, self.running, self.broken = mesh, seconds, Results(), {}, {}

    def ready(self, peer):
        """Starts the peer if it does not run; of those that share the nodes only one runs at a time."""
        if peer.name in self.running:
            return
        if isinstance(peer, peers_module.Ringwall):
            for name, other in list(self.running.items()):
                if isinstance(other, peers_module.Ringwall):
                    other.stop()
                    del self.running[name]
        peer.start()
        self.running[peer.name] = peer

    def measure(self, scenario, peer):
        try:
            self.ready(peer)
            for metric, unit, value, better in scenario.run(peer, self.seconds):
                self.results.add(scenario.name, peer.name, metric, unit, value, better)
        except (LabError, OSError, ValueError) as problem:
            self.broken[(scenario.name, peer.name)] = str(problem)
            print(f"  {scenario.name} with {peer.name} failed: {problem}", file=sys.stderr)

    def stop(self):
        for peer in self.running.values():
            peer.stop()


def parse(arguments):
    p = argparse.ArgumentParser(prog="ringwall-bench", description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--build", required=True, help=argparse.SUPPRESS)
    p.add_argument("--quick", action="store_true", help="three scenarios, one short round: under a minute")
    p.add_argument("--scenario", action="append", help="only this one; may be given again")
    p.add_argument("--peer", action="append", help="only this one; may be given again")
    p.add_argument("--rounds", type=int, help="how often each pair is measured (3; --quick: 1)")
    p.add_argument("--seconds", type=float, help="of measuring, a sample (3; --quick: 1)")
    p.add_argument("--json", metavar="FILE", help="all samples")
    p.add_argument("--plots", metavar="DIR", help="a page with plots, SVG and PNG")
    p.add_argument("--ztunnel", metavar="PATH", help="a ztunnel binary to measure too")
    p.add_argument("--list", action="store_true", help="names of scenarios and peers")
    return p.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    scenarios = scenarios_module.all_scenarios()
    if options.list:
        print("scenarios: " + " ".join(s.name for s in scenarios))
        print("peers: " + " ".join(p.name for p in peers_module.all_peers(None)))
        return 0
    if os.geteuid() != 0:
        raise SystemExit("ringwall-bench makes network namespaces: run it as root")
    scenarios = chosen(scenarios, options.scenario or (sorted(scenarios_module.QUICK) if options.quick else None), "scenario")
    rounds = options.rounds or (1 if options.quick else 3)
    about = machine()
    mesh = peers_module.Mesh(options.build)
    runner = Runner(mesh, options.seconds or (1 if options.quick else 3))
    try:
        wanted = options.peer or (["none", "haproxy", "ringwall"] if options.quick else None)
        peers = []
        for peer in chosen(peers_module.all_peers(mesh), wanted, "peer"):
            why = peer.missing()
            if why:
                print(f"  without {peer.name}: {why}", file=sys.stderr)
            else:
                peers.append(peer)
        for r in range(rounds):
            for scenario in scenarios:
                print(f"  round {r + 1} of {rounds}: {scenario.name}", file=sys.stderr, flush=True)
                for peer in peers:
                    runner.measure(scenario, peer)
        runner.stop()
    finally:
        mesh.close()
    document = {"machine": about, "rounds": rounds, "seconds": runner.seconds, "results": list(runner.results.rows()),
                "failed": [{"scenario": s, "peer": p, "why": why} for (s, p), why in runner.broken.items()]}
    print(report.table(document, runner.results, [p.name for p in peers], BASELINE))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(document, indent=1) + "\n")
    if options.plots:
        report.page(document, runner.results, [p.name for p in peers], BASELINE, pathlib.Path(options.plots))
    return 1 if runner.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
