# SPDX-License-Identifier: GPL-3.0-or-later
"""A packet capture by tcpdump, and the few questions that the lab asks of it."""

import os
import re
import signal
import socket
import struct
import subprocess

from lab import LabError, eventually, inside

HBONE_PORT = 15008
LAST_PORT = 9  # discard: where the datagram goes that says "all before me is in the file"
TCP = 6


class Capture:
    """with Capture(lab, node, device) as seen: ...; the questions are for after the block."""

    def __init__(self, lab, node, device):
        self.lab, self.node, self.device = lab, node, device
        self.file = lab.dir / f"capture-{device}-{len(list(lab.dir.glob('capture-*')))}.pcap"
        self.packets = []

    def __enter__(self):
        self.tcpdump = self.lab.popen(
            ["nsenter", f"--net={self.node.netns}", "tcpdump", "-i", self.device, "-s", "0", "-B", "65536", "--immediate-mode", "-U", "-Z", "root", "-w", self.file,
             f"tcp or udp dst port {LAST_PORT}"],
            stderr=subprocess.PIPE, text=True)
        # tcpdump says "listening on" once its socket is open.
        for line in self.tcpdump.stderr:
            if "listening on" in line:
                return self
        raise LabError("tcpdump did not start")

    def __exit__(self, *_):
        # A tcpdump that is told to end forgets what it has not yet read: it must first have seen a datagram of ours.
        token = os.urandom(16)
        with inside(self.node.netns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(token, (f"10.71.0.{self.device.removeprefix('link')}", LAST_PORT))
        eventually("tcpdump has written all that it saw", lambda: token in self.file.read_bytes())
        self.tcpdump.send_signal(signal.SIGINT)
        _, said = self.tcpdump.communicate(timeout=10)
        lost = re.search(r"(\d+) packets? dropped by kernel", said)
        if lost and lost.group(1) != "0":
            raise LabError(f"the capture is not whole: {lost.group(0)}")
        self._read()

    def _read(self):
        data = self.file.read_bytes()
        at = 24
        while at + 16 <= len(data):
            n = struct.unpack_from("<I", data, at + 8)[0]
            self._packet(data[at + 16:at + 16 + n])
            at += 16 + n

    def _packet(self, frame):
        kind = struct.unpack_from("!H", frame, 12)[0]
        if kind == 0x0800:
            ip, header = frame[14:], (frame[14] & 15) * 4
            end, protocol = struct.unpack_from("!H", ip, 2)[0], ip[9]
            tcp, addresses = ip[header:end], (ip[12:16], ip[16:20])
        elif kind == 0x86DD:
            ip, protocol = frame[14:], frame[20]
            tcp, addresses = ip[40:40 + struct.unpack_from("!H", ip, 4)[0]], (ip[8:24], ip[24:40])
        else:
            return
        if protocol != TCP:
            return
        ports = struct.unpack_from("!HH", tcp)
        self.packets.append((addresses, ports, struct.unpack_from("!I", tcp, 4)[0], tcp[(tcp[12] >> 4) * 4:]))

    def has_bytes(self, marker):
        """In any packet, or across two of one direction."""
        streams = {}
        for addresses, ports, _, payload in self.packets:
            streams.setdefault((addresses, ports), bytearray()).extend(payload)
        return any(marker in s for s in streams.values())

    def ports(self):
        """The service port of each connection: HBONE's when it is one end, else where the first packet seen went to."""
        seen = {}
        for addresses, ports, _, _ in self.packets:
            ends = frozenset(((addresses[0], ports[0]), (addresses[1], ports[1])))
            seen.setdefault(ends, HBONE_PORT if HBONE_PORT in ports else ports[1])
        return set(seen.values())

    def tls_versions(self):
        """Of every ServerHello, the version that it chose; of every stream that does not begin with TLS, "no TLS"."""
        first, versions = {}, set()
        for addresses, ports, _, payload in self.packets:
            if payload:
                first.setdefault((addresses, ports), payload)
        for (_, ports), payload in first.items():
            if payload[0] != 22:
                versions.add("no TLS")
            elif payload[5] == 2:
                versions.add("TLS 1.3" if b"\x00\x2b\x00\x02\x03\x04" in payload else "older TLS")
        return versions
