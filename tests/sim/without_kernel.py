#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fails when a program of the simulation has the real ring in it: a symbol of liburing, or none of the simulation's."""
import subprocess
import sys

bad = 0
for program in sys.argv[1:]:
    out = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1] for line in out.splitlines() if line.strip()}
    real = sorted(n for n in names if n.startswith("io_uring_") or n == "ring_new_from")
    if real or "ring_sim_new" not in names or "ring_turn" not in names:
        print(f"{program}: {', '.join(real[:5]) or 'the simulation is missing'}")
        bad = 1
sys.exit(bad)
