# SPDX-License-Identifier: GPL-3.0-or-later
"""Much at once, and something happens to it: every byte arrives, or the reader is told by a reset. Readers that stop hold up nobody else."""

import contextlib
import hashlib
import pathlib
import random
import signal
import socket
import struct
import threading
import time

import traffic
from common import Skip, expect, expect_equal, pod, scaled, standard_lab
from lab import eventually, sh
from tasks import Task

PLAIN_ONLY = {"memory_limit"}  # a sanitizer's memory is not what is measured
PORT = 9600
TTL_S = 12
HELLO = struct.Struct("!QIIB")  # seed, bytes up, bytes down, who ends first
UP_FIRST, DOWN_FIRST, BOTH = range(3)


def lab():
    made = standard_lab("bulk", start=False)
    for node in made.nodes:
        node.write_config(ca=f"{{provider: files, dir: {node.ca_dir}, ttl: {TTL_S}s, rotateAt: 0.2}}", drainTimeout="20s")
        node.start()
    return made


def content(seed, n):
    return random.Random(seed).randbytes(n)


def send_in_pieces(s, data, seed):
    """In pieces of every size: bytes, records, windows."""
    rng, at = random.Random(seed), 0
    while at < len(data):
        n = rng.choice((1, 100, 4095, 4096, 5000, 16384, 16385, 65536, 300_000))
        s.sendall(data[at:at + n])
        at += n


def receive_all(s):
    """To the end of the other half: the SHA-256. A reset is an error."""
    digest = hashlib.sha256()
    while piece := s.recv(262144):
        digest.update(piece)
    return digest.hexdigest()


def talk(s, mine, theirs, first, seed):
    """Sends `mine` and ends that half, gets `theirs`; first: only then (True), only after the other half has ended (False), or at once (None)."""
    got = []
    reader = threading.Thread(target=lambda: got.append(attempt_receive(s)))
    if first is not False:
        reader.start()
        send_in_pieces(s, mine, seed)
        s.shutdown(socket.SHUT_WR)
        reader.join()
    else:
        got.append(attempt_receive(s))
        send_in_pieces(s, mine, seed)
        s.shutdown(socket.SHUT_WR)
    return "" if got[0] == hashlib.sha256(theirs).hexdigest() else f"seed {seed}: {got[0]}, {len(mine)} against {len(theirs)} bytes, {first}"


def attempt_receive(s):
    try:
        return receive_all(s)
    except OSError as error:
        return repr(error)


def talking_server(port, n, *, ready):
    """Has n conversations; what went wrong in them."""
    server, bad = traffic.listen(port), []

    def serve(s):
        try:
            s.settimeout(90)
            hello = b""
            while len(hello) < HELLO.size:
                hello += s.recv(HELLO.size - len(hello)) or b"\0" * HELLO.size
            seed, up, down, order = HELLO.unpack(hello)
            bad.append(talk(s, content(seed + 1, down), content(seed, up), None if order == BOTH else order == DOWN_FIRST, seed + 1))
            s.close()
        except OSError as error:
            bad.append(repr(error))

    threads = []
    ready()
    for _ in range(n):
        threads.append(threading.Thread(target=serve, args=(server.accept()[0],)))
        threads[-1].start()
    for t in threads:
        t.join()
    return [b for b in bad if b]


def talking_client(address, port, seeds, largest, *, ready):
    """A conversation for each seed, at once; what went wrong in them."""
    bad = []

    def converse(seed):
        rng = random.Random(seed)
        up, down, order = int(largest ** rng.random()), int(largest ** rng.random()), seed % 3
        time.sleep(rng.random() * 4)  # so that they open and end at all times of the rotations
        try:
            s = traffic.connect(address, port, 90)
            s.sendall(HELLO.pack(seed, up, down, order))
            bad.append(talk(s, content(seed, up), content(seed + 1, down), None if order == BOTH else order == UP_FIRST, seed))
            s.close()
        except OSError as error:
            bad.append(f"seed {seed}: {error!r}")

    threads = [threading.Thread(target=converse, args=(seed,)) for seed in seeds]
    for t in threads:
        t.start()
    ready()
    for t in threads:
        t.join()
    return [b for b in bad if b]


def certificates(node):
    return node.ctl("certs").stdout


def case_rotation(lab):
    """200 conversations of random sizes, either half ended first or both at once, while certificates change every two seconds"""
    n, server = scaled(200), pod(lab, "server")
    far = Task(server, talking_server, PORT, 2 * n).wait_ready()
    before = certificates(lab.nodes[0])
    clients = [Task(pod(lab, name), talking_client, server.ip if k else server.ip6, PORT, range(10_000 * k, 10_000 * k + 2 * n, 2), 4 << 20)
               for k, name in enumerate(("client", "client2"))]
    expect_equal([c.result(120) for c in clients], [[], []], "what went wrong at the clients")
    expect_equal(far.result(120), [], "and at the server")
    expect(before != certificates(lab.nodes[0]), "no certificate changed meanwhile")


