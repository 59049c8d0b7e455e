# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench itself: a quick run measures and writes what DESIGN says, and one that is interrupted leaves nothing behind.

No figure is judged here: machines that run tests are busy.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys

from common import expect, expect_equal
from lab import PATIENCE, ROOT, Lab, eventually
from test_lab import remains

PLAIN_ONLY = True  # a sanitizer build is not what is measured

KEYS = {"scenario", "peer", "metric", "unit", "median", "min", "max", "samples"}


def lab():
    return Lab(f"benchtest-{os.getpid()}")


def bench(lab, *arguments, **options):
    command = [sys.executable, "-B", ROOT / "bench" / "harness" / "main.py", "--build", lab.build, *arguments]
    return lab.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def case_quick(lab):
    """A quick run against no mesh: exit 0, a table, JSON with the keys of DESIGN 7, a page with plots"""
    document, page = lab.dir / "bench.json", lab.dir / "page"
    arguments = ("--quick", "--seconds", "0.3", "--peer", "none", "--peer", "ringwall", "--json", document, "--plots", page)
    with bench(lab, *arguments) as run:
        out, err = run.communicate(timeout=120 * PATIENCE)
    expect_equal(run.returncode, 0, f"exit code; it said:\n{out[-1500:]}\n{err[-1500:]}")
    expect("about 0." in err, f"an estimate at the start: {err[:300]}")
    seen = json.loads(document.read_text())
    expect_equal(set(seen), {"machine", "results"}, "members of the document")
    expect_equal({tuple(sorted(row)) for row in seen["results"]}, {tuple(sorted(KEYS))}, "members of the results")
    medians = {(row["scenario"], row["peer"], row["metric"]): row["median"] for row in seen["results"]}
    for scenario, metric in (("bulk-1", "throughput"), ("rr-1024-5k", "p99"), ("connect", "rate"), ("handshakes", "rate")):
        for peer in ("none", "ringwall"):
            expect(medians.get((scenario, peer, metric), 0) > 0, f"{scenario} {metric} of {peer}: {medians}")
            expect(f"{scenario} " in out, f"{scenario} in the table:\n{out}")
    expect(("rr-1024-5k", "ringwall", "p99 added") in medians, "latency added over no mesh")
    expect(medians[("bulk-1", "ringwall", "cpu")] > 0, "the daemons' CPU seconds")
    text = (page / "index.html").read_text()
    for suffix, begin in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        name = f"bulk-1-throughput.{suffix}"
        expect(name in text and (page / name).read_bytes().startswith(begin), f"{name} in the page")


def case_interrupted(lab):
    """Ctrl-C while it measures: no namespace, cgroup, mount, file or process of its own is left"""
    with bench(lab, "--quick", "--peer", "haproxy", "--peer", "ringwall", "--scenario", "bulk-1", "--seconds", "60") as run:
        for line in run.stderr:
            if "round 1" in line:
                break
        name = f"bench-{run.pid}"
        eventually("its peers run", lambda: any("peer-haproxy" in found for found in cgroups(name)), 60)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60 * PATIENCE)
    expect_equal(run.returncode, 130, f"exit code; it said:\n{err[-1500:]}")
    expect_equal(remains(name), [], "what it left")


def cgroups(name):
    return [str(path) for place in map(pathlib.Path, places()) for path in place.glob(f"rw-{name}*/*")]


def places():
    return [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"]
