# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples and what is made of them: medians with their spread, ratios paired by round, rows derived from others."""

import statistics

NO_MESH = "none"
ADDED = {"p50": "p50 added", "p99": "p99 added"}  # over no mesh, where a scenario asks at a rate


def ratios(ours, theirs):
    """Of the rounds that both have, where the other's is above nothing: (median, lowest, highest), or None."""
    pairs = [ours[r] / theirs[r] for r in sorted(ours.keys() & theirs.keys()) if theirs[r] > 0]
    return (statistics.median(pairs), min(pairs), max(pairs)) if pairs else None


class Results:
    """Samples by (scenario, peer, metric) and round."""

    def __init__(self):
        self.samples, self.about = {}, {}

    def add(self, scenario, peer, metric, unit, value, better, round_):
        self.samples.setdefault((scenario, peer, metric), {})[round_] = value
        self.about.setdefault((scenario, metric), (unit, better))

    def derive(self, scenario, peer, round_):
        """Latency that a peer adds to no mesh's of the same round."""
        for metric, name in ADDED.items():
            ours, bare = (self.samples.get((scenario, p, metric), {}).get(round_) for p in (peer, NO_MESH))
            if ours is not None and bare is not None and peer != NO_MESH:
                self.add(scenario, peer, name, "us", ours - bare, "lower", round_)

    def rows(self):
        """As in the JSON document; scenarios and metrics in the order in which they first came."""
        for scenario, metric in self.about:
            for (s, peer, m), by_round in self.samples.items():
                if (s, m) == (scenario, metric):
                    values = [by_round[r] for r in sorted(by_round)]
                    yield {"scenario": s, "peer": peer, "metric": m, "unit": self.about[(s, m)][0], "median": statistics.median(values),
                           "min": min(values), "max": max(values), "samples": values}

    def ratio(self, scenario, metric, peer, baseline):
        ours, theirs = (self.samples.get((scenario, p, metric)) for p in (peer, baseline))
        return ratios(ours, theirs) if ours and theirs else None
