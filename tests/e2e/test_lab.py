# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab itself: Ctrl-C at any moment of its making leaves nothing behind, nor does what a killed run left stay.

A child makes a small lab and is sent SIGINT at the very moment that its n-th program has been started, before it could
write down what that program made; n goes over all of them.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from common import expect, expect_equal
from lab import PATIENCE, ROOT, Lab, cgroup2_mount, clear_remains

CHILD = """
import os, signal, subprocess, sys
sys.path.insert(0, sys.argv[1])
number, how, started = int(sys.argv[3]), getattr(signal, sys.argv[4]), 0


class Counted(subprocess.Popen):
    def __init__(self, *arguments, **options):
        global started
        super().__init__(*arguments, **options)
        started += 1
        if started == number:
            os.kill(os.getpid(), how)


subprocess.Popen = Counted
from lab import Lab
lab = Lab(sys.argv[2])
node = lab.node(1)
node.pod("named", 11, service_account="a")
node.pod("held", 12, service_account="b", by_pid=True)
number = 0
"""


def lab():
    return Lab(f"lab-{os.getpid()}")


def remains(name):
    prefix = f"rw-{name}-"
    places = (pathlib.Path("/run/netns"), cgroup2_mount(), pathlib.Path(tempfile.gettempdir()))
    found = [str(path) for place in places for path in place.glob(f"{prefix}*")]
    return found + [line for line in pathlib.Path("/proc/mounts").read_text().splitlines() if prefix in line]


def child(name, number, how):
    """Its exit code and what it said; to a file, for a program that it leaves behind would hold a pipe open."""
    with tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, "-c", CHILD, str(ROOT / "deploy"), name, str(number), how]
        code = subprocess.run(command, stdout=said, stderr=said, timeout=60 * PATIENCE).returncode
        said.seek(0)
        return code, said.read()


def case_an_interrupted_lab_leaves_nothing(_lab):
    name = f"cut-{os.getpid()}"
    for number in range(1, 100):
        done = child(name, number, "SIGINT")
        expect_equal(remains(name), [], f"interrupted at program {number}")
        if done[0] == 0:
            break
        expect_equal(done, (130, ""), f"interrupted at program {number}")
    expect(number > 9, f"the lab starts more than {number} programs")


def case_remains_of_a_killed_lab_are_cleared(_lab):
    name = f"killed-{os.getpid()}"
    code, said = child(name, 9, "SIGKILL")  # the last program holds a namespace
    expect_equal(code, -9, f"the child's end, with output\n{said}")
    expect(remains(name), "a killed lab leaves something")
    clear_remains(name)
    expect_equal(remains(name), [], "after clear_remains()")
