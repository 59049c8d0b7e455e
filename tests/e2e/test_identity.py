# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates on the wire: whose they are, who signed them, and that their rotation costs no byte."""

import re
import time
from datetime import datetime

import hbone
import traffic
from common import expect, expect_equal, pod, standard_lab
from lab import eventually, inside, sh
from tasks import Task

PORT = 9500
TTL_S = 60


def lab():
    """Certificates of a minute, renewed after a tenth of their life: rotation happens while the cases run."""
    made = standard_lab("identity", start=False)
    for node in made.nodes:
        node.write_config(ca=f"{{provider: files, dir: {node.ca_dir}, ttl: {TTL_S}s, rotateAt: 0.72}}")
        node.start()
    root = made.dir / "root-ca"
    made.root = (root / "ca-cert.pem", root / "ca-key.pem")
    return made


def generations(node):
    return {c["identity"]: c.get("generation", 0) for c in node.ctl_json("certs")}


def first_end(node):
    """When the first of the node's leaves ends, in seconds since 1970."""
    return min(datetime.fromisoformat(c["certChain"][0]["expirationTime"]).timestamp() for c in node.ctl_json("certs"))


def case_before_first_connection(lab):
    """Every enrolled local identity has its certificate when the daemon says that it is ready"""
    for node in lab.nodes:
        wanted = {p.identity for p in node.pods.values() if p.enrolled}
        certs = node.ctl_json("certs")
        expect_equal({c["identity"] for c in certs if c["state"] == "Available"}, wanted, f"{node.name}'s certificates")


def case_leaf_on_the_wire(lab):
    """openssl sees the server's leaf: one URI, issued by the node's CA, chaining to the shared root, no root sent"""
    server = pod(lab, "server")
    credential = hbone.issue(lab.dir / "certs", "peer", lab.root, uris=[pod(lab, "client").identity])
    with inside(pod(lab, "outsider").netns):
        done = sh("openssl", "s_client", "-connect", f"{server.ip}:15008", "-alpn", "h2", "-cert", credential[0], "-key", credential[1],
                  "-CAfile", lab.root[0], "-showcerts", "-verify_return_error", input="", check=False, timeout=20, errors="replace")
    text = done.stdout
    expect("Verify return code: 0" in text and "ALPN protocol: h2" in text and "TLSv1.3" in text, text[-2000:] + done.stderr[-500:])
    certs = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.S)
    expect_equal(len(certs), 2, "certificates sent: leaf and the node's")
    leaf = sh("openssl", "x509", "-noout", "-text", input=certs[0]).stdout
    for word in (f"URI:{server.identity}", "X509v3 Subject Alternative Name: critical", "CN = node-2", "CA:FALSE",
                 "TLS Web Server Authentication, TLS Web Client Authentication", "Digital Signature, Key Encipherment", "ASN1 OID: prime256v1"):
        expect(word in leaf, f"the leaf lacks '{word}':\n{leaf}")
    node = sh("openssl", "x509", "-noout", "-text", input=certs[1]).stdout
    for word in ("CA:TRUE, pathlen:0", "O = cluster.local, CN = node-2", "Certificate Sign"):
        expect(word in node, f"the node's certificate lacks '{word}':\n{node}")
    expect("Name Constraints" not in node, "the node's certificate carries name constraints")


def case_rotation(lab):
    """Certificates are renewed before they end; open flows go on, new ones use the new certificate"""
    server = pod(lab, "server")
    Task(server, traffic.echo_server, PORT).wait_ready()
    long_flow = Task(pod(lab, "client"), traffic.steady, server.ip, PORT, 25).wait_ready()
    before = [(generations(node), first_end(node)) for node in lab.nodes]
    for node, (old, end) in zip(lab.nodes, before):
        eventually(f"{node.name} renews each certificate before the first of them ends",
                   lambda n=node, o=old: all(g > o[i] for i, g in generations(n).items()), end - time.time())
        expect(time.time() < end, f"{node.name} renewed after the first of its certificates had ended")
        expect(all(c["state"] == "Available" for c in node.ctl_json("certs")), "a certificate is missing after its renewal")
    expect_equal(Task(pod(lab, "client"), traffic.try_connect, server.ip, PORT).result(), "ok", "a new connection after the renewal")
    expect(long_flow.result(TTL_S + 30) > 0, "the flow that was open all the while")


def case_restart_of_the_ca(lab):
    """A restarted daemon has new keys; peers go on without a word"""
    server = pod(lab, "server")
    Task(server, traffic.echo_server, PORT).wait_ready()
    for node in lab.nodes:
        expect_equal(node.daemon.stop(), 0, "exit after SIGTERM")
        node.start()
        expect_equal(Task(pod(lab, "client"), traffic.try_connect, server.ip, PORT).result(), "ok", f"after the restart of {node.name}")
