# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates across a node's edge: one node's CA serves others (ca.listen), a node asks another CA (provider istio), and each is
held against implementations that are not ours: gRPC's own Python, Google's protobuf, openssl."""

import base64
import contextlib
import json
import os
import re
import socket
import subprocess
import time

import hbone
import peers
import proofs
import traffic
from common import Skip, addresses, expect, expect_equal, pod, standard_lab
from lab import LabError, eventually, inside, sh
from tasks import Task

PORT = 9600
DOOR = 15012
TTL_S = 40
NAME = "istiod.istio-system.svc"
CA_ADDRESS = "10.71.0.1"
AGENT = ("ringwall-system", "ringwall", ("ringwall-node-2", "uid-of-node-2s-agent"), "node-2")  # node-2's own pod, as its token says

AGENT_POD = f"""apiVersion: v1
kind: Pod
metadata: {{name: {AGENT[2][0]}, namespace: {AGENT[0]}, uid: {AGENT[2][1]}}}
spec: {{nodeName: {AGENT[3]}, serviceAccountName: {AGENT[1]}, hostNetwork: true, containers: [{{name: main, image: none}}]}}
status: {{phase: Running, podIP: 10.71.0.2, podIPs: [{{ip: 10.71.0.2}}]}}
"""


def interpreter():
    try:
        return peers.grpc_python()
    except peers.Missing as missing:
        raise Skip(str(missing)) from None


def lab():
    """node-1 has the CA and its door; node-2 has no CA of its own and asks there, with a token in a file."""
    made = standard_lab("outside", start=False)
    one, two = made.nodes
    made.work = made.dir / "proofs"
    made.issuer = proofs.Issuer(made.work)
    jwks = made.work / "jwks.json"
    jwks.write_text(made.issuer.jwks())
    for node in made.nodes:
        (node.mesh_dir / "agent.yaml").write_text(AGENT_POD)
    one.write_config(ca=f"{{provider: builtin, ttl: {TTL_S}s, rotateAt: 0.5, listen: \"*:{DOOR}\", serverNames: [{NAME}, {CA_ADDRESS}], "
                        f"clientCertificates: true, trustedNodeAccounts: [{AGENT[0]}/{AGENT[1]}], "
                        f"jwt: {{issuer: \"{made.issuer.name}\", audience: istio-ca, jwks: {jwks}}}}}")
    one.start()
    made.root = made.work / "root-cert.pem"
    made.root.write_bytes((one.state_dir / "ca" / "root-cert.pem").read_bytes())
    made.token = made.work / "token"
    made.token.write_text(agent_token(made))
    two.write_config(ca=istio(f"{CA_ADDRESS}:{DOOR}", made.token, made.root))
    eventually("the door has its certificate", lambda: any("ca.listen: certificates are given" in line for line in one.log.read_text().splitlines()))
    two.start()
    return made


def istio(address, token, roots):
    return f"{{provider: istio, address: \"{address}\", token: {token}, roots: {roots}, ttl: {TTL_S}s, rotateAt: 0.5}}"


def agent_token(lab, kid="rsa-1", **changed):
    return lab.issuer.token(lab.issuer.claims(*AGENT, **changed), kid)


class Client:
    """gRPC's own client, at an address that nobody else calls from: what it got is told apart on the record."""

    def __init__(self, lab):
        self.ip = pod(lab, "outsider").ip
        command = ["nsenter", f"--net={pod(lab, 'outsider').netns}", interpreter(), "-B", peers.HERE / "peers" / "istio_ca.py", "client"]
        self.process = lab.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                 env={**os.environ, "GRPC_VERBOSITY": "NONE"})
        self.common = {"address": f"{CA_ADDRESS}:{DOOR}", "roots": str(lab.root), "name": NAME}

    def call(self, **command):
        self.process.stdin.write(json.dumps({**self.common, **command}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        expect(line, "the client ended")
        return json.loads(line)

    def end(self):
        self.process.kill()
        self.process.wait(10)


@contextlib.contextmanager
def client(lab):
    one = Client(lab)
    try:
        yield one
    finally:
        one.end()


def audit(lab):
    path = lab.nodes[0].state_dir / "ca-audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def of(entries, event, ip):
    return [e for e in entries if e["event"] == event and f"{ip}:" in json.dumps(e)]


def certificates(pem):
    return re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", pem, re.S)


def verify(lab, chain, identity):
    """openssl accepts the answer's layout: leaf, intermediates one by one, all roots in the last element."""
    expect(len(chain) >= 2, f"{len(chain)} elements")
    for element in chain[:-1]:
        expect_equal(len(certificates(element)), 1, "certificates in an element before the last")
        expect(element.endswith("\n"), "an element does not end its line")
    leaf, roots = lab.work / "leaf.pem", lab.work / "roots.pem"
    leaf.write_text(chain[0])
    roots.write_text(chain[-1])
    (lab.work / "between.pem").write_text("".join(chain[1:-1]))
    between = ["-untrusted", lab.work / "between.pem"] if len(chain) > 2 else []
    sh("openssl", "verify", "-CAfile", roots, *between, "-purpose", "sslserver", leaf)
    text = sh("openssl", "x509", "-in", leaf, "-noout", "-text").stdout
    expect_equal(re.findall(r"URI:(\S+)", text), [identity], "the leaf's names")
    expect("Subject Alternative Name: critical" in text and "CA:FALSE" in text, text)


# ---- the door ----


def case_door_certificate(lab):
    """openssl sees the door's certificate: TLS 1.3, h2, the configured names, up to root-cert.pem, renewed in time; TLS 1.2 is refused"""
    with inside(lab.nodes[1].netns):
        for name in (["-verify_hostname", NAME], ["-verify_ip", CA_ADDRESS]):
            done = sh("openssl", "s_client", "-connect", f"{CA_ADDRESS}:{DOOR}", "-servername", NAME, "-alpn", "h2", "-CAfile", lab.root, *name,
                      "-verify_return_error", input="", check=False, timeout=20, errors="replace")
            for word in ("Verify return code: 0", "ALPN protocol: h2", "TLSv1.3"):
                expect(word in done.stdout, f"no '{word}': {done.stdout[-1500:]}{done.stderr[-500:]}")
        done = sh("openssl", "s_client", "-connect", f"{CA_ADDRESS}:{DOOR}", "-alpn", "h2", "-CAfile", lab.root, "-verify_hostname", "other.example",
                  "-verify_return_error", input="", check=False, timeout=20, errors="replace")
        expect("hostname mismatch" in (done.stdout + done.stderr).lower(), "another name is accepted")
        def shown():
            text = sh("openssl", "s_client", "-connect", f"{CA_ADDRESS}:{DOOR}", "-alpn", "h2", input="", check=False, timeout=20, errors="replace").stdout
            return certificates(text)[0]
        first = shown()
        eventually("the door renews its certificate", lambda: shown() != first, 30)
        old = sh("openssl", "s_client", "-connect", f"{CA_ADDRESS}:{DOOR}", "-tls1_2", input="", check=False, timeout=20, errors="replace")
        expect(old.returncode != 0, "TLS 1.2 is taken")


def case_layout(lab):
    """A gRPC client gets leaf and roots in Istio's layout, by RS256 and ES256, for itself and for its node's workloads; openssl verifies"""
    server = pod(lab, "server")
    with client(lab) as c:
        for kid in ("rsa-1", "ec-1"):
            for kind in ("EC", "RSA"):
                key = proofs.Key(lab.work, f"leaf-{kid}-{kind}", kind)
                for names in ([], [proofs.uri(server.identity)]):
                    answer = c.call(token=agent_token(lab, kid), csr=proofs.csr(key, names), metadata={"ImpersonatedIdentity": server.identity},
                                    validity=300)
                    expect_equal(answer["code"], "OK", f"{kid}: {answer.get('details')}")
                    verify(lab, answer["chain"], server.identity)
                    got = proofs.openssl("x509", "-in", lab.work / "leaf.pem", "-noout", "-pubkey")
                    expect_equal(got, key.public_pem(), "the leaf's key")
        own = f"spiffe://cluster.local/ns/{AGENT[0]}/sa/{AGENT[1]}"
        answer = c.call(token=agent_token(lab), csr=proofs.csr(proofs.Key(lab.work, "own")))
        expect_equal(answer["code"], "OK", answer.get("details"))
        verify(lab, answer["chain"], own)
    expect(any(e["identity"] == own for e in audit(lab) if e["event"] == "issued"), "the agent's own certificate is not on the record")


def refusals(lab):
    """(what, code, command)"""
    server, intruder = pod(lab, "server").identity, pod(lab, "intruder").identity
    key, small = proofs.Key(lab.work, "refused"), proofs.Key(lab.work, "small", "RSA", 1024)
    good = proofs.csr(key)
    i = lab.issuer
    claims = i.claims(*AGENT)
    meta = {"metadata": {"ImpersonatedIdentity": server}}
    token = {"token": agent_token(lab)}
    now = int(time.time())
    plain = i.claims("default", "client", ("client", "x"), "node-1")

    def proof(what, **proof):
        return what, "UNAUTHENTICATED", {"csr": good, **meta, **proof}

    yield proof("no token")
    yield proof("another scheme", scheme="Basic ", **token)
    yield proof("the scheme in small letters", scheme="bearer ", **token)
    yield proof("rubbish for a token", token="abc.def")
    yield proof("wrong audience", token=i.token({**claims, "aud": ["other"]}))
    yield proof("wrong issuer", token=i.token({**claims, "iss": "https://other"}))
    yield proof("expired", token=i.token({**claims, "exp": now - 300, "iat": now - 900, "nbf": now - 900}))
    yield proof("not yet valid", token=i.token({**claims, "nbf": now + 300}))
    yield proof("alg none", token=i.token(claims, algorithm="none"))
    yield proof("HMAC with the public key", token=i.token(claims, algorithm="HS256"))
    yield proof("a stranger's key", token=i.token(claims, kid="ec-1", signer=i.stranger))
    yield proof("an unknown kid", token=i.token(claims, kid="rsa-9", signer=i.keys["rsa-1"]))
    head, _, signature = i.token(claims).split(".")
    yield proof("a changed claim", token=f"{head}.{proofs.b64({**claims, 'exp': now + 9999})}.{signature}")
    yield proof("no service account", token=i.token({**claims, "sub": "system:node:node-2"}))
    yield proof("a pod that was made anew", token=i.token(i.claims(AGENT[0], AGENT[1], (AGENT[2][0], "another uid"), AGENT[3])))
    yield proof("a pod on another node than the token says", token=i.token(i.claims(AGENT[0], AGENT[1], AGENT[2], "node-1")))
    yield proof("bound to no pod", token=i.token(i.claims(AGENT[0], AGENT[1])))
    yield proof("an account that is no node's", token=i.token(plain))
    yield "another node's workload", "UNAUTHENTICATED", {"csr": good, "metadata": {"ImpersonatedIdentity": intruder}, **token}
    yield "a foreign trust domain", "UNAUTHENTICATED", {"csr": good, "metadata": {"ImpersonatedIdentity": "spiffe://evil.example/ns/default/sa/server"},
                                                      **token}
    for what, identity in (("no SPIFFE identity", "https://cluster.local/ns/default/sa/server"), ("a NUL in the identity", server + "\0"),
                           ("an identity with too many parts", server + "/x")):
        yield what, "INVALID_ARGUMENT", {"csr": good, "metadata": {"ImpersonatedIdentity": identity}, **token}

    def request(what, csr, **more):
        return what, "INVALID_ARGUMENT", {"csr": csr, **meta, **token, **more}

    yield request("two names in the CSR", proofs.csr(key, [proofs.uri(server), proofs.uri(intruder)]))
    yield request("the same name twice", proofs.csr(key, [proofs.uri(server), proofs.uri(server)]))
    yield request("another name in the CSR", proofs.csr(key, [proofs.uri(intruder)]))
    yield request("a DNS name beside it", proofs.csr(key, [proofs.uri(server), (0x82, b"example.org")]))
    yield request("a NUL in the CSR's name", proofs.csr(key, [proofs.uri(server.encode() + b"\0.evil.example")]))
    yield request("a CSR signed by another key", proofs.csr(key, signer=proofs.Key(lab.work, "signer")))
    yield request("a key of 1024 bits", proofs.csr(small))
    yield request("no CSR", "")
    yield request("a certificate for a CSR", lab.root.read_text())
    yield request("rubbish in PEM", proofs.pem("CERTIFICATE REQUEST", b"\x30\x82\xff\xff" + os.urandom(200)))
    yield request("a CSR cut short", good[:len(good) // 2])
    yield request("91 days", good, validity=91 * 86400)
    yield request("a named signer", good, metadata={"ImpersonatedIdentity": server, "CertSigner": "other"})
    yield "a message that is none", "INVALID_ARGUMENT", {"raw": base64.b64encode(b"\xff" * 100).decode(), **token}
    yield "1 MB of CSR", "RESOURCE_EXHAUSTED", {"csr": "A" * (1 << 20), **meta, **token}
    yield "1 MB of anything, without a token", "RESOURCE_EXHAUSTED", {"raw": base64.b64encode(os.urandom(1 << 20)).decode()}


def case_refusals(lab):
    """Every bad proof and every bad request is refused with its code, opaque words, a line on the record; nothing is signed"""
    reasons = ("token", "node-", "trust domain", "audience", "kid", "SAN", "world", "workload")
    wrong = []
    with client(lab) as c:
        for what, code, command in refusals(lab):
            n_before = len(audit(lab))
            answer = c.call(**command)
            with contextlib.suppress(LabError):  # of what the door itself refuses the line may come a moment later
                eventually("a line", lambda n=n_before: of(audit(lab)[n:], "refused", c.ip), 3)
            new = audit(lab)[n_before:]
            mine = of(new, "refused", c.ip)
            if answer["code"] != code:
                wrong.append(f"{what}: {answer['code']} ({answer.get('details')}), expected {code}")
            elif not mine:
                wrong.append(f"{what}: no line on the record: {new}")
            elif not any(e.get("reason") for e in mine):
                wrong.append(f"{what}: a line without a reason: {mine}")
            if of(new, "issued", c.ip) or "chain" in answer:
                wrong.append(f"{what}: something was issued: {new}")
            if any(word in (answer.get("details") or "") for word in reasons):
                wrong.append(f"{what}: the caller learns why: {answer['details']}")
        answer = c.call(path="/istio.v1.auth.IstioCertificateService/Other", raw="")
        if answer["code"] != "UNIMPLEMENTED":
            wrong.append(f"another method: {answer}")
        answer = c.call(token=agent_token(lab), csr=proofs.csr(proofs.Key(lab.work, "after")), metadata={"ImpersonatedIdentity": pod(lab, "server").identity})
        if answer["code"] != "OK":
            wrong.append(f"a good one after all of them: {answer}")
    expect(not wrong, "\n".join(wrong))


def case_client_certificate(lab):
    """A workload's certificate renews itself and nobody else; one of another root does not pass the handshake"""
    server = pod(lab, "server")
    key = proofs.Key(lab.work, "renewing")
    cert = lab.work / "renewing.pem"
    with client(lab) as c:
        answer = c.call(token=agent_token(lab), csr=proofs.csr(key), metadata={"ImpersonatedIdentity": server.identity}, validity=600)
        expect_equal(answer["code"], "OK", answer.get("details"))
        cert.write_text("".join(answer["chain"][:-1]))
        shown = {"cert": str(cert), "key": str(key.path)}
        answer = c.call(csr=proofs.csr(key), **shown)
        expect_equal(answer["code"], "OK", answer.get("details"))
        verify(lab, answer["chain"], server.identity)
        answer = c.call(csr=proofs.csr(key), metadata={"ImpersonatedIdentity": pod(lab, "server2").identity}, **shown)
        expect_equal(answer["code"], "UNAUTHENTICATED", "another identity by a certificate")
        foreign = hbone.issue(lab.work, "foreign", hbone.self_signed_ca(lab.work, "foreign"), uris=[server.identity])
        answer = c.call(csr=proofs.csr(key), cert=str(foreign[0]), key=str(foreign[1]), timeout=5)
        expect(answer["code"] in ("UNAVAILABLE", "DEADLINE_EXCEEDED"), f"a foreign certificate: {answer}")


def case_bounds(lab):
    """Callers that say nothing, that connect too often, or that hold on to connections are cut; others are served meanwhile"""
    key, server = proofs.Key(lab.work, "beside"), pod(lab, "server")
    here = lab.nodes[0].netns  # a source of its own: the node itself

    def knock(stack):
        s = stack.enter_context(contextlib.closing(socket.socket()))
        s.settimeout(40)
        s.connect(("10.71.1.1", DOOR))
        return s

    with client(lab) as c, contextlib.ExitStack() as held:
        def served(when):
            answer = c.call(token=agent_token(lab), csr=proofs.csr(key), metadata={"ImpersonatedIdentity": server.identity})
            expect_equal(answer["code"], "OK", f"a caller {when}: {answer.get('details')}")

        with inside(here):
            silent = [knock(held) for _ in range(80)]
        began = time.monotonic()
        served("beside 80 silent ones")
        for s in silent:
            with contextlib.suppress(ConnectionError):
                expect_equal(s.recv(1), b"", "what a silent caller reads")
        expect(time.monotonic() - began < 10, f"silent callers are kept for {time.monotonic() - began:.0f} s")
        before = limited(lab)

        def storm():
            with inside(here):
                for _ in range(300):
                    with contextlib.ExitStack() as one, contextlib.suppress(ConnectionError):
                        knock(one)
            return limited(lab) > before

        eventually("the limit on handshakes is counted", storm)  # it is of a rate, which a machine that stalled did not reach
        served("after the storm")


def metrics(node):
    with inside(node.netns):
        text = sh("curl", "-sS", "--max-time", "5", "http://127.0.0.1:15020/metrics").stdout
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))


def limited(lab):
    return sum(float(v) for k, v in metrics(lab.nodes[0]).items() if "outside_handshakes_limited" in k)


def case_record(lab):
    """The record of all this is whole, and names who asked and from where"""
    path = lab.nodes[0].state_dir / "ca-audit.jsonl"
    sh(lab.program("ringwallctl"), "ca", "audit", "verify", path)
    agents = of(audit(lab), "issued", "10.71.0.2")
    expect(agents, "node-2's requests are not on the record")
    for word in (f"system:serviceaccount:{AGENT[0]}:{AGENT[1]}", "token"):
        expect(word in json.dumps(agents[-1]), f"no '{word}' in {agents[-1]}")


# ---- a node that asks another CA ----


def leaf_of(node, identity):
    return next((c for c in node.ctl_json("certs") if c["identity"] == identity), {})


def available(node):
    certs = {c["identity"]: c for c in node.ctl_json("certs")}
    wanted = {p.identity for p in node.pods.values() if p.enrolled}
    return certs if wanted <= set(certs) and all(certs[i]["state"] == "Available" for i in wanted) else None


def talks(source, target, what):
    Task(target, traffic.echo_server, PORT).wait_ready()
    for family, address in addresses(target):
        got = eventually(f"{what}, {family}", lambda a=address: Task(source, traffic.try_connect, a, PORT).result() == "ok", 15)
        expect(got, what)


def case_node_without_a_ca(lab):
    """Node 2's certificates come from node 1's CA: both nodes talk mTLS both ways, and renewal goes on"""
    one, two = lab.nodes
    certs = eventually("node-2 has its certificates", lambda: available(two), 20)
    talks(pod(lab, "client"), pod(lab, "server"), "node-1 to node-2")
    from tasks import kill_all
    kill_all()
    talks(pod(lab, "server2"), pod(lab, "client"), "node-2 to node-1")
    line = eventually("the access log has it", lambda: [x for x in one.access_lines() if pod(lab, "server2").identity in x and "inbound" in x])
    expect(pod(lab, "client").identity in line[-1] or "client" in line[-1], line[-1])
    before = {i: c.get("generation") for i, c in certs.items()}
    eventually("node-2 renews", lambda: all(c.get("generation", 0) > before[i] for i, c in (available(two) or certs).items() if i in before), TTL_S)


def case_ca_away(lab):
    """While node 1's daemon is away node 2 keeps its certificates and its pods talk on; afterwards renewal goes on by itself"""
    one, two = lab.nodes
    server, server2 = pod(lab, "server"), pod(lab, "server2")
    expect(eventually("certificates", lambda: available(two), 20), "none")
    flow_server = Task(server, traffic.echo_server, PORT)
    flow_server.wait_ready()
    expect_equal(one.daemon.stop(), 0, "exit after SIGTERM")
    flow = Task(server2, traffic.steady, server.ip, PORT, 4).wait_ready()
    expect(available(two), "node-2 lost its certificates with the CA")
    expect(flow.result(40) > 0, "a flow while the CA is away")
    expect(available(two), "node-2 lost its certificates while the CA was away")
    back = time.time()
    one.start()
    eventually("node-2 renews after the CA is back",
               lambda: all(issued_at(c) > back - 121 for c in (available(two) or {"": {}}).values()), TTL_S)


def issued_at(cert):
    from datetime import datetime
    chain = cert.get("certChain")
    return datetime.fromisoformat(chain[0]["validFrom"]).timestamp() if chain else 0


def case_token_and_roots_change(lab):
    """The token's file is read for each request, the roots' file is watched: bad ones show as words, good ones heal it"""
    two = lab.nodes[1]
    good = lab.root.read_bytes()
    try:
        lab.token.write_text("not.a.token")
        eventually("the refusal is told", lambda: any("UNAUTHENTICATED" in json.dumps(c) for c in two.ctl_json("certs")), TTL_S)
        lab.token.write_text(agent_token(lab, "ec-1"))
        eventually("it heals", lambda: not any("UNAUTHENTICATED" in json.dumps(c) for c in two.ctl_json("certs")), TTL_S)
        lab.root.write_bytes(hbone.self_signed_ca(lab.work, "stranger")[0].read_bytes())
        eventually("the wrong root is told", lambda: any("does not chain" in json.dumps(c) for c in two.ctl_json("certs")), TTL_S)
    finally:
        lab.token.write_text(agent_token(lab))
        lab.root.write_bytes(good)
    eventually("it heals", lambda: available(two) and not any("does not chain" in json.dumps(c) for c in two.ctl_json("certs")), TTL_S)


# ---- a CA that is not ours ----


class ForeignCa:
    """gRPC's Python as the server, openssl as the signer; an intermediate below a root, as cert-chain.pem has it with the root."""

    def __init__(self, lab, node, address, port):
        self.root = hbone.self_signed_ca(lab.work, "far-root")
        inter = hbone.issue(lab.work, "far-inter", self.root, uris=[],
                            extensions="basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n")
        serving = hbone.issue(lab.work, "far-server", inter, uris=[],
                              extensions=hbone.LEAF.replace("serverAuth,clientAuth", "serverAuth") + f"subjectAltName=DNS:{NAME},DNS:{address}\n")
        chain = lab.work / "far-server-chain.pem"
        chain.write_text(serving[0].read_text() + inter[0].read_text() + self.root[0].read_text())
        self.seen = []
        self.process = lab.popen(
            ["nsenter", f"--net={node.netns}", interpreter(), "-B", peers.HERE / "peers" / "istio_ca.py", "server", f"0.0.0.0:{port}",
             chain, serving[1], inter[0], inter[1], self.root[0], inter[0], self.root[0]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.line()

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            raise LabError("the foreign CA ended")
        return json.loads(text)

    def mode(self, mode):
        self.process.stdin.write(mode + "\n")
        self.process.stdin.flush()
        while True:
            line = self.line()
            if line.get("mode_is") == mode:
                return
            self.seen.append(line)

    def end(self):
        self.process.kill()
        self.process.wait(10)


def case_foreign_ca(lab):
    """A node of its own below a CA made of gRPC's Python and openssl: certificates, traffic, and what that CA can do wrong"""
    node = lab.node(3)
    a, b = node.pod("far-a", 31, service_account="far-a"), node.pod("far-b", 32, service_account="far-b")
    address = "localhost"  # the CA is beside the daemon: found by name, on the second of its addresses
    ca = ForeignCa(lab, node, address, DOOR + 100)
    token = lab.work / "far-token"
    token.write_text("a.foreign.token\n")
    for p in (a, b):
        (node.mesh_dir / f"{p.name}.yaml").write_text(p.manifest())
    node.write_config(ca=istio(f"{address}:{DOOR + 100}", token, ca.root[0]))
    try:
        ca.mode("good")
        node.start()
        certs = eventually("the node has certificates", lambda: available(node), 20)
        for cert in certs.values():
            expect_equal(len(cert["certChain"]), 2, "leaf and one intermediate, the root left out")
        talks(a, b, "below the foreign CA")
        ca.mode("good")
        first = ca.seen[0]
        expect_equal((first["authorization"], first["clusterid"]), ("Bearer a.foreign.token", "Kubernetes"), "headers")
        expect_equal(first["validity"], TTL_S, "the lifetime asked for")
        expect(first["identity"] in (a.identity, b.identity), first)
        for mode, word in (("refuse", "UNAUTHENTICATED"), ("other", "another identity"), ("no-roots", "no root"), ("hang", "")):
            ca.mode(mode)
            if word:
                eventually(f"'{word}' is told", lambda w=word: any(w in json.dumps(c) for c in node.ctl_json("certs")), TTL_S + 20)
        ca.mode("good")
        eventually("it heals", lambda: available(node) and all(not c.get("error") for c in node.ctl_json("certs")), 2 * TTL_S)
        expect_equal(Task(a, traffic.try_connect, b.ip, PORT).result(), "ok", "after all")
    finally:
        ca.end()
