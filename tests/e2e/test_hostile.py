# SPDX-License-Identifier: GPL-3.0-or-later
"""Peers that lie, flood or stand still at port 15008: a clear answer, nothing opened, nobody else hurt."""

import contextlib
import socket
import ssl
import time

import hbone
import traffic
from common import expect, expect_equal, pod, scaled, standard_lab
from hbone import CONTINUATION, DATA, END_HEADERS, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, Http2, block, connect_headers, frame
from lab import eventually, inside
from tasks import Task

PORT = 9400


def lab():
    made = standard_lab("hostile")
    root = made.dir / "root-ca"
    made.root = (root / "ca-cert.pem", root / "ca-key.pem")
    made.certs = made.dir / "certs"
    client = pod(made, "client").identity
    made.good = hbone.issue(made.certs, "good", made.root, uris=[client])
    return made


def address(lab):
    return pod(lab, "server").ip


@contextlib.contextmanager
def session(lab, credential=None):
    with inside(pod(lab, "outsider").netns):
        s = hbone.tls(address(lab), credential or lab.good)
    with s:
        yield Http2(s)


def still_serves(lab):
    with session(lab) as h:
        h.request(1, connect_headers(f"{address(lab)}:{PORT}"))
        expect_equal(h.outcome(1), "200", "a good request afterwards")
    expect_equal(Task(pod(lab, "client"), traffic.try_connect, address(lab), PORT).result(), "ok", "a real client afterwards")


def serve(lab):
    Task(pod(lab, "server"), traffic.echo_server, PORT).wait_ready()


