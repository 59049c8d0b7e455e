# SPDX-License-Identifier: GPL-3.0-or-later
"""Revocation: a list that comes as a file ends open connections within seconds and lets no new ones begin; a bad file changes nothing."""

import os
import shutil
import ssl
import time

import hbone
import traffic
from common import expect, expect_equal, pod, standard_lab
from lab import eventually, inside, sh
from tasks import Task

PORT = 9600
SOON_S = 3  # from the file's arrival; inotify waits half of one for the last of several changes


def lab():
    """node-2 trusts another trust domain as well, by a file."""
    made = standard_lab("revoke", start=False)
    made.foreign, two = made.dir / "foreign.pem", made.nodes[1]
    made.foreign_ca = hbone.self_signed_ca(made.dir / "foreign", "first")
    made.foreign.write_bytes(made.foreign_ca[0].read_bytes())
    two.write_config(ca=f"{{provider: files, dir: {two.ca_dir}, bundles: {{other.mesh: {made.foreign}}}}}")
    for node in made.nodes:
        node.start()
    return made


def serial_of(node, identity):
    return next((c["certChain"][0]["serialNumber"] for c in node.ctl_json("certs") if c["identity"] == identity and "certChain" in c), None)


def revoked_list(lab, directory, *arguments):
    """The list that `ca revoke` makes in a copy of the CA directory: bytes, for whoever shall learn of it."""
    copy = lab.dir / "scratch-ca"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(directory, copy)
    sh(lab.program("ringwallctl"), "ca", "revoke", "--dir", copy, *arguments)
    return (copy / "ca-crl.pem").read_bytes()


def as_certificate(pem):
    """The same bytes under the label that Python's decoder knows."""
    return pem.decode().strip().replace("X509 CRL", "CERTIFICATE")


def put_list(node, content):
    """By rename, as every careful writer does; None takes the file away."""
    path = node.ca_dir / "ca-crl.pem"
    if content is None:
        path.unlink(missing_ok=True)
        return
    fresh = node.ca_dir / ".ca-crl.new"
    fresh.write_bytes(content)
    os.rename(fresh, path)


def trust(node):
    return node.ctl_json("status")["identity"]["trust"]


def adopted(node):
    """Every worker has the trust in force: one that cut a tunnel has, another may still take a new stream on one of its own."""
    eventually(f"all of {node.name}'s readers have the trust in force", lambda: (t := trust(node))["adopted"] == t["readers"])


def lines_since(node, n, *words):
    return [line for line in node.access_lines()[n:] if all(word in line for word in words)]


def has_line(node, n, *words):
    return eventually(f"{node.name}'s log has a line with {words}", lambda: lines_since(node, n, *words), SOON_S)


def connects(lab, client="client"):
    return Task(pod(lab, client), traffic.try_connect, pod(lab, "server").ip, PORT).result()


def serve(lab):
    Task(pod(lab, "server"), traffic.echo_server, PORT).wait_ready()


def open_flow(lab):
    """A connection that echoes until it is broken; the time and the way in which it ended are its result."""
    return Task(pod(lab, "client"), traffic.until_broken, pod(lab, "server").ip, PORT).wait_ready()


def ended_soon(flow, since):
    how, at = flow.result(30)
    expect_equal(how, "ECONNRESET", "how the open connection ended")
    expect(at - since < SOON_S, f"the open connection was cut after {at - since:.1f} s")


def forget_lists(lab):
    for node in lab.nodes:
        put_list(node, None)
    eventually("all lists are gone", lambda: not any(d["revocationLists"] for n in lab.nodes for d in trust(n)["domains"]))
    eventually("a connection works again", lambda: connects(lab) == "ok")


