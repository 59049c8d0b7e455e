# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the far side see the end that the near side made: FIN as FIN, RST as RST, a lost tunnel as an error?"""

import traffic
from common import addresses, expect, expect_equal, pod, standard_lab
from lab import eventually
from tasks import Task

PORT = 9100
MIB = 1 << 20


def lab():
    return standard_lab("ends")


def case_client_half_closes(lab):
    """The client ends its half; the server's answer still arrives"""
    for family, address in addresses(pod(lab, "server")):
        far = Task(pod(lab, "server"), traffic.half_close_server, PORT).wait_ready()
        expect(Task(pod(lab, "client"), traffic.half_close_client, address, PORT, 3 * MIB + 1).result(), f"half-close over {family}")
        expect_equal(far.result(), 3 * MIB + 1, f"bytes that the server read over {family}")


def case_server_half_closes(lab):
    """The server ends its half; the client's bytes still arrive"""
    for family, address in addresses(pod(lab, "server")):
        far = Task(pod(lab, "server"), traffic.server_half_closes, PORT, 3 * MIB + 1).wait_ready()
        got = Task(pod(lab, "client"), traffic.client_after_half_close, address, PORT, 2 * MIB + 7).result()
        expect_equal((got, far.result()), (3 * MIB + 1, 2 * MIB + 7), f"bytes over {family}")


def case_server_resets(lab):
    for family, address in addresses(pod(lab, "server")):
        far = Task(pod(lab, "server"), traffic.reset_server, PORT).wait_ready()
        end = Task(pod(lab, "client"), traffic.ended_client, address, PORT).result()
        expect_equal(end[0], "ECONNRESET", f"what the client saw over {family}")
        far.result()  # its port is free again


def case_client_resets(lab):
    for family, address in addresses(pod(lab, "server")):
        far = Task(pod(lab, "server"), traffic.acknowledging_server, PORT).wait_ready()
        Task(pod(lab, "client"), traffic.reset_client, address, PORT).result()
        expect_equal(far.result()[0], "ECONNRESET", f"what the server saw over {family}")


def case_refused(lab):
    """Nobody listens at the destination: an error at the client, never an empty page"""
    for family, address in addresses(pod(lab, "server")):
        end = Task(pod(lab, "client"), traffic.try_connect, address, PORT + 50).result()
        expect_equal(end, "ECONNRESET", f"over {family}")


def peer_restart(lab, node, download):
    client, server = pod(lab, "client"), pod(lab, "server")
    if download:
        Task(server, traffic.flood_server, PORT).wait_ready()
        flow = Task(client, traffic.ended_client, server.ip, PORT)
    else:
        flow = Task(server, traffic.ended_server, PORT).wait_ready()
        Task(client, traffic.stopped_reader, server.ip, PORT).wait_ready()
    eventually("the flow is open", lambda: lab.nodes[1].ctl_json("connections"))
    node.daemon.kill()
    node.start()
    end = flow.result(30)
    expect(end[0] != "eof", f"the flow ended with {end}: a short file that looks whole")


def case_peer_daemon_killed_download(lab):
    """The server's daemon dies in mid-flow: the client sees an error"""
    peer_restart(lab, lab.nodes[1], True)


def case_own_daemon_killed_download(lab):
    peer_restart(lab, lab.nodes[0], True)


def case_peer_daemon_killed_upload(lab):
    """The client's daemon dies in mid-flow: the server sees an error"""
    peer_restart(lab, lab.nodes[0], False)


def case_works_again(lab):
    Task(pod(lab, "server"), traffic.echo_server, PORT).wait_ready()
    for _, address in addresses(pod(lab, "server")):
        expect_equal(Task(pod(lab, "client"), traffic.try_connect, address, PORT).result(), "ok", "after the restarts")
