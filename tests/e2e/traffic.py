# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients and servers do in the pods. Each takes `ready` last; servers call it once they listen."""

import contextlib
import datetime
import errno
import hashlib
import select
import selectors
import socket
import struct
import time

BLOCK = 1 << 20


def listen(port, backlog=4096):
    s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("::", port))
    s.listen(backlog)
    return s


def connect(address, port, timeout=20):
    s = socket.create_connection((address, port), timeout=timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def pattern(n):
    """Bytes that repeat only at a prime distance, so that a lost or doubled block changes the hash."""
    unit = bytes((i * 7 + (i >> 8)) & 0xFF for i in range(65521))
    return (unit * (n // len(unit) + 1))[:n]


def abort(s):
    """Close with a reset."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def send_hashed(s, total):
    block, sent, digest = pattern(BLOCK), 0, hashlib.sha256()
    while sent < total:
        piece = block[: min(BLOCK, total - sent)]
        s.sendall(piece)
        digest.update(piece)
        sent += len(piece)
    return digest.hexdigest()


def receive_hashed(s, total=None):
    digest, got = hashlib.sha256(), 0
    buffer = bytearray(BLOCK)
    while total is None or got < total:
        n = s.recv_into(buffer, min(BLOCK, BLOCK if total is None else total - got))
        if n == 0:
            break
        digest.update(memoryview(buffer)[:n])
        got += n
    return got, digest.hexdigest()


def how_it_ends(s, timeout=20):
    """Reads to the end: ("eof", bytes) or the name of the error."""
    s.settimeout(timeout)
    got = 0
    try:
        while True:
            data = s.recv(BLOCK)
            if not data:
                return "eof", got
            got += len(data)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error)), got


def sink_server(port, n=1, *, ready):
    """Takes n connections one by one, reads each to its end, answers nothing; (bytes, hash, peer) of each."""
    server, seen = listen(port), []
    ready()
    for _ in range(n):
        s, peer = server.accept()
        got, digest = receive_hashed(s)
        seen.append((got, digest, peer[0].removeprefix("::ffff:")))
        s.close()
    return seen


def upload(address, port, total, *, ready):
    s = connect(address, port)
    digest = send_hashed(s, total)
    s.shutdown(socket.SHUT_WR)
    end = how_it_ends(s, 60)
    return digest, end


def source_server(port, total, *, ready):
    server = listen(port)
    ready()
    s, _ = server.accept()
    digest = send_hashed(s, total)
    s.shutdown(socket.SHUT_WR)
    end = how_it_ends(s, 60)
    return digest, end


def download(address, port, *, ready):
    s = connect(address, port)
    got, digest = receive_hashed(s)
    s.close()
    return got, digest


def echo_server(port, *, ready):
    """Echoes on any number of connections until it is killed."""
    server, selector = listen(port), selectors.DefaultSelector()
    server.setblocking(False)
    selector.register(server, selectors.EVENT_READ)
    pending = {}
    ready()
    while True:
        for key, events in selector.select():
            s = key.fileobj
            if s is server:
                try:
                    c, _ = server.accept()
                except BlockingIOError:
                    continue
                c.setblocking(False)
                pending[c] = [b"", False]
                selector.register(c, selectors.EVENT_READ)
                continue
            echo_turn(selector, s, pending)


def echo_turn(selector, s, pending):
    state = pending[s]
    try:
        if not state[1] and len(state[0]) < 65536:
            try:
                data = s.recv(65536)
                state[0] += data
                state[1] = not data
            except BlockingIOError:
                pass
        if state[0]:
            try:
                state[0] = state[0][s.send(state[0]):]
            except BlockingIOError:
                pass
        if state[1] and not state[0]:
            selector.unregister(s)
            del pending[s]
            s.close()
            return
        want = (selectors.EVENT_READ if not state[1] and len(state[0]) < 65536 else 0) | (selectors.EVENT_WRITE if state[0] else 0)
        selector.modify(s, want or selectors.EVENT_READ)
    except OSError:
        selector.unregister(s)
        del pending[s]
        s.close()


def ping_pong(address, port, rounds, size, *, ready):
    """Round trips; the median in microseconds."""
    s, message, times = connect(address, port), pattern(size), []
    ready()
    for _ in range(rounds):
        began = time.perf_counter()
        if size <= 65536:
            s.sendall(message)
            got = b""
            while len(got) < size:
                piece = s.recv(size - len(got))
                if not piece:
                    raise ConnectionError("ended early")
                got += piece
            if got != message:
                raise ValueError("echo differs")
        else:
            exchange(s, message)
        times.append(time.perf_counter() - began)
    s.close()
    return sorted(times)[len(times) // 2] * 1e6


def exchange(s, message):
    """Sends a large message and reads its echo at the same time."""
    s.setblocking(False)
    sent, got, digest = 0, 0, hashlib.sha256()
    while got < len(message):
        r, w, _ = select.select([s], [s] if sent < len(message) else [], [], 30)
        if not r and not w:
            raise TimeoutError("echo stands still")
        if w:
            sent += s.send(memoryview(message)[sent:sent + 262144])
        if r:
            data = s.recv(262144)
            if not data:
                raise ConnectionError("ended early")
            digest.update(data)
            got += len(data)
    s.setblocking(True)
    if digest.digest() != hashlib.sha256(message).digest():
        raise ValueError("echo differs")


def many(address, port, n, size, *, ready):
    """n connections at once; every second one reads slowly, in small pieces. Returns how many echoed all of it."""
    message, selector, done = pattern(size), selectors.DefaultSelector(), 0
    state = {}
    for i in range(n):
        s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        s.setblocking(False)
        s.connect_ex((address, port))
        state[s] = [0, b"", i % 2 == 1]
        selector.register(s, selectors.EVENT_READ | selectors.EVENT_WRITE)
    ready()
    deadline, next_slow = time.monotonic() + 120, time.monotonic()
    while state:
        if time.monotonic() > deadline:
            return done, f"{len(state)} connections did not end"
        slow_turn = time.monotonic() >= next_slow
        if slow_turn:
            next_slow = time.monotonic() + 0.05
        for key, events in selector.select(0.05):
            s = key.fileobj
            sent, got, slow = state[s]
            if events & selectors.EVENT_WRITE and sent < size:
                sent += s.send(message[sent:sent + 4096])
                if sent == size:
                    selector.modify(s, selectors.EVENT_READ)
            if events & selectors.EVENT_READ and (not slow or slow_turn):
                data = s.recv(1024 if slow else 65536)
                if not data:
                    return done, f"a connection ended after {len(got)} of {size} bytes"
                got += data
            state[s] = [sent, got, slow]
            if len(got) == size:
                if got != message:
                    return done, "echo differs"
                selector.unregister(s)
                s.close()
                del state[s]
                done += 1
    return done, ""


def steady(address, port, seconds, *, ready):
    """One connection that echoes a little every tenth of a second; the number of echoes. Any break is an error."""
    s, n = connect(address, port), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        message = pattern(1000 + n)
        s.sendall(message)
        got = b""
        while len(got) < len(message):
            piece = s.recv(65536)
            if not piece:
                raise ConnectionError("ended early")
            got += piece
        if got != message:
            raise ValueError("echo differs")
        n += 1
        if n == 1:
            ready()
        time.sleep(0.1)
    s.close()
    return n


def until_broken(address, port, *, ready):
    """One connection that echoes a little all the time; how it was broken, and when (monotonic)."""
    s = connect(address, port)
    s.sendall(b"x")
    s.recv(1)
    ready()
    while True:
        try:
            s.sendall(b"x")
            if not s.recv(1):
                return "eof", time.monotonic()
        except OSError as error:
            return errno.errorcode.get(error.errno, str(error)), time.monotonic()
        time.sleep(0.02)  # the pace of the traffic, nothing waits for it


def hold_many(address, port, n, *, ready):
    """Holds n connections that have each echoed one byte; says when the last of them ended and how many by a reset."""
    selector, echoed, resets = selectors.DefaultSelector(), 0, 0
    for begin in range(0, n, 500):  # in batches, so that no listener's queue overflows
        batch = []
        for _ in range(begin, min(begin + 500, n)):
            s = connect(address, port)
            s.sendall(b"x")
            batch.append(s)
        for s in batch:
            echoed += s.recv(1) == b"x"
            s.setblocking(False)
            selector.register(s, selectors.EVENT_READ)
    if echoed != n:
        raise ConnectionError(f"{echoed} of {n} echoed")
    ready()
    left, deadline = n, time.monotonic() + 60
    while left and time.monotonic() < deadline:
        for key, _ in selector.select(1):
            try:
                ended = key.fileobj.recv(1) == b""
            except OSError:
                ended, resets = True, resets + 1
            if ended:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                left -= 1
    return time.time(), resets, left


def half_close_server(port, *, ready):
    """Reads to the end of the client's half, then answers with what it got."""
    server = listen(port)
    ready()
    s, _ = server.accept()
    got, digest = receive_hashed(s)
    s.sendall(f"{got} {digest}".encode())
    s.close()
    return got


def half_close_client(address, port, total, *, ready):
    s = connect(address, port)
    digest = send_hashed(s, total)
    s.shutdown(socket.SHUT_WR)
    answer = b""
    while piece := s.recv(65536):
        answer += piece
    return answer.decode() == f"{total} {digest}"


def server_half_closes(port, total, *, ready):
    """Sends all, ends its half, then reads what the client still says."""
    server = listen(port)
    ready()
    s, _ = server.accept()
    send_hashed(s, total)
    s.shutdown(socket.SHUT_WR)
    return receive_hashed(s)[0]


def client_after_half_close(address, port, total, *, ready):
    s = connect(address, port)
    got, _ = receive_hashed(s)
    send_hashed(s, total)
    s.close()
    return got


def reset_server(port, *, ready):
    """Reads one byte, then resets."""
    server = listen(port)
    ready()
    s, _ = server.accept()
    s.recv(1)
    abort(s)


def ended_server(port, *, ready):
    """How the one connection ends, as the server sees it."""
    server = listen(port)
    ready()
    s, _ = server.accept()
    return how_it_ends(s)


def acknowledging_server(port, *, ready):
    """Answers the first byte, then tells how the connection ends."""
    server = listen(port)
    ready()
    s, _ = server.accept()
    s.recv(1)
    s.sendall(b"x")
    return how_it_ends(s)


def ended_client(address, port, *, ready):
    s = connect(address, port)
    s.sendall(b"x")
    return how_it_ends(s)


def ended_client_silent(address, port, *, ready):
    """Opens, exchanges one byte, then only waits for the end."""
    s = connect(address, port)
    s.sendall(b"x")
    s.recv(1)
    ready()
    return how_it_ends(s)


def reset_client(address, port, *, ready):
    s = connect(address, port)
    s.sendall(b"x")
    s.recv(1)  # its answer: a reset may overtake data that is still queued, and a connection that is not yet open
    abort(s)


def stopped_reader(address, port, *, ready):
    """Connects and never reads; holds until it is killed."""
    s = connect(address, port)
    s.sendall(b"x")
    ready()
    select.select([], [], [])


def flood_server(port, *, ready):
    """Sends to every connection as much as it takes; a connection that takes nothing holds nobody up."""
    server, selector = listen(port), selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)
    block = pattern(262144)
    ready()
    while True:
        for key, _ in selector.select():
            if key.fileobj is server:
                c, _ = server.accept()
                c.setblocking(False)
                selector.register(c, selectors.EVENT_WRITE)
                continue
            try:
                key.fileobj.send(block)
            except BlockingIOError:
                pass
            except OSError:
                selector.unregister(key.fileobj)
                key.fileobj.close()


def one_by_one(address, port, n, *, ready):
    """n connections one after another, one byte each way."""
    ready()
    for _ in range(n):
        s = connect(address, port)
        s.sendall(b"x")
        if s.recv(1) != b"x":
            raise ConnectionError("no echo")
        s.close()
    return n


def attempt(address, port, timeout=20):
    """One connection that must echo a byte: ("ok" or the error's name, the step that said so, the local port)."""
    step, from_port = "connect", 0
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
        try:
            s.settimeout(timeout)
            s.connect((address, port))
            from_port = s.getsockname()[1]
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            step = "send"
            s.sendall(b"x")
            step = "receive"
            return "ok" if s.recv(1) == b"x" else "eof", step, from_port
        except TimeoutError:
            return "timeout", step, from_port
        except OSError as error:
            return errno.errorcode.get(error.errno, str(error)), step, from_port


def try_connect(address, port, timeout=20, *, ready):
    """"ok", or the error's name; a connection that is accepted must also echo."""
    return attempt(address, port, timeout)[0]


def now():
    """The time as the daemons' logs write it."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def keep_connecting(address, port, until, *, ready):
    """Connection after connection echoes a byte until the file `until` is there: (how many did, (began, ended, what, step, port) of the rest)."""
    good, bad = 0, []
    while not until.exists():
        began = now()
        verdict, step, from_port = attempt(address, port, 20)
        if verdict == "ok":
            good += 1
        else:
            bad.append((began, now(), verdict, step, from_port))
        if good + len(bad) == 1:
            ready()
    return good, bad


def names(address, port, *, ready):
    """What the client's socket says of both ends."""
    s = connect(address, port)
    s.sendall(b"x")
    s.recv(1)
    return s.getpeername()[:2], s.getsockname()[0]


def mapped_names(address, port, *, ready):
    """The same through a v4-mapped IPv6 socket."""
    s = socket.socket(socket.AF_INET6)
    s.settimeout(10)
    s.connect(("::ffff:" + address, port))
    s.sendall(b"x")
    s.recv(1)
    return s.getpeername()[:2], s.getsockname()[0]
