# SPDX-License-Identifier: GPL-3.0-or-later
"""What attackers found once and must not find again: each case is one way in which the daemon leaked, grew or stood still."""

import ctypes
import hashlib
import socket
import struct
import time

import hbone
import traffic
from common import expect, expect_equal, pod, scaled, standard_lab
from hbone import HEADERS, PREFACE, SETTINGS, block, connect_headers, frame
from lab import eventually, inside, sh
from pcap import Capture
from tasks import Task

PORT = 9500


def lab():
    made = standard_lab("attacks")
    made.good = hbone.issue(made.dir / "certs", "good", (made.dir / "root-ca/ca-cert.pem", made.dir / "root-ca/ca-key.pem"),
                            uris=[pod(made, "client").identity])
    return made


def serve(lab):
    Task(pod(lab, "server"), traffic.echo_server, PORT).wait_ready()


def works(lab, name="client"):
    return Task(pod(lab, name), traffic.try_connect, pod(lab, "server").ip, PORT).result() == "ok"


class Openssl:
    """TLS by libssl itself, for what Python's module cannot ask for: a KeyUpdate."""

    def __init__(self, s, credential):
        self.lib, self.socket = ctypes.CDLL("libssl.so.3"), s
        for name, arguments in (("TLS_client_method", []), ("SSL_CTX_new", [ctypes.c_void_p]), ("SSL_new", [ctypes.c_void_p])):
            getattr(self.lib, name).restype, getattr(self.lib, name).argtypes = ctypes.c_void_p, arguments
        context = ctypes.c_void_p(self.lib.SSL_CTX_new(self.lib.TLS_client_method()))
        expect(self.lib.SSL_CTX_use_certificate_chain_file(context, str(credential[0]).encode()) == 1, "certificate")
        expect(self.lib.SSL_CTX_use_PrivateKey_file(context, str(credential[1]).encode(), 1) == 1, "key")
        self.lib.SSL_CTX_set_alpn_protos(context, b"\x02h2", 3)
        s.setblocking(True)
        self.ssl = ctypes.c_void_p(self.lib.SSL_new(context))
        self.lib.SSL_set_fd(self.ssl, s.fileno())
        expect(self.lib.SSL_connect(self.ssl) == 1, "the handshake failed")

    def send(self, data):
        return self.lib.SSL_write(self.ssl, data, len(data)) == len(data)

    def key_update(self):
        """Asks for one in return. False: the connection is over."""
        return self.lib.SSL_key_update(self.ssl, 1) == 1 and self.lib.SSL_do_handshake(self.ssl) == 1


def case_key_updates(lab):
    """KeyUpdates whose answers are never read: the tunnel ends, memory stays bounded"""
    serve(lab)
    with inside(pod(lab, "outsider").netns):
        s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect((pod(lab, "server").ip, 15008))
    with s:
        peer = Openssl(s, lab.good)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 10, 0))
        expect(peer.send(PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, 4, 1, block(connect_headers(f"{pod(lab, 'server').ip}:{PORT}")))),
               "the request was not taken")
        n = 0
        while n < 1_000_000 and peer.key_update():
            n += 1
    expect(n < 1_000_000, f"{n} KeyUpdates were answered for a peer that does not read")
    expect(works(lab), "a real client afterwards")


def hammer(address, port, seconds, *, ready):
    """Begins connects and drops them, as fast as it can."""
    end, n = time.monotonic() + seconds, 0
    ready()
    while time.monotonic() < end:
        with socket.socket() as s:
            s.setblocking(False)
            s.connect_ex((address, port))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        n += 1
    return n


