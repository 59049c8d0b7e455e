# SPDX-License-Identifier: GPL-3.0-or-later
"""What a daemon that does nothing holds in memory: with one workload, in a mesh of a thousand, and with a thousand of its own.

The figure is the kernel's resident size of one daemon, libraries and program included, some seconds after it became ready.
The thousand have network namespaces and cgroups, and certificates, as pods have; nothing runs in them.
"""

import time

import peers
from lab import remove_cgroup

MESH = 1000
SETTLE_S = 4  # certificates are made, and what only starting needed was given back


def entry(node, i, netns=None, cgroup=None):
    where = f"\n  annotations:\n    ringwall.io/node: {node.name}\n    ringwall.io/netns: {netns}\n    ringwall.io/cgroup: {cgroup}" if netns else ""
    return f"""apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: idle-{i}
  namespace: default
  labels:
    istio.io/dataplane-mode: ambient{where}
spec:
  address: 10.72.{i // 250}.{i % 250 + 1}
  serviceAccount: idle-{i}
  labels:
    app: idle-{i}
"""


def settled(node, peer):
    node.start()
    time.sleep(SETTLE_S)
    bytes_ = peers.rss_bytes(node.daemon_cgroup)
    node.daemon.stop()
    return bytes_ / (1 << 20)


def measure(peer):
    """(metric, MiB) of the client's node, alone."""
    node = peer.mesh.lab.nodes[0]
    more, cgroups = node.mesh_dir / "idle.yaml", []
    try:
        yield "one", settled(node, peer)
        more.write_text("---\n".join(entry(node, i) for i in range(1, MESH)))
        yield "one of 1,000", settled(node, peer)
        text = []
        for i in range(1, MESH):
            name, cgroup = f"{peer.mesh.lab.prefix}idle-{i}", node.pods_cgroup / f"idle-{i}"
            peer.mesh.lab.add_netns(name)
            cgroup.mkdir()
            cgroups.append(cgroup)
            text.append(entry(node, i, f"/run/netns/{name}", cgroup))
        more.write_text("---\n".join(text))
        yield "1,000", settled(node, peer)
    finally:
        more.unlink(missing_ok=True)
        for cgroup in cgroups:
            remove_cgroup(cgroup)
