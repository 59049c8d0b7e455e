# SPDX-License-Identifier: GPL-3.0-or-later
"""Private keys stay where they belong: the CA's in its own file and in memory that no core file has, others in memory alone."""

import os
import pathlib
import re
import resource
import signal
import socket
import ssl
import subprocess

import traffic
from common import expect, expect_equal, pod, standard_lab
from core_image import forms_of, is_sanitized, scalar_in, scalar_of, search
from lab import PATIENCE, eventually, inside
from tasks import Task
from test_doors import SdsClient

PORT = 9600


def lab():
    made = standard_lab("keys", start=False)
    for node in made.nodes:
        node.sds = node.dir / "doors" / "sds.sock"
        node.write_config(log="{level: debug, access: " + str(node.dir / "access.log") + "}", sockets=f"{{sds: {node.sds}}}")
        node.start()
    return made


def connect(lab):
    server = pod(lab, "server")
    expect_equal(Task(pod(lab, "client"), traffic.try_connect, server.ip, PORT).result(), "ok", "a connection over the mesh")


def talk(lab):
    Task(pod(lab, "server"), traffic.echo_server, PORT).wait_ready()
    connect(lab)


def own_keys(node):
    """The only private keys that a node may have on disk: the CA's, for certificates and for tokens."""
    return [node.ca_dir / "ca-key.pem", node.state_dir / "jwt-key.pem"]


def case_memory(lab):
    """The signing key is in locked memory that no core file has, and nowhere else, also after it has signed"""
    talk(lab)
    if is_sanitized(lab):
        return  # it keeps freed blocks for a while, terabytes of shadow, and no promise of ours
    for node in lab.nodes:
        for key in own_keys(node):
            plain, hidden = search(node.daemon.pid, forms_of(scalar_of(key)))
            expect(hidden, f"{node.name}: the search does not even find {key.name} where it must be")
            expect_equal(plain, set(), f"{node.name}: {key.name} in memory that can be dumped")
        smaps = pathlib.Path(f"/proc/{node.daemon.pid}/smaps").read_text()
        expect(any({"dd", "lo"} <= set(line.split()) for line in smaps.splitlines() if line.startswith("VmFlags:")),
               "no mapping is both locked and left out of core files")


def given_key(lab, where):
    """What is searched for of the key that a pod's tunnels use, which it gets by SDS."""
    node = next(node for node in lab.nodes if where in node.pods.values())
    stream = SdsClient(lab, where, node.sds).open(names=["default"])
    scalar, line = scalar_in(stream.response()["secrets"][0]["key"])
    stream.end()
    return node, {**forms_of(scalar), "PEM": line}


def half_a_handshake(lab, address):
    """A client that has the server's signature and says nothing more: its socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    context.set_ecdh_curve("prime256v1")  # else the server asks for it, and signs nothing yet
    get, put = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(get, put)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        hello = put.read()
    with inside(pod(lab, "outsider").netns):
        s = socket.create_connection((address, 15008), timeout=10 * PATIENCE)
    s.sendall(hello)
    n = 0
    while n < 1000:  # certificate, signature, Finished
        piece = s.recv(65536)
        expect(piece, "the server ended the handshake")
        n += len(piece)
    s.setblocking(False)
    return s


def still_open(s):
    try:
        return s.recv(1) != b""
    except BlockingIOError:
        return True


def expect_kept(keys, when):
    for where, (node, forms) in keys.items():
        plain, hidden = search(node.daemon.pid, forms)
        expect_equal(plain, set(), f"{when}: the {where}'s key in memory that can be dumped or is not locked")
        expect("big-endian" in hidden, f"{when}: the search does not even find the {where}'s key where it must be")


def page(node, name):
    return subprocess.run(["curl", "-s", "--unix-socket", node.socket, f"http://ringwall/{name}"], capture_output=True, timeout=20 * PATIENCE,
                          check=True).stdout


def hangs_at_client(node):
    return re.search(rb'"direction": ?"outbound",\s*"state": ?"handshake"', page(node, "tunnels"))


def case_keys_in_use(lab):
    """Keys of both ends of tunnels, busy and idle, and of handshakes that hang: locked, in no core file, and nowhere else"""
    if is_sanitized(lab):
        return  # as above
    client, server = pod(lab, "client"), pod(lab, "server")
    talk(lab)
    keys = {"client": given_key(lab, client), "server": given_key(lab, server)}
    expect_kept(keys, "tunnels were used")
    idle = Task(client, traffic.hold_many, server.ip, PORT, 5).wait_ready()
    busy = Task(client, traffic.until_broken, server.ip, PORT).wait_ready()
    hanging = [half_a_handshake(lab, server.ip) for _ in range(3)]
    expect_kept(keys, "tunnels in use, handshakes that hang at the server")
    expect(any(still_open(s) for s in hanging), "the handshakes ended before the search did")
    for s in hanging:
        s.close()
    lab.nodes[1].daemon.signal(signal.SIGSTOP)  # so that a client gets no answer
    try:
        waiting = Task(client, traffic.try_connect, pod(lab, "server2").ip, PORT)
        eventually("a handshake hangs at the client", lambda: hangs_at_client(lab.nodes[0]), 10 * PATIENCE)
        expect_kept(keys, "a handshake that hangs at the client")
        expect(hangs_at_client(lab.nodes[0]), "the handshake ended before the search did")
    finally:
        lab.nodes[1].daemon.signal(signal.SIGCONT)
    waiting.kill()
    busy.kill()
    idle.kill()
    connect(lab)
    expect_kept(keys, "after all")


def case_outputs(lab):
    """No form of the signing key, and no private key at all, in logs, answers and files; the CA's own file is its owner's alone"""
    talk(lab)
    for node in lab.nodes:
        forms = {f"{key.name}, {name}": form for key in own_keys(node) for name, form in forms_of(scalar_of(key)).items()}
        texts = {"log": node.log.read_bytes()}
        for path in node.dir.rglob("*"):
            if path.is_file() and path not in own_keys(node):
                texts[str(path.relative_to(node.dir))] = path.read_bytes()
        for name in ("config_dump", "debug/configz", "connections", "metrics", "debug/authenticationz"):
            texts[name] = page(node, name)
        for words in (("certs",), ("status",), ("dump",), ("workloads",)):
            texts[" ".join(words)] = node.ctl(*words, "-o", "json", check=False).stdout.encode()
        for where, text in texts.items():
            expect(b"PRIVATE KEY" not in text, f"{node.name}: {where} holds a private key")
            for name, form in forms.items():
                expect(form not in text, f"{node.name}: {where} holds {name}")
        for key in own_keys(node):
            expect_equal(key.stat().st_mode & 0o777, 0o600, f"mode of {key}")


def died_with_core(process):
    _pid, status = os.waitpid(process.pid, 0)
    expect(os.WIFSIGNALED(status), f"status {status:#x}")
    return os.WCOREDUMP(status)


def case_no_core(lab):
    """A daemon that is aborted leaves no core file, although its limits allow one, and its filter leaves out every page"""
    node = lab.nodes[0]
    pid = node.daemon.pid
    expect_equal(int(pathlib.Path(f"/proc/{pid}/coredump_filter").read_text(), 16), 0, "what a core file may hold")
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(pid, resource.RLIMIT_CORE, unlimited)
    node.daemon.signal(signal.SIGABRT)
    expect(not died_with_core(node.daemon.process), "the daemon left a core file")
    node.daemon.process.returncode = -signal.SIGABRT
    node.start()
    talk(lab)