def sending_server(port, n, total, *, ready):
    """Gives n connections `total` bytes each, and tells how each ended."""
    server, ends = traffic.listen(port), []

    def serve(s):
        try:
            traffic.send_hashed(s, total)
            s.shutdown(socket.SHUT_WR)
            ends.append(traffic.how_it_ends(s, 60)[0])
        except OSError as error:
            ends.append(type(error).__name__)

    ready()
    threads = [threading.Thread(target=serve, args=(server.accept()[0],)) for _ in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return ends


def exchanging_client(address, port, n, total, *, ready):
    """n connections that send and get `total` bytes each: ("eof" or the error's name, bytes, whether they are the right ones) of each."""
    seen, started, expected = [], threading.Semaphore(0), traffic.pattern(traffic.BLOCK)

    def send(s, errors):
        try:
            traffic.send_hashed(s, total)
            s.shutdown(socket.SHUT_WR)
        except OSError as error:
            errors.append(type(error).__name__)  # the kernel tells a reset once: the receiver may see an end now

    def converse():
        s, got, right, errors = traffic.connect(address, port), 0, True, []
        s.settimeout(60)
        sender = threading.Thread(target=send, args=(s, errors))
        sender.start()
        end = "eof"
        try:
            while piece := s.recv(65536):
                at = got % traffic.BLOCK
                right = right and piece == (expected + expected)[at:at + len(piece)] if got + len(piece) <= total else False
                if not got:
                    started.release()
                got += len(piece)
        except OSError as error:
            end = type(error).__name__
        sender.join()
        s.close()
        seen.append(((errors or [end])[0], got, right))

    threads = [threading.Thread(target=converse) for _ in range(n)]
    for t in threads:
        t.start()
    for _ in range(n):
        started.acquire()
    ready()
    for t in threads:
        t.join()
    return seen


def case_drain(lab):
    """SIGTERM to either node while both directions are busy: what is open runs to its end, whole; exit 0"""
    for node in lab.nodes:
        total, server = scaled(160) << 20 >> 2, pod(lab, "server")
        far = Task(server, sending_server, PORT + 1, 4, total).wait_ready()
        near = Task(pod(lab, "client"), exchanging_client, server.ip, PORT + 1, 4, total).wait_ready(20)
        node.daemon.signal(signal.SIGTERM)
        expect_equal(near.result(90), [("eof", total, True)] * 4, f"what the clients got while {node.name} drained")
        expect_equal(far.result(90), ["eof"] * 4, "what the server saw")
        expect_equal(node.daemon.process.wait(30), 0, "exit code")
        node.start()


def case_killed(lab):
    """SIGKILL of either daemon while both directions are busy: every end hears a reset, what it got until then is right"""
    for node in lab.nodes:
        server = pod(lab, "server")
        far = Task(server, sending_server, PORT + 2, 10, 1 << 32).wait_ready()
        near = Task(pod(lab, "client"), exchanging_client, server.ip, PORT + 2, 10, 1 << 32).wait_ready(20)
        node.daemon.kill()
        seen, ends = near.result(60), far.result(60)
        expect(all(end != "eof" and right for end, _, right in seen), f"{node.name} was killed, and clients saw {seen}")
        expect("eof" not in ends, f"{node.name} was killed, and the server saw {ends}")
        node.start()
        eventually("it works again", lambda: Task(pod(lab, "client"), traffic.try_connect, server.ip, PORT + 2, 2).result() == "ECONNRESET", 15)


def stopped(address, port, n, *, ready):
    """n connections that give all they can and take nothing; holds them until it is killed."""
    block, held = traffic.pattern(traffic.BLOCK), []
    for _ in range(n):
        s = traffic.connect(address, port)
        s.setblocking(False)
        held.append(s)
    quiet = time.monotonic()
    while time.monotonic() - quiet < 1.5:
        for s in held:
            try:
                s.send(block)
                quiet = time.monotonic()
            except BlockingIOError:
                pass
            except OSError:
                pass  # cut, as memory runs short
    ready()
    signal.pause()


def stopped_server(port, *, ready):
    """Takes connections, sends as much as they take, and reads nothing."""
    server, held, block = traffic.listen(port), [], traffic.pattern(traffic.BLOCK)
    server.settimeout(0.05)
    ready()
    while True:
        try:
            s = server.accept()[0]
            s.setblocking(False)
            held.append(s)
        except TimeoutError:
            pass
        for s in held:
            try:
                s.send(block)
            except OSError:
                pass


@contextlib.contextmanager
def small_kernel_buffers(lab):
    """What stands still fills the buffers of all its sockets, and the kernel's memory for TCP (tcp_mem) is one for all namespaces: at
    its end whoever closes with bytes to send is reset, in every lab."""
    def set_all(sizes):
        for place in [*lab.nodes, *(p for node in lab.nodes for p in node.pods.values())]:
            sh("nsenter", f"--net={place.netns}", "sysctl", "-qw", *(f"net.ipv4.tcp_{which}={size}" for which, size in sizes.items()))

    before = {which: sh("nsenter", f"--net={lab.nodes[0].netns}", "sysctl", "-n", f"net.ipv4.tcp_{which}").stdout.strip() for which in ("rmem", "wmem")}
    set_all({"rmem": "4096 32768 65536", "wmem": "4096 16384 65536"})
    try:
        yield
    finally:
        set_all(before)


def case_stopped_readers(lab):
    """Hundreds of connections that stand still in both directions: a quick one goes on all the while, memory stays what windows allow"""
    with small_kernel_buffers(lab):
        stand_still(lab)


def stand_still(lab):
    n, server, total = scaled(400), pod(lab, "server"), 64 << 20
    Task(server, stopped_server, PORT + 3).wait_ready()
    holders = [Task(pod(lab, name), stopped, server.ip, PORT + 3, n // 2) for name in ("client", "client2")]
    for h in holders:
        h.wait_ready(60)
    rss = [node.daemon.rss_kib() >> 10 for node in lab.nodes]
    far = Task(server, talking_server, PORT + 4, 8).wait_ready()
    expect_equal(Task(pod(lab, "client"), talking_client, server.ip, PORT + 4, range(2, 18, 2), total >> 3).result(60), [], "quick conversations meanwhile")
    expect_equal(far.result(60), [], "the server of the quick conversations")
    print(f"  {n} stand still: {rss[0]} and {rss[1]} MiB resident")
    if n == 400:  # fewer are for sanitizers, whose own memory counts many times
        expect(max(rss) < 100 + n * 1.2, f"{rss} MiB resident")
    for h in holders:
        h.kill()


@contextlib.contextmanager
def memory_limit(lab, node, limit):
    """A program that runs the daemon with so many bytes of memory."""
    old = pathlib.Path("/sys/fs/cgroup/memory")
    directory = old / f"rw-{lab.name}-{node.name}" if old.is_dir() else node.daemon_cgroup
    if old.is_dir():
        directory.mkdir()
    file = directory / ("memory.limit_in_bytes" if old.is_dir() else "memory.max")
    if not file.exists():
        raise Skip("no memory controller here")
    file.write_text(str(limit))
    script = lab.dir / f"limited-{node.name}"
    script.write_text(f"#!/bin/sh\necho $$ >{directory}/cgroup.procs\nexec {lab.program('ringwall')} \"$@\"\n")
    script.chmod(0o755)
    try:
        yield script
    finally:
        if old.is_dir():
            if node.daemon.process.poll() is None:  # something failed, and that is what shall be told
                node.daemon.stop()
            eventually("its memory cgroup is empty", lambda: not (directory / "cgroup.procs").read_text())
            directory.rmdir()
        else:
            file.write_text("max")


def case_memory_limit(lab):
    """A daemon that may use 160 MiB, and connections that would hold more: some are reset for it, none is killed; then all is well again"""
    node, server = lab.nodes[0], pod(lab, "server")
    node.daemon.stop()
    with small_kernel_buffers(lab), memory_limit(lab, node, 160 << 20) as program:
        node.start(program=program)
        Task(server, stopped_server, PORT + 5).wait_ready()
        holders = [Task(pod(lab, name), stopped, server.ip, PORT + 5, 600) for name in ("client", "client2")]
        for h in holders:
            h.wait_ready(90)
        expect(node.daemon.process.poll() is None, f"the daemon ended with {node.daemon.process.poll()}")
        print(f"  {node.daemon.rss_kib() >> 10} MiB resident at the bound")
        for h in holders:
            h.kill()
        eventually("the connections that stood still are gone", lambda: not any(n.ctl_json("connections") for n in lab.nodes))
        far = Task(server, talking_server, PORT + 6, 8).wait_ready()
        expect_equal(Task(pod(lab, "client"), talking_client, server.ip, PORT + 6, range(2, 18, 2), 1 << 20).result(60), [], "conversations afterwards")
        expect_equal(far.result(60), [], "the server of these conversations")
        expect_equal(node.daemon.stop(), 0, "exit code")
    node.start()
