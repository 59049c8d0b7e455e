# SPDX-License-Identifier: GPL-3.0-or-later
"""A large world, published again and again on running nodes: each time parsed anew, the next as soon as the last is in force.

10,000 policies, 10,000 workloads and 2,000 services in 200 files, in two variants; a rename swaps them. Nobody's node and
none of them local, so what is measured beside it goes on as before.
"""

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import time

N_FILES = 200


class Admin(http.client.HTTPConnection):
    """The admin socket, without the price of a process for each look."""

    def __init__(self, node):
        super().__init__("localhost")
        self.path = str(node.socket)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def world(self):
        self.request("GET", "/status")
        status = json.loads(self.getresponse().read())
        self.close()
        return status["world"]


def big_mesh(lab, program):
    """Two variants of each file; `big` leads to one of them, and a rename swaps it."""
    for variant in "ab":
        (lab.dir / variant).mkdir()
        subprocess.run([program, "mesh", lab.dir / variant, str(N_FILES), variant], check=True)
        for file in (lab.dir / variant).iterdir():  # nobody's node: none of them is local
            file.write_text(file.read_text().replace("nodeName: node-", "nodeName: far-"))


def swap(node, variant):
    new = node.mesh_dir / ".big.new"
    new.unlink(missing_ok=True)
    new.symlink_to(node.lab.dir / variant)
    new.rename(node.mesh_dir / "big")


def no_big_mesh(lab):
    for node in lab.nodes:
        (node.mesh_dir / "big").unlink(missing_ok=True)
    for variant in "ab":
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(lab.dir / variant)


class Others:
    """Processor seconds that neither the lab nor this program used."""

    def __init__(self, lab):
        self.stat = lab.cgroup / "cpu.stat"

    def used(self):
        with open("/proc/stat") as stat:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
        ours = next(int(line.split()[1]) for line in self.stat.read_text().splitlines() if line.startswith("usage_usec"))
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK") - ours / 1e6 - time.process_time()


class Phase:
    def __init__(self, began, ended, others, worlds):
        self.began, self.ended, self.seconds = began, ended, (ended - began) / 1e9
        self.others, self.worlds = others / self.seconds, worlds


class Publisher:
    def __init__(self, nodes, others):
        self.others = others
        self.nodes, self.admins = nodes, {node: Admin(node) for node in nodes}
        self.variant, self.n, self.waiting = "a", 0, {}

    def begin(self):
        self.variant = "b" if self.variant == "a" else "a"
        for node in self.nodes:
            self.waiting[node] = self.admins[node].world()
            swap(node, self.variant)

    def look(self):
        for node in self.nodes:
            world = self.admins[node].world()
            if world > self.waiting.get(node, world):
                self.waiting.pop(node)
        return not self.waiting

    def phase(self, seconds, busy):
        """Its begin and end are by the clock that the client uses. A publication that was begun is waited for."""
        began, others = time.monotonic_ns(), self.others.used()
        self.n = 0
        end = time.monotonic() + seconds
        if busy:
            self.begin()
        while True:
            time.sleep(0.03)
            done = self.look()
            self.n += busy and done
            if time.monotonic() >= end and done:
                return Phase(began, time.monotonic_ns(), self.others.used() - others, self.n)
            if busy and done:
                self.begin()
