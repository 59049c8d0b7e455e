# SPDX-License-Identifier: GPL-3.0-or-later
"""Goal: what the bench says follows from its samples, also when some are missing; its record of instructions fails when it must.
Method: made-up samples and counts."""

import pathlib
import sys
import unittest

BENCH = pathlib.Path(__file__).resolve().parents[3] / "bench"
sys.path[:0] = [str(BENCH / "harness"), str(BENCH / "micro")]
import instructions  # noqa: E402
import report  # noqa: E402
from results import Results, ratios  # noqa: E402


def filled(**peers):
    r = Results()
    for peer, values in peers.items():
        for round_, value in enumerate(values):
            if value is not None:
                r.add("s", peer, "p50", "us", value, "lower", round_)
    return r


class Ratios(unittest.TestCase):
    def test_paired_by_round(self):
        """A machine that is ten times slower in one round does not change the ratio"""
        r = filled(ours=[2, 20, 2], theirs=[1, 10, 1])
        self.assertEqual(r.ratio("s", "p50", "ours", "theirs"), (2, 2, 2))

    def test_spread(self):
        self.assertEqual(filled(ours=[1, 3, 2], theirs=[1, 1, 1]).ratio("s", "p50", "ours", "theirs"), (2, 1, 3))

    def test_missing_rounds(self):
        """A round that one of them lacks is left out; the others stay with their own"""
        r = filled(ours=[None, 4, 9], theirs=[1, 2, None])
        self.assertEqual(r.ratio("s", "p50", "ours", "theirs"), (2, 2, 2))
        self.assertIsNone(filled(ours=[1, None], theirs=[None, 1]).ratio("s", "p50", "ours", "theirs"))

    def test_nobody(self):
        r = filled(ours=[1])
        self.assertIsNone(r.ratio("s", "p50", "ours", "theirs"))
        self.assertIsNone(r.ratio("s", "p99", "ours", "ours"))

    def test_nothing_to_divide_by(self):
        self.assertIsNone(ratios({0: 5}, {0: 0}))
        self.assertEqual(ratios({0: 5, 1: 6}, {0: -1, 1: 2}), (3, 3, 3))
        self.assertEqual(ratios({0: -1}, {0: 2}), (-0.5, -0.5, -0.5))


class Added(unittest.TestCase):
    def test_by_round(self):
        r = filled(none=[10, 100], ours=[15, 140])
        for round_ in (0, 1):
            r.derive("s", "ours", round_)
            r.derive("s", "none", round_)
        self.assertEqual(r.samples[("s", "ours", "p50 added")], {0: 5, 1: 40})
        self.assertNotIn(("s", "none", "p50 added"), r.samples)

    def test_without_the_bare_one(self):
        r = filled(none=[None, 1], ours=[15, 2])
        for round_ in (0, 1):
            r.derive("s", "ours", round_)
        self.assertEqual(r.samples[("s", "ours", "p50 added")], {1: 1})


class Rows(unittest.TestCase):
    def test_keys_and_statistics(self):
        rows = list(filled(ours=[3, 1, 2], theirs=[5]).rows())
        self.assertEqual(rows[0], {"scenario": "s", "peer": "ours", "metric": "p50", "unit": "us", "median": 2, "min": 1, "max": 3,
                                   "samples": [3, 1, 2]})
        self.assertEqual([row["peer"] for row in rows], ["ours", "theirs"])

    def test_table(self):
        r = filled(haproxy=[4, 4], ours=[2, 2])
        machine = {"cpu": "c", "cores": 2, "kernel": "k", "load": 0, "load_after": 1, "others": 0.5, "rounds": 2, "seconds": 1, "took": 3,
                   "failed": [{"scenario": "s", "peer": "x", "why": "it broke\nand more"}], "without": [{"scenario": "*", "peer": "y", "why": "not here"}]}
        text = report.table({"machine": machine, "results": list(r.rows())}, r, ["haproxy", "ours", "absent"], "haproxy")
        self.assertIn("2 (x0.50 [0.50-0.50])", text)
        self.assertIn("others used 0.50 processors meanwhile: ask again", text)
        self.assertIn("failed: s with x: it broke", text)
        self.assertIn("without y: not here", text)
        self.assertNotIn("and more", text)


class Curves(unittest.TestCase):
    def test_rates_in_order(self):
        """Only what was asked at a rate, by rate; a peer with one point has no line"""
        def row(scenario, peer, median, metric="p99"):
            return {"scenario": scenario, "peer": peer, "metric": metric, "median": median}
        rows = [row("rr-64-20k", "a", 9), row("rr-64-1k", "a", 2), row("rr-64-max", "a", 1), row("bulk-1", "a", 3), row("rr-64-5k", "b", 4),
                row("rr-64-5k", "a", 3, "lost")]
        self.assertEqual(report.by_rate({"results": rows}, ["a", "b"]), {("64", "p99"): {"a": [(1000, 2), (20000, 9)]}})
        self.assertEqual(report.by_rate({"results": rows[2:]}, ["a", "b"]), {})


class Instructions(unittest.TestCase):
    RECORD = {"a": {"instructions": 1000, "reason": "first"}, "b": {"instructions": 100, "reason": "first"}}

    def test_bound(self):
        self.assertEqual(instructions.judge(self.RECORD, {"a": 1050, "b": 100}), ([], []))
        failures, _ = instructions.judge(self.RECORD, {"a": 1051, "b": 100})
        self.assertEqual(len(failures), 1)
        self.assertIn("+5.1%", failures[0])

    def test_gain_is_a_remark(self):
        failures, remarks = instructions.judge(self.RECORD, {"a": 900, "b": 100})
        self.assertEqual((failures, len(remarks)), ([], 1))

    def test_every_case_is_recorded(self):
        failures, _ = instructions.judge(self.RECORD, {"a": 1000, "c": 1})
        self.assertEqual(len(failures), 2)

    def test_recording_keeps_what_did_not_move(self):
        new = instructions.updated(self.RECORD, {"a": 1005, "b": 150, "c": 7}, "why")
        self.assertEqual(new, {"a": self.RECORD["a"], "b": {"instructions": 150, "reason": "why"}, "c": {"instructions": 7, "reason": "why"}})


if __name__ == "__main__":
    unittest.main()
