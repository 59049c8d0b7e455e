# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh that most cases use: client, client2 (same account) and intruder on node-1, server on node-2."""

import os
import sys

from lab import Lab, LabError

TENTH = "--tenth" in sys.argv  # of run.py


class Skip(Exception):
    """Raised by a case that cannot run here; the reason is printed."""


def scaled(n):
    return max(1, n // 10) if TENTH else n


def standard_lab(name, start=True, **config):
    lab = Lab(f"{name}-{os.getpid()}")  # two runs at once do not meet
    one, two = lab.node(1), lab.node(2)
    one.pod("client", 11, service_account="client")
    one.pod("client2", 12, service_account="client", by_pid=True)
    one.pod("intruder", 13, service_account="intruder")
    one.pod("outsider", 14, service_account="outsider", enrolled=None)
    two.pod("server", 21, service_account="server")
    two.pod("server2", 22, service_account="server2")
    lab.make_ca()
    for node in lab.nodes:
        node.write_config(**config)
    lab.apply_workloads()
    if start:
        for node in lab.nodes:
            node.start()
    return lab


def pod(lab, name):
    return next(node.pods[name] for node in lab.nodes if name in node.pods)


def addresses(target):
    """The target's address in each family."""
    return (("IPv4", target.ip), ("IPv6", target.ip6))


def expect(condition, text):
    if not condition:
        raise LabError(text)


def expect_equal(seen, expected, what):
    if seen != expected:
        raise LabError(f"{what}: {seen!r}, expected {expected!r}")
