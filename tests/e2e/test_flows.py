# SPDX-License-Identifier: GPL-3.0-or-later
"""Does every byte arrive, in both directions and families, many connections at once, and does nothing remain?"""

import time

import traffic
from common import addresses, expect, expect_equal, pod, scaled, standard_lab
from lab import eventually
from tasks import Task

GIB = 1 << 30
PORT = 9000


def lab():
    return standard_lab("flows")


def transfer(lab, family, up):
    client, server = pod(lab, "client"), pod(lab, "server")
    address, total = dict(addresses(server))[family], scaled(GIB)
    if up:
        far = Task(server, traffic.sink_server, PORT).wait_ready()
        digest, end = Task(client, traffic.upload, address, PORT, total).result(240)
        got, seen, peer = far.result(60)[0]
        expect_equal(end, ("eof", 0), "how the client's connection ended")
        expect_equal(peer, client.ip if family == "IPv4" else client.ip6, "the address that the server saw")
    else:
        far = Task(server, traffic.source_server, PORT, total).wait_ready()
        got, seen = Task(client, traffic.download, address, PORT).result(240)
        digest, end = far.result(60)
        expect_equal(end, ("eof", 0), "how the server's connection ended")
    expect_equal((got, seen), (total, digest), "bytes and SHA-256")


def case_upload_v4(lab):
    """1 GiB from client to server, equal SHA-256"""
    transfer(lab, "IPv4", True)


def case_download_v4(lab):
    """1 GiB from server to client"""
    transfer(lab, "IPv4", False)


def case_upload_v6(lab):
    transfer(lab, "IPv6", True)


def case_download_v6(lab):
    transfer(lab, "IPv6", False)


def case_many_at_once(lab):
    """2,000 connections at once, half of them slow"""
    server = pod(lab, "server")
    Task(server, traffic.echo_server, PORT).wait_ready()
    for family, address in addresses(server):
        n = scaled(2000)
        done, why = Task(pod(lab, "client"), traffic.many, address, PORT, n, 16384).result(180)
        expect_equal((done, why), (n, ""), f"connections that echoed all over {family}")


def case_small_and_large_writes(lab):
    """1-byte ping-pong, 1 MiB writes"""
    server = pod(lab, "server")
    Task(server, traffic.echo_server, PORT).wait_ready()
    for family, address in addresses(server):
        small = Task(pod(lab, "client"), traffic.ping_pong, address, PORT, scaled(5000), 1).result(120)
        large = Task(pod(lab, "client"), traffic.ping_pong, address, PORT, scaled(200), 1 << 20).result(120)
        print(f"    {family}: median round trip {small:.0f} us for 1 byte, {large / 1000:.1f} ms for 1 MiB")


def case_names(lab):
    """The client's socket shows the address it asked for and the pod's own, also through a v4-mapped socket"""
    client, server = pod(lab, "client"), pod(lab, "server")
    Task(server, traffic.echo_server, PORT).wait_ready()
    expect_equal(Task(client, traffic.names, server.ip, PORT).result(), ((server.ip, PORT), client.ip), "names over IPv4")
    expect_equal(Task(client, traffic.names, server.ip6, PORT).result(), ((server.ip6, PORT), client.ip6), "names over IPv6")
    peer, own = Task(client, traffic.mapped_names, server.ip, PORT).result()
    expect_equal((peer, own), ((f"::ffff:{server.ip}", PORT), f"::ffff:{client.ip}"), "names through a v4-mapped socket")


def case_stopped_reader(lab):
    """A reader that stops for 30 s: less than 1 MiB for that flow, and no other flow of the tunnel stalls"""
    client, other, server = (pod(lab, name) for name in ("client", "intruder", "server"))
    Task(server, traffic.echo_server, PORT).wait_ready()
    Task(server, traffic.flood_server, PORT + 1).wait_ready()
    for node in lab.nodes:  # fresh daemons: no pages of earlier cases that new flows could use again
        expect_equal(node.daemon.stop(), 0, "exit after SIGTERM")
        node.start()
    calm = Task(client, traffic.ping_pong, server.ip, PORT, 500, 1).result(60)
    before = [node.daemon.own_kib() for node in lab.nodes]
    stopped = [Task(client, traffic.stopped_reader, server.ip, PORT + 1).wait_ready() for _ in range(8)]
    deadline = time.monotonic() + (3 if scaled(10) == 1 else 30)
    worst = 0.0
    while time.monotonic() < deadline:
        aside = Task(other, traffic.ping_pong, server.ip, PORT, 200, 1)  # in a tunnel of its own: what the machine does to both is no stall of ours
        worst = max(worst, Task(client, traffic.ping_pong, server.ip, PORT, 200, 1).result(60) - aside.result(60))
    grown = [node.daemon.own_kib() - kib for node, kib in zip(lab.nodes, before)]
    for task in stopped:
        task.kill()
    print(f"    8 stopped readers: {grown} KiB grown, round trip {calm:.0f} us before, at worst {worst:.0f} us more than in another tunnel")
    expect(scaled(10) == 1 or all(kib < 8 * 1024 for kib in grown), f"memory grew by {grown} KiB for 8 stopped readers")
    expect(worst < 50_000, f"another flow of the tunnel waited {worst:.0f} us longer than one in another tunnel")


def case_one_after_another(lab):
    """10,000 connects one after another leave no descriptor, no map entry, no memory"""
    client, server = pod(lab, "client"), pod(lab, "server")
    Task(server, traffic.echo_server, PORT).wait_ready()
    Task(client, traffic.one_by_one, server.ip, PORT, 200).result(60)

    def entries():
        return lab.nodes[0].ctl_json("capture")["originalDestinations"]

    eventually("no flow is open", lambda: not any(n.ctl_json("connections") for n in lab.nodes))
    fds, kib = [n.daemon.descriptors() for n in lab.nodes], [n.daemon.own_kib() for n in lab.nodes]
    total = scaled(10_000)
    for family, address in addresses(server):
        Task(client, traffic.one_by_one, address, PORT, total // 2).result(300)
    eventually("no flow is open", lambda: not any(n.ctl_json("connections") for n in lab.nodes))
    eventually("no original destination is kept", lambda: entries() == 0)
    eventually("descriptors are back", lambda: all(n.daemon.descriptors() <= f + 4 for n, f in zip(lab.nodes, fds)), 90)
    grown = []

    def is_back():
        grown[:] = [n.daemon.own_kib() - k for n, k in zip(lab.nodes, kib)]
        return scaled(10) == 1 or max(grown) < 2048

    try:
        eventually("memory is given back", is_back)
    finally:
        print(f"    after {total} connects: {grown} KiB more")