def case_the_server_refuses(lab):
    """A client's revoked certificate: the server's node cuts what is open and refuses what is new, naming the serial"""
    serve(lab)
    one, two = lab.nodes
    client = pod(lab, "client")
    flow, before, serial = open_flow(lab), len(two.access_lines()), serial_of(one, client.identity)
    content, now = revoked_list(lab, one.ca_dir, "--serial", serial), time.monotonic()
    put_list(two, content)
    ended_soon(flow, now)
    has_line(two, before, "reason=cert-revoked", serial, "certificate is revoked")
    adopted(two)
    expect(connects(lab) != "ok", "a new connection with the revoked certificate")
    has_line(two, before, "reason=peer-untrusted", serial, "certificate is revoked")
    expect_equal(connects(lab, "client2"), connects(lab), "another workload of the same account")
    # Its own node learns of it: another certificate is fetched at once, and all is well.
    put_list(one, content)
    eventually("the client has another certificate", lambda: serial_of(one, client.identity) not in (None, serial), SOON_S)
    expect_equal(connects(lab), "ok", "with the new certificate")
    forget_lists(lab)


def case_our_own(lab):
    """A node cuts the tunnels of its own revoked certificate, and has another one for the next connection"""
    serve(lab)
    one = lab.nodes[0]
    client = pod(lab, "client")
    flow, before, serial = open_flow(lab), len(one.access_lines()), serial_of(one, client.identity)
    content, now = revoked_list(lab, one.ca_dir, "--serial", serial), time.monotonic()
    put_list(one, content)
    ended_soon(flow, now)
    has_line(one, before, "reason=cert-revoked", serial, "our own")
    eventually("a new connection works", lambda: connects(lab) == "ok", SOON_S)
    expect(serial_of(one, client.identity) != serial, "the revoked certificate is still in use")
    forget_lists(lab)


def case_a_node(lab):
    """A node's signing certificate on the root's list: all that it signed is refused, open and new"""
    serve(lab)
    one, two = lab.nodes
    flow, before = open_flow(lab), len(one.access_lines())
    text = sh("openssl", "x509", "-noout", "-serial", "-in", two.ca_dir / "ca-cert.pem").stdout
    content, now = revoked_list(lab, lab.dir / "root-ca", "--serial", text.strip().split("=")[1].lower()), time.monotonic()
    put_list(one, content)
    ended_soon(flow, now)
    has_line(one, before, "reason=cert-revoked", "issuer is revoked")
    adopted(one)
    expect(connects(lab) != "ok", "a new connection to a workload whose issuer is revoked")
    has_line(one, before, "reason=peer-untrusted", "issuer is revoked")
    domain = trust(one)["domains"][0]
    expect_equal(domain["revocationLists"][0]["revoked"], 1, f"the list in {domain}")
    forget_lists(lab)


