#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hot paths in instructions, against the record in bench/baseline/instructions.json: a test that fails at +5 %.

    instructions.py PROGRAM COMPILER [--record REASON]

PROGRAM is bench_instructions, COMPILER what built it, as meson names it. Each case runs twice under callgrind, with no
calls and with some; the difference is what the calls cost. --record writes down what is counted now, with the reason, for
the cases that moved by more than 1 % (or are new). Counts are of one compiler and one set of libraries; with another compiler
than the record's nothing can be said, and the test is skipped.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

RECORD = pathlib.Path(__file__).resolve().parents[1] / "baseline" / "instructions.json"
CALLS, MORE_MAX, MOVED = 2000, 0.05, 0.01
# The C library would copy by one instruction that the counter takes for as many as bytes, on processors that have it.
# And Meson's tests ask it to fill what is allocated and freed.
ENVIRONMENT = {"MALLOC_PERTURB_": "0", "GLIBC_TUNABLES": "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000"}


def judge(record, counted):
    """(failures, remarks) as texts."""
    failures, remarks = [], []
    for name in sorted(record.keys() | counted.keys()):
        if name not in counted:
            failures.append(f"{name} is recorded, and not counted any more: take it out of the record")
        elif name not in record:
            failures.append(f"{name} is not recorded: {counted[name]:.0f} instructions")
        else:
            was, now = record[name]["instructions"], counted[name]
            change = f"{name}: {was:.0f} -> {now:.0f} instructions ({now / was - 1:+.1%})"
            if now > was * (1 + MORE_MAX):
                failures.append(f"{change}; make it cheaper, or record it with a reason")
            elif now < was * (1 - MORE_MAX):
                remarks.append(f"{change}: worth recording")
    return failures, remarks


def updated(record, counted, reason):
    """The record with what moved."""
    new = {}
    for name, now in counted.items():
        old = record.get(name)
        same = old and abs(now / old["instructions"] - 1) <= MOVED
        new[name] = old if same else {"instructions": round(now), "reason": reason}
    return new


def collected(program, case, n):
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, case, str(n)], text=True,
                          capture_output=True, timeout=60, env={**os.environ, **ENVIRONMENT})
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not found:
        raise SystemExit(f"{case} {n}: exit {done.returncode}: {done.stderr[-800:]}")
    return int(found.group(1))


def count(program):
    cases = subprocess.run([program], text=True, capture_output=True, check=True).stdout.split()
    return {case: (collected(program, case, CALLS) - collected(program, case, 0)) / CALLS for case in cases}


def main(arguments):
    program, compiler, *rest = arguments
    if not shutil.which("valgrind"):
        print("valgrind is not installed (deploy/setup installs it)")
        return 77
    document = json.loads(RECORD.read_text()) if RECORD.exists() else {"compiler": compiler, "cases": {}}
    recording = rest[:1] == ["--record"] and len(rest) == 2
    if rest and not recording:
        raise SystemExit(__doc__)
    if document["compiler"] != compiler and not recording:
        print(f"the record is of {document['compiler']}, this was built by {compiler}")
        return 77
    counted = count(program)
    if recording:
        RECORD.parent.mkdir(exist_ok=True)
        RECORD.write_text(json.dumps({"compiler": compiler, "cases": updated(document["cases"], counted, rest[1])}, indent=1) + "\n")
        return 0
    failures, remarks = judge(document["cases"], counted)
    for name, now in counted.items():
        print(f"{name}\t{now:.0f}")
    print("\n".join(failures + remarks))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