def case_requests(lab):
    """Methods, authorities, addresses, ports: 200, 400, 503 as HBONE has them"""
    serve(lab)
    ip = address(lab)
    good = f"{ip}:{PORT}"
    table = [
        ("a good CONNECT", connect_headers(good), {"200"}),
        ("IPv6 authority of the same pod, family differs", connect_headers(f"[{pod(lab, 'server').ip6}]:{PORT}"), {"400"}),
        ("GET", [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", good)], {"400"}),
        ("no authority", connect_headers(None), {"400", "RST 1"}),
        ("authority without a port", connect_headers(ip), {"400"}),
        ("port 0", connect_headers(f"{ip}:0"), {"400"}),
        ("port 65536", connect_headers(f"{ip}:65536"), {"400"}),
        ("another pod's address", connect_headers(f"{pod(lab, 'server2').ip}:{PORT}"), {"400"}),
        ("a foreign address", connect_headers(f"192.0.2.1:{PORT}"), {"400"}),
        ("loopback", connect_headers(f"127.0.0.1:{PORT}"), {"400"}),
        ("port 15001", connect_headers(f"{ip}:15001"), {"503"}),
        ("port 15006", connect_headers(f"{ip}:15006"), {"503"}),
        ("port 15008", connect_headers(f"{ip}:15008"), {"503"}),
        ("nobody listens", connect_headers(f"{ip}:{PORT + 77}"), {"503"}),
        ("extended CONNECT", [*connect_headers(good), (":protocol", "websocket"), (":scheme", "https"), (":path", "/")], {"400", "RST 1"}),
        ("upper-case header name", [*connect_headers(good), ("Baggage", "x")], {"400", "RST 1"}),
        ("two authorities", [*connect_headers(good), (":authority", good)], {"400", "RST 1"}),
        ("an empty authority", connect_headers(""), {"400", "RST 1"}),
        ("odd but harmless headers", [*connect_headers(good), ("baggage", "k8s.namespace.name=x,,=,y"), ("forwarded", 'for="1.2.3.4:5";host='),
                                      ("traceparent", "00-zz"), ("x-unknown", "1")], {"200"}),
    ]
    for name, headers, expected in table:
        with session(lab) as h:
            h.request(1, headers)
            outcome = h.outcome(1)
            expect(outcome in expected, f"{name}: {outcome}, expected one of {expected}")
    still_serves(lab)


def refused(lab, credential, **options):
    """The handshake, or the first read after it, must fail."""
    try:
        with inside(pod(lab, "outsider").netns):
            s = hbone.tls(address(lab), credential, **options)
        with s:
            h = Http2(s)
            h.request(1, connect_headers(f"{address(lab)}:{PORT}"))
            return h.outcome(1) == "closed"
    except (ssl.SSLError, ConnectionError):
        return True


def case_certificates(lab):
    """Each bad certificate is refused in the handshake, and the log says why"""
    serve(lab)
    client = pod(lab, "client").identity
    d, root = lab.certs, lab.root
    foreign = hbone.self_signed_ca(d, "foreign")
    ca_leaf = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature,keyCertSign\nextendedKeyUsage=serverAuth,clientAuth\n"
    no_client = hbone.LEAF.replace(",clientAuth", "")
    bad = {
        "no certificate": None,
        "another CA": hbone.issue(d, "foreign-leaf", foreign, uris=[client]),
        "another trust domain": hbone.issue(d, "td", root, uris=["spiffe://other.domain/ns/default/sa/client"]),
        "expired": hbone.issue(d, "expired", root, uris=[client], start="20200101000000Z", end="20200102000000Z"),
        "not yet valid": hbone.issue(d, "future", root, uris=[client], start="20400101000000Z", end="20410102000000Z"),
        "two URI SANs": hbone.issue(d, "two", root, uris=[client, "spiffe://cluster.local/ns/default/sa/other"]),
        "no SAN": hbone.issue(d, "none", root, uris=[]),
        "a URI that is no workload's": hbone.issue(d, "path", root, uris=["spiffe://cluster.local/x"]),
        "CA as leaf": hbone.issue(d, "ca-leaf", root, uris=[client], extensions=ca_leaf),
        "no clientAuth": hbone.issue(d, "usage", root, uris=[client], extensions=no_client),
    }
    for name, credential in bad.items():
        expect(refused(lab, credential), f"{name} was accepted")
    node_one = lab.nodes[0].ca_dir
    stolen = hbone.issue(d, "stolen", (node_one / "ca-cert.pem", node_one / "ca-key.pem"), uris=[pod(lab, "server2").identity])
    stolen[0].write_text(stolen[0].read_text() + (node_one / "ca-cert.pem").read_text())
    expect(refused(lab, stolen), "a leaf that node-1's key signed for an identity of node-2 was accepted")
    fair = hbone.issue(d, "fair", (node_one / "ca-cert.pem", node_one / "ca-key.pem"), uris=[client])
    fair[0].write_text(fair[0].read_text() + (node_one / "ca-cert.pem").read_text())
    with session(lab, fair) as h:
        h.request(1, connect_headers(f"{address(lab)}:{PORT}"))
        expect_equal(h.outcome(1), "200", "a leaf that node-1's key signed for its own identity")
    log = lab.nodes[1].log.read_text() + "\n".join(lab.nodes[1].access_lines())
    for word in ("expired", "exactly one URI", "issuing node", "trust"):
        expect(word in log, f"the logs say nothing of '{word}'")
    still_serves(lab)


def case_handshakes(lab):
    """TLS 1.2, no ALPN, HTTP/1 in TLS, plaintext on the port"""
    serve(lab)
    expect(refused(lab, lab.good, version=ssl.TLSVersion.TLSv1_2), "TLS 1.2 was accepted")
    expect(refused(lab, lab.good, alpn=()), "a client without ALPN was accepted")
    expect(refused(lab, lab.good, alpn=("http/1.1",)), "a client with ALPN http/1.1 was accepted")
    with inside(pod(lab, "outsider").netns):
        with hbone.tls(address(lab), lab.good) as s:
            s.sendall(b"CONNECT 10.71.2.21:9400 HTTP/1.1\r\nHost: x\r\n\r\n")
            got = b""
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                while piece := s.recv(65536):
                    got += piece
            expect(b"HTTP/1" not in got, f"HTTP/1 was answered: {got[:80]}")
        with socket.create_connection((address(lab), 15008), timeout=10) as s:
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                expect(s.recv(4096)[:1] in (b"", b"\x15"), "plaintext on 15008 was answered with more than a TLS alert")
    still_serves(lab)


def case_silent_handshake(lab):
    """A handshake that never ends is cut after 10 s; one that trickles too"""
    began = time.monotonic()  # before our clock may begin, so that a loaded machine makes nothing look early
    with inside(pod(lab, "outsider").netns):
        silent, trickle = (socket.create_connection((address(lab), 15008)) for _ in range(2))
    silent.settimeout(40)
    trickle.settimeout(0.5)
    hello = b"\x16\x03\x01\x40\x00"
    cut = None
    while cut is None and time.monotonic() - began < 40:
        try:
            trickle.sendall(hello[:1])
            hello = hello[1:] or b"\x00"
            if trickle.recv(100) == b"":
                cut = time.monotonic() - began
        except TimeoutError:
            continue
        except OSError:
            cut = time.monotonic() - began
    with contextlib.suppress(ConnectionError):
        silent.recv(100)
    expect(9 < time.monotonic() - began < 15, f"the silent one was cut after {time.monotonic() - began:.1f} s")
    expect(cut is not None and 9 < cut < 15, f"the trickling one was cut after {cut}")


def case_header_floods(lab):
    """64 KiB of headers, CONTINUATION without end"""
    serve(lab)
    ip = address(lab)
    with session(lab) as h:
        big = block([*connect_headers(f"{ip}:{PORT}"), *((f"x-{i}", "v" * 1000) for i in range(64))])
        h.send(frame(HEADERS, 0, 1, big[:16000]))
        rest = big[16000:]
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while rest:
                h.send(frame(CONTINUATION, 0 if len(rest) > 16000 else END_HEADERS, 1, rest[:16000]))
                rest = rest[16000:]
        outcome = h.outcome(1)
        expect(outcome in ("closed", "431", "400") or outcome.startswith(("RST", "GOAWAY")), f"64 KiB of headers: {outcome}")
    with session(lab) as h:
        h.send(frame(HEADERS, 0, 1, block(connect_headers(f"{ip}:{PORT}"))))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            for _ in range(20000):
                h.send(frame(CONTINUATION, 0, 1, b""))
        outcome = h.outcome(1)
        expect(outcome == "closed" or outcome.startswith("GOAWAY"), f"endless CONTINUATION: {outcome}")
    still_serves(lab)


def flood(lab, name, make):
    """Sends many of a kind; the connection must end by the other side, or stay with bounded memory."""
    kib = lab.nodes[1].daemon.own_kib()
    with session(lab) as h:
        sent, cut = 0, False
        try:
            for i in range(200):
                h.send(*(make(200 * i + k) for k in range(200)))
                sent += 200
        except (ConnectionError, ssl.SSLError, TimeoutError):
            cut = True
        outcome = "closed" if cut else h.outcome(-1)
        expect(outcome == "closed" or outcome.startswith("GOAWAY"), f"{name}: {sent} taken, then {outcome}")
    eventually(f"{name}: memory is {kib} KiB and not 16 MiB more", lambda: scaled(10) == 1 or lab.nodes[1].daemon.own_kib() - kib < 16384)


def case_frame_floods(lab):
    """Rapid reset, SETTINGS, PING, PRIORITY and empty-window floods end the connection, and only that one"""
    serve(lab)
    head = block(connect_headers(f"{address(lab)}:{PORT}"))
    flood(lab, "rapid reset", lambda i: frame(HEADERS, END_HEADERS, 2 * i + 1, head) + frame(RST_STREAM, 0, 2 * i + 1, b"\0\0\0\x08"))
    flood(lab, "SETTINGS", lambda i: frame(SETTINGS, 0, 0))
    flood(lab, "PING", lambda i: frame(PING, 0, 0, b"12345678"))
    flood(lab, "PRIORITY", lambda i: frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"))
    flood(lab, "WINDOW_UPDATE", lambda i: frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\x01"))
    still_serves(lab)


def case_flood_that_goes_on(lab):
    """A peer that sends on after its GOAWAY is cut: what is read only to be thrown away is bounded"""
    serve(lab)
    many, sent = frame(PING, 0, 0, b"12345678") * 4000, 0
    with session(lab) as h:
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            while sent < (512 << 20):
                h.send(many)
                sent += len(many)
    expect(sent < 48 << 20, f"{sent >> 20} MiB were taken from a peer that was told to be calm")  # 16 and what sockets hold
    still_serves(lab)


def case_idle_connections(lab):
    """5,000 idle connections to 15008: cut in time, descriptors come back, others are served meanwhile"""
    serve(lab)
    daemon, n = lab.nodes[1].daemon, scaled(5000)
    before = daemon.descriptors()
    with inside(pod(lab, "outsider").netns):
        idle = []
        for _ in range(n):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex((address(lab), 15008))
            idle.append(s)
    expect_equal(Task(pod(lab, "client"), traffic.try_connect, address(lab), PORT).result(), "ok", "a real client meanwhile")
    eventually("idle connections are cut", lambda: daemon.descriptors() <= before + 50, 40)
    for s in idle:
        s.close()
    still_serves(lab)


def talk(lab_address, credential, answers, seconds, *, ready):
    """A peer that opens a stream and then says nothing: when PINGs came, when the connection ended (None: it did not), both
    in seconds after the last word, and whether the stream still echoes."""
    s = hbone.tls(lab_address, credential)
    h = Http2(s, answers=answers)
    began, pings = time.monotonic(), []  # before the last byte it hears
    h.request(1, connect_headers(f"{lab_address}:{PORT}"))
    if h.outcome(1) != "200":
        raise ConnectionError("no stream")
    s.settimeout(0.5)
    while time.monotonic() < began + seconds:
        try:
            got = h.read()
        except TimeoutError:
            continue
        if got is None:
            return pings, time.monotonic() - began, False
        if got[0] == PING and not got[1] & 1:
            pings.append(time.monotonic() - began)
    h.send(frame(DATA, 0, 1, b"still there?"))
    s.settimeout(5)
    while (got := h.read()) and got[0] != DATA:
        continue
    return pings, None, got is not None and got[3] == b"still there?"


def case_pings(lab):
    """A silent peer is asked after 10 s; who answers stays, who does not is cut 20 s later"""
    serve(lab)
    seconds = 45
    tasks = [Task(pod(lab, "outsider"), talk, address(lab), lab.good, answers, seconds) for answers in (True, False)]
    (kept_pings, kept_end, echoed), (lost_pings, lost_end, _) = (t.result(seconds + 20) for t in tasks)
    expect(kept_end is None and echoed, f"a peer that answers PINGs at {kept_pings} was cut after {kept_end} s")
    expect(len(kept_pings) >= 2, f"PINGs to the peer that answers: {kept_pings}")
    for pings in (kept_pings, lost_pings):
        expect(pings and 9 < pings[0] < 12, f"the first PING comes after 10 s of silence: {pings}")
    expect(len(lost_pings) == 1, f"one question is enough: {lost_pings}")
    # When it heard the PING may be late, and what it heard last was before `talk` began to count: 10 s and 20 s.
    expect(lost_end is not None and 29.5 < lost_end and lost_end - lost_pings[0] < 31, f"a peer that does not answer was cut after {lost_end} s, asked at {lost_pings}")
    still_serves(lab)


def case_large_windows(lab):
    """A peer with ztunnel's settings: 4 MiB a stream, 16 MiB in all, frames of 1 MiB; our own window is 256 KiB at most"""
    total = 24 << 20
    Task(pod(lab, "server"), traffic.source_server, PORT + 1, total).wait_ready()
    settings = b"".join(k.to_bytes(2, "big") + v.to_bytes(4, "big") for k, v in ((2, 0), (3, 200), (4, 4 << 20), (5, 1 << 20), (6, 16384)))
    with inside(pod(lab, "outsider").netns):
        s = hbone.tls(address(lab), lab.good)
    with s:
        h = Http2(s, settings)
        h.send(frame(WINDOW_UPDATE, 0, 0, ((16 << 20) - 65535).to_bytes(4, "big")))
        h.request(1, connect_headers(f"{address(lab)}:{PORT + 1}"))
        got, windows = 0, []

        def take(until):
            """DATA until so many bytes came, or the other side falls silent."""
            nonlocal got
            with contextlib.suppress(TimeoutError):
                while got < until:
                    kind, _, stream, payload = h.read()
                    if kind == SETTINGS:
                        windows.extend(int.from_bytes(payload[i + 2:i + 6], "big") for i in range(0, len(payload), 6) if payload[i + 1] == 4)
                    expect(kind not in (RST_STREAM, GOAWAY), f"frame {kind}: {payload}")
                    got += len(payload) if kind == DATA and stream == 1 else 0

        take(4 << 20)
        s.settimeout(2)
        take(total)
        expect_equal(got, 4 << 20, "bytes that came for the stream's first window, and not one more")
        expect(windows and all(w <= 256 << 10 for w in windows), f"the windows advertised: {windows}")
        s.settimeout(30)
        while got < total:
            for stream in (0, 1):
                h.send(frame(WINDOW_UPDATE, 0, stream, (4 << 20).to_bytes(4, "big")))
            take(min(total, got + (4 << 20)))
        expect_equal(got, total, "bytes")


def case_data_limits(lab):
    """1 MiB DATA frames are taken; bytes past the advertised window end the connection, never our memory"""
    serve(lab)
    with session(lab) as h:
        h.request(1, connect_headers(f"{address(lab)}:{PORT}"))
        expect_equal(h.outcome(1), "200", "CONNECT")
        h.send(frame(0, 0, 1, b"x" * 200_000))
        got = 0
        while got < 200_000:
            kind, _, stream, payload = h.read()
            got += len(payload) if kind == 0 and stream == 1 else 0
            if kind == 0:
                h.send(frame(WINDOW_UPDATE, 0, 0, len(payload).to_bytes(4, "big")), frame(WINDOW_UPDATE, 0, 1, len(payload).to_bytes(4, "big")))
    with session(lab) as h:
        h.request(1, connect_headers(f"{address(lab)}:{PORT}"))
        expect_equal(h.outcome(1), "200", "CONNECT")
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            for _ in range(64):
                h.send(frame(0, 0, 1, b"x" * 1_000_000))
        outcome = h.outcome(1, 10)
        expect(outcome == "closed" or outcome.startswith(("RST 3", "GOAWAY 3")), f"64 MB past the window: {outcome}")
    still_serves(lab)