def case_renamed(lab):
    """A workload is renamed, and gets another address, while it dials: no connect slips out in the clear between the two"""
    serve(lab)
    client = pod(lab, "client")
    name, ip6 = client.name, client.ip6
    with Capture(lab, lab.nodes[0], "link2") as link:
        busy = Task(client, hammer, pod(lab, "server").ip, PORT, 2).wait_ready()
        for k in range(8):
            client.name, client.ip6 = f"{name}-{k}" if k < 4 else name, f"{ip6}b" if k % 4 >= 2 else ip6
            lab.apply_workloads(wait=True)
        expect(busy.result() > 0, "nothing was dialled")
    client.name, client.ip6 = name, ip6
    lab.apply_workloads(wait=True)
    expect_equal(link.ports() - {15008}, set(), "ports on the link beside HBONE's")
    eventually("it works again", lambda: works(lab), 10)


def captured(lab, name):
    pods = {p["name"]: p for p in lab.nodes[0].ctl_json("capture")["pods"]}
    return name in pods and pods[name]["captured"]


def case_restarted(lab):
    """A service is restarted: its cgroup is another one under the same path, then its network namespace too"""
    serve(lab)
    node, target = lab.nodes[0], pod(lab, "intruder")
    expect(works(lab, "intruder"), "before")
    for directory in (target.leaf_cgroup, target.leaf_cgroup.parent, target.cgroup):
        directory.rmdir()
    target.leaf_cgroup.mkdir(parents=True)
    with Capture(lab, node, "link2") as link:
        eventually("it works with a new cgroup", lambda: works(lab, "intruder"), 10)
    expect_equal(link.ports(), {15008}, "ports on the link")
    sh("ip", "netns", "del", target.netns_arg)
    sh("ip", "-n", node.netns_name, "link", "del", f"p{node.index}-13", check=False)
    sh("ip", "netns", "add", target.netns_arg)
    target._connect(13)
    with Capture(lab, node, "link2") as link:
        eventually("it works with a new namespace", lambda: works(lab, "intruder"), 10)
    expect_equal(link.ports(), {15008}, "ports on the link")
    expect(captured(lab, "intruder"), "not captured")


def padded_upload(address, credential, port, total, *, ready):
    """Sends `total` bytes to a port, most of each frame padding, never more than the windows allow; the stream's last word."""
    data, sent, windows = traffic.pattern(total), 0, {0: 65535, 1: 65535}
    with hbone.tls(address, credential) as s:
        h = hbone.Http2(s)
        h.request(1, connect_headers(f"{address}:{port}"))
        ready()

        def hear():
            kind, flags, stream, payload = h.read() or (None, 0, 0, b"")
            if kind == SETTINGS and not flags & 1:
                for i in range(0, len(payload), 6):
                    if payload[i + 1] == 4:
                        windows[1] += int.from_bytes(payload[i + 2:i + 6], "big") - 65535
            elif kind == hbone.WINDOW_UPDATE and stream in windows:
                windows[stream] += int.from_bytes(payload, "big")
            elif kind in (None, hbone.RST_STREAM, hbone.GOAWAY):
                raise ConnectionError(f"frame {kind} after {sent} of {total} bytes: {payload}")
            return kind, flags, stream

        while hear()[0] != HEADERS:
            continue
        while sent < total:
            n, padding = min(100, total - sent), 200
            while min(windows.values()) < 1 + n + padding:
                hear()
            h.send(frame(hbone.DATA, 8, 1, bytes((padding,)) + data[sent:sent + n] + bytes(padding)))
            sent += n
            for stream in windows:
                windows[stream] -= 1 + n + padding
        h.send(frame(hbone.DATA, hbone.END_STREAM, 1))
        while (got := hear()) and not (got[0] == hbone.DATA and got[1] & hbone.END_STREAM):
            continue
        return hashlib.sha256(data).hexdigest()


def case_padding(lab):
    """A peer whose frames are mostly padding: the windows come back for all of it, and every byte arrives"""
    total = scaled(1 << 20)
    far = Task(pod(lab, "server"), traffic.sink_server, PORT + 1).wait_ready()
    near = Task(pod(lab, "outsider"), padded_upload, pod(lab, "server").ip, lab.good, PORT + 1, total).wait_ready()
    digest = near.result(60)
    expect_equal(far.result(10)[0][:2], (total, digest), "what the server got")
