# SPDX-License-Identifier: GPL-3.0-or-later
"""An HBONE peer of our own for hostile tests: certificates by openssl, TLS by Python, HTTP/2 frames by hand."""

import contextlib
import socket
import ssl
import struct
import threading
import time

from lab import PATIENCE, sh

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4
LEAF = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n"


def issue(directory, name, ca, *, uris, days=1, extensions=None, start=None, end=None):
    """A certificate signed with the CA files (cert, key) of `ca`; returns (chain file, key file)."""
    directory.mkdir(exist_ok=True)
    key, csr, cert, ext = (directory / f"{name}.{suffix}" for suffix in ("key", "csr", "pem", "ext"))
    sh("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    sh("openssl", "req", "-new", "-key", key, "-subj", "/O=test", "-out", csr)
    sans = "subjectAltName=critical," + ",".join(f"URI:{u}" for u in uris) + "\n" if uris else ""
    ext.write_text((extensions or LEAF) + sans)
    if start:
        # `openssl x509` cannot set both ends; `openssl ca` can.
        (directory / "index").write_text("")
        (directory / "ca.conf").write_text(
            f"[ca]\ndefault_ca=c\n[c]\ndatabase={directory}/index\nnew_certs_dir={directory}\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n"
            f"unique_subject=no\n[p]\norganizationName=optional\n")
        sh("openssl", "ca", "-batch", "-notext", "-config", directory / "ca.conf", "-cert", ca[0], "-keyfile", ca[1], "-in", csr, "-out", cert,
           "-startdate", start, "-enddate", end, "-extfile", ext)
    else:
        sh("openssl", "x509", "-req", "-in", csr, "-CA", ca[0], "-CAkey", ca[1], "-CAcreateserial", "-days", days, "-extfile", ext, "-out", cert)
    return cert, key


def self_signed_ca(directory, name):
    directory.mkdir(exist_ok=True)
    key, cert = directory / f"{name}-ca.key", directory / f"{name}-ca.pem"
    sh("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    sh("openssl", "req", "-x509", "-new", "-key", key, "-subj", "/O=cluster.local", "-days", "10", "-out", cert,
       "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    return cert, key


def tls(address, credential=None, *, alpn=("h2",), version=ssl.TLSVersion.TLSv1_3, port=15008, timeout=10 * PATIENCE):
    """A TLS connection; raises ssl.SSLError or OSError. In TLS 1.3 a refusal of our certificate shows at the first read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if credential:
        context.load_cert_chain(*credential)
    raw = socket.create_connection((address, port), timeout=timeout)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw)


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload


def integer(n, bits, first):
    limit = (1 << bits) - 1
    if n < limit:
        return bytes((first | n,))
    out = [first | limit]
    n -= limit
    while n >= 128:
        out.append(n % 128 + 128)
        n //= 128
    return bytes((*out, n))


def block(headers):
    """HPACK without compression: literals without indexing."""
    return b"".join(b"\x00" + integer(len(k), 7, 0) + k.encode() + integer(len(v), 7, 0) + v.encode() for k, v in headers)


def connect_headers(authority):
    return [(":method", "CONNECT")] + ([(":authority", authority)] if authority is not None else [])


def answering_server(address, credential, answer, *, ready):
    """An HBONE server that gives every request the same answer: answer(stream) are the frames. Serves until it is killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(*credential)
    context.set_alpn_protocols(["h2"])
    server = socket.create_server((address, 15008))
    ready()
    while True:
        raw, _ = server.accept()
        threading.Thread(target=_answer_all, args=(context, raw, answer), daemon=True).start()


def _answer_all(context, raw, answer):
    raw.settimeout(30)
    with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as s:
        preface = b""
        while len(preface) < len(PREFACE):
            preface += s.recv(len(PREFACE) - len(preface)) or PREFACE
        h = Http2(s, server=True)
        while got := h.read():
            if got[0] == HEADERS:
                h.send(answer(got[2]))


class Http2:
    """Frames over a socket; reads are bounded by its timeout. `answers`: PINGs are answered. `server`: the preface has come."""

    def __init__(self, s, settings=b"", answers=True, server=False):
        self.s, self.buffer, self.answers = s, b"", answers
        s.sendall((b"" if server else PREFACE) + frame(SETTINGS, 0, 0, settings))

    def send(self, *frames):
        self.s.sendall(b"".join(frames))

    def request(self, stream, headers, end=False):
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block(headers)))

    def read(self):
        """(kind, flags, stream, payload), or None at the end."""
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            try:
                piece = self.s.recv(65536)
            except (ConnectionError, ssl.SSLError, ssl.SSLEOFError):
                return None
            if not piece:
                return None
            self.buffer += piece
        n = int.from_bytes(self.buffer[:3], "big")
        head, payload, self.buffer = self.buffer[:9], self.buffer[9:9 + n], self.buffer[9 + n:]
        with contextlib.suppress(ConnectionError, ssl.SSLError):  # the other side may be gone; what it said counts
            if head[3] == SETTINGS and not head[4] & 1:
                self.send(frame(SETTINGS, 1, 0))
            if head[3] == PING and not head[4] & 1 and self.answers:
                self.send(frame(PING, 1, 0, payload))
        return head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, payload

    def outcome(self, stream, seconds=10 * PATIENCE):
        """What the stream gets: a status as "200", "RST n", "GOAWAY n" or "closed"."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            got = self.read()
            if got is None:
                return "closed"
            kind, _, number, payload = got
            if kind == HEADERS and number == stream:
                return status_of(payload)
            if kind == RST_STREAM and number == stream:
                return f"RST {int.from_bytes(payload, 'big')}"
            if kind == GOAWAY:
                return f"GOAWAY {int.from_bytes(payload[4:8], 'big')}"
        return "nothing"


def status_of(payload):
    """The :status of a header block: indexed (static table 8 to 14), or a literal on one of those names."""
    table = {8: "200", 9: "204", 10: "206", 11: "304", 12: "400", 13: "404", 14: "500"}
    first = payload[0]
    while first & 0xE0 == 0x20:  # a table size update
        payload = payload[1:]
        first = payload[0]
    if first & 0x80:
        return table.get(first & 0x7F, "?")
    n = payload[1]
    value = payload[2:2 + (n & 0x7F)]
    return huffman_digits(value) if n & 0x80 else value.decode()


def huffman_digits(data):
    """Digits only (RFC 7541 appendix B): 0 to 2 have 5 bits, 3 to 9 have 6."""
    bits, out = "".join(f"{b:08b}" for b in data), ""
    codes = {"00000": "0", "00001": "1", "00010": "2", "011001": "3", "011010": "4", "011011": "5", "011100": "6", "011101": "7", "011110": "8", "011111": "9"}
    while bits:
        for n in (5, 6):
            if bits[:n] in codes:
                out, bits = out + codes[bits[:n]], bits[n:]
                break
        else:
            break
    return out