def case_bad_files(lab):
    """A list that cannot be used, or is nobody's, leaves the last good one in force and is told"""
    serve(lab)
    one, two = lab.nodes
    serial = serial_of(one, pod(lab, "client").identity)
    good = revoked_list(lab, one.ca_dir, "--serial", serial)
    put_list(two, good)
    eventually("the list is in force", lambda: connects(lab) != "ok", SOON_S)
    adopted(two)
    generation = trust(two)["generation"]
    forged = bytearray(ssl.PEM_cert_to_DER_cert(as_certificate(revoked_list(lab, lab.dir / "root-ca", "--serial", "0102"))))
    forged[-1] ^= 1
    for what, content in (("junk", b"junk"), ("half a file", good[:len(good) // 2]), ("the root's list with another signature", bytes(forged)), ("a certificate",
                          (two.ca_dir / "ca-cert.pem").read_bytes())):
        n = len(two.log.read_text(errors="replace"))
        put_list(two, content)
        eventually(f"{what} is told", lambda n=n: "ca-crl.pem" in two.log.read_text(errors="replace")[n:])
        expect_equal(trust(two)["generation"], generation, f"the trust in force after {what}")
        expect(connects(lab) != "ok", f"the revoked certificate after {what}")
    put_list(two, good + b"\n")
    forget_lists(lab)


def case_adopted(lab):
    """Every reader adopts a new list, and the CA hears of it"""
    serve(lab)
    node = lab.nodes[0]
    before = trust(node)
    put_list(node, revoked_list(lab, node.ca_dir, "--serial", "0badcafe"))
    eventually("a new generation", lambda: trust(node)["caGeneration"] > before["caGeneration"], SOON_S)
    eventually("adopted by all", lambda: (t := trust(node))["adopted"] == t["readers"] and t["caAcknowledged"] == t["caGeneration"])
    expect_equal(trust(node)["late"], 0, "readers that were late")
    expect_equal(connects(lab), "ok", "nobody that is in use is revoked")
    forget_lists(lab)


def asks(lab, credential):
    """An HBONE peer with this certificate, and what its CONNECT gets."""
    server = pod(lab, "server")
    try:
        with inside(pod(lab, "outsider").netns):
            h = hbone.Http2(hbone.tls(server.ip, credential))
        h.request(1, hbone.connect_headers(f"{server.ip}:{PORT}"))
        return h, h.outcome(1)
    except (ssl.SSLError, ConnectionError):
        return None, "closed"


def case_federation(lab):
    """Each trust domain by its own bundle only; a bundle that changes at run time counts for open tunnels too"""
    serve(lab)
    two, theirs, ours = lab.nodes[1], lab.foreign_ca, (lab.dir / "root-ca" / "ca-cert.pem", lab.dir / "root-ca" / "ca-key.pem")
    made = lab.dir / "foreign"
    friend = hbone.issue(made, "friend", theirs, uris=["spiffe://other.mesh/ns/x/sa/friend"])
    for name, ca, identity in (("liar", theirs, pod(lab, "client").identity), ("mixed", ours, "spiffe://other.mesh/ns/x/sa/friend"),
                               ("unknown", theirs, "spiffe://third.mesh/ns/x/sa/friend")):
        expect_equal(asks(lab, hbone.issue(made, name, ca, uris=[identity]))[1], "closed", f"{identity} signed by the wrong root")
    peer, status = asks(lab, friend)
    expect_equal(status, "200", "a peer of the other trust domain")

    # The other mesh rolls over: both roots first, nobody notices; then the old one goes.
    second, before = hbone.self_signed_ca(made, "second"), len(two.access_lines())
    generation = trust(two)["generation"]
    put_bundle(lab, theirs[0].read_bytes() + second[0].read_bytes())
    eventually("both roots are in force", lambda: trust(two)["generation"] > generation, SOON_S)
    expect_equal([d["roots"] for d in trust(two)["domains"] if d["trustDomain"] == "other.mesh"], [2], "roots of other.mesh")
    fresh = hbone.issue(made, "fresh", second, uris=["spiffe://other.mesh/ns/x/sa/friend"])
    expect_equal(asks(lab, fresh)[1], "200", "a peer below the new root")
    peer.send(hbone.frame(hbone.DATA, 0, 1, b"still here"))
    while (got := peer.read()) and got[0] != hbone.DATA:
        continue
    expect(got is not None, "the open tunnel was cut by a bundle that still trusts it")
    put_bundle(lab, second[0].read_bytes())
    has_line(two, before, "reason=trust-changed")
    while peer.read():
        continue
    expect_equal(asks(lab, friend)[1], "closed", "a peer below the old root")
    expect_equal(asks(lab, fresh)[1], "200", "a peer below the new root")

    generation = trust(two)["generation"]
    put_bundle(lab, b"junk")
    eventually("junk is told", lambda: "foreign.pem" in two.log.read_text(errors="replace"))
    expect_equal(asks(lab, fresh)[1], "200", "the last good bundle")
    expect_equal(trust(two)["generation"], generation, "the trust in force after junk")


def put_bundle(lab, content):
    new = lab.dir / ".foreign.new"
    new.write_bytes(content)
    os.rename(new, lab.foreign)
