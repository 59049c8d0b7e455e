# SPDX-License-Identifier: GPL-3.0-or-later
"""Fail closed: whatever is missing, an enrolled workload's bytes never leave the node in the clear."""

import json
import os
import signal

import traffic
from common import addresses, expect, expect_equal, pod, standard_lab
from lab import eventually, sh
from pcap import Capture
from tasks import Task

PORT = 9200
MARKER = b"fail-closed-marker"
REFUSED = ("ECONNREFUSED", "EPERM", "ECONNRESET", "EACCES")


def lab():
    return standard_lab("closed")


def say_marker(address, port, timeout, *, ready):
    """Tries to bring the marker to the server; how that went."""
    try:
        s = traffic.connect(address, port, timeout)
        s.settimeout(timeout)
        s.sendall(MARKER)
        return "answered" if s.recv(1) else "eof"
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return traffic.errno.errorcode.get(error.errno, str(error))


def tries(lab, names=("client",), timeout=20):
    """What each pod's try gives, both families, while the link is watched: nothing on it but TLS on 15008."""
    server, seen = pod(lab, "server"), {}
    with Capture(lab, lab.nodes[0], "link2") as link:
        for name in names:
            for family, address in addresses(server):
                seen[name, family] = Task(pod(lab, name), say_marker, address, PORT, timeout).result()
    expect(not link.has_bytes(MARKER), "the marker crossed the link in the clear")
    expect(link.ports() <= {15008}, f"the link saw ports {link.ports()}")
    return seen


def works(lab):
    """The state from which every case begins, also after one that failed half-way."""
    for node in lab.nodes:
        if node.daemon.process.poll() is not None:
            node.start()
    Task(pod(lab, "server"), traffic.echo_server, PORT).wait_ready()
    for key, end in tries(lab).items():
        expect_equal(end, "answered", f"{key} while all is well")


def case_daemon_killed(lab):
    """The listener is gone: refused, in both families; after the restart it works"""
    works(lab)
    lab.nodes[0].daemon.kill()
    for key, end in tries(lab).items():
        expect(end in REFUSED, f"{key} without a daemon: {end}")
    lab.nodes[0].start()
    for key, end in tries(lab).items():
        expect_equal(end, "answered", f"{key} after the restart")


def case_far_daemon_killed(lab):
    works(lab)
    lab.nodes[1].daemon.kill()
    for key, end in tries(lab).items():
        expect(end in REFUSED, f"{key} with the far daemon dead: {end}")
    outside = Task(pod(lab, "outsider"), say_marker, pod(lab, "server").ip, PORT, 3).result()
    expect(outside != "answered", "plaintext reached a pod whose daemon is dead")
    lab.nodes[1].start()
    eventually("it works again", lambda: set(tries(lab).values()) == {"answered"}, 20)


def case_daemon_stopped(lab):
    """SIGSTOP: nothing passes, nothing leaks"""
    works(lab)
    lab.nodes[0].daemon.signal(signal.SIGSTOP)
    try:
        for key, end in tries(lab, timeout=3).items():
            expect_equal(end, "timeout", f"{key} with a stopped daemon")
    finally:
        lab.nodes[0].daemon.signal(signal.SIGCONT)
    eventually("it works again", lambda: set(tries(lab).values()) == {"answered"}, 20)


def case_map_empty(lab):
    """The workloads' map is emptied behind the daemon's back: refused"""
    works(lab)
    client = pod(lab, "client")
    cgroup_id = os.stat(client.cgroup).st_ino
    pins = lab.bpffs / lab.nodes[0].name
    name = next(p for p in sorted(pins.rglob("*")) if "workload" in p.name and p.is_file())
    key = " ".join(str(b) for b in cgroup_id.to_bytes(8, "little")).split()
    sh("bpftool", "map", "delete", "pinned", name, "key", *key)
    for key, end in tries(lab).items():
        expect(end in REFUSED, f"{key} with its map entry gone: {end}")
    lab.nodes[0].daemon.stop()
    lab.nodes[0].start()
    eventually("it works again", lambda: set(tries(lab).values()) == {"answered"}, 20)


def case_before_first_world(lab):
    """Between attach and the first valid world: refused; a program outside the capture cgroup is untouched"""
    node, server = lab.nodes[0], pod(lab, "server")
    works(lab)
    expect_equal(node.daemon.stop(), 0, "exit after SIGTERM")
    sh(lab.program("ringwallctl"), "capture", "detach", "-c", node.config)
    broken = node.mesh_dir / "broken.yaml"
    broken.write_text("kind: [\n")
    node.start(wait=False)
    eventually("the broken set is reported", lambda: node.ctl("status", check=False).stdout.count("broken.yaml"), 20)
    for key, end in tries(lab, ("client", "intruder")).items():
        expect(end in REFUSED, f"{key} before the first world: {end}")
    expect(node.ctl_json("status")["ready"] is False, "ready without a world")
    broken.unlink()
    node.daemon.wait_ready()
    for key, end in tries(lab).items():
        expect_equal(end, "answered", f"{key} with a world ({server.name})")


def case_detached_under_a_daemon(lab):
    """`capture detach` while the daemon runs, and a program taken away by hand: status, capture and readiness say so at once"""
    works(lab)
    node = lab.nodes[0]
    whole = node.ctl_json("status")
    expect(whole["ready"] and all(p["captured"] for p in whole["capture"]["pods"]), f"before: {whole['capture']}")
    client = pod(lab, "client")
    sh("bpftool", "link", "detach", "pinned", lab.bpffs / node.name / "pods" / str(os.stat(client.netns).st_ino))
    lost = {p["name"]: p.get("why", "") for p in node.ctl_json("capture")["pods"] if not p["captured"]}
    expect(set(lost) == {"client"} and "sk_lookup" in lost["client"], f"one pod's program was taken away: {lost}")
    done = sh(lab.program("ringwallctl"), "capture", "detach", "-c", node.config, "-o", "json")
    expect_equal(json.loads(done.stdout), {"node": node.name, "removed": True}, "what detach says")
    after = node.ctl_json("status")
    expect(not after["ready"] and "captured" in after["why"], f"ready: {after['ready']}, {after['why']}")
    for p in after["capture"]["pods"]:
        expect(not p["captured"] and "removed from the kernel" in p["why"], f"after detach: {p}")
    text = node.ctl("status").stdout
    expect(f"captured      0 of {len(after['capture']['pods'])}" in text and "capture detach" in text, text)
    expect_equal(node.log.read_text().count("capture was removed from the kernel"), 1, "lines in the log")
    node.daemon.stop()
    node.start()
    for key, end in tries(lab).items():
        expect_equal(end, "answered", f"{key} after the restart")


def case_not_enrolled(lab):
    """A pod that is not in the mesh is untouched: plaintext to the outside works, its connects are not ours"""
    outsider, gateway = pod(lab, "outsider"), "10.71.1.1"
    with_node = lab.popen(["nsenter", f"--net={lab.nodes[0].netns}", "python3", "-c",
                           "import socket\ns=socket.create_server(('',9299))\nprint('up',flush=True)\n"
                           "while True:\n c,_=s.accept(); c.recv(1); c.sendall(b'x'); c.close()"], stdout=-1)
    with_node.stdout.readline()
    expect_equal(Task(outsider, traffic.try_connect, gateway, 9299).result(), "ok", "a pod outside the mesh")
    expect_equal(Task(pod(lab, "client"), traffic.try_connect, gateway, 9299).result(), "ok", "an enrolled pod to a host outside the mesh")
    with_node.kill()
    with_node.wait()
