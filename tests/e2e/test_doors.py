# SPDX-License-Identifier: GPL-3.0-or-later
"""The doors for local programs: SDS and the SPIFFE Workload API, with real clients: Envoy, go-spiffe, gRPC's own, openssl."""

import base64
import http.client
import json
import os
import pathlib
import re
import socket
import stat
import subprocess
import time

import peers
import traffic
from common import TENTH, Skip, expect, expect_equal, pod, standard_lab
from core_image import forms_of, is_sanitized, scalar_in, search
from lab import PATIENCE, LabError, eventually, inside, sh
from tasks import Task

HERE = pathlib.Path(__file__).resolve().parent
TTL_S = 40
PORT = 9700
HEADER = {"workload.spiffe.io": "true"}


def lab():
    """Certificates of 40 s, renewed 12 to 20 s after their issue: rotation happens while the cases run, and leaves time between."""
    made = standard_lab("doors", start=False)
    for node in made.nodes:
        configure(node)
        node.start()
    made.roots = (made.dir / "root-ca" / "ca-cert.pem").read_text()
    return made


def configure(node, **extra):
    # rotateAt is of a life that began two minutes before the issue, less up to 0.05.
    node.sds, node.api = node.dir / "doors" / "sds.sock", node.dir / "doors" / "api.sock"
    node.write_config(ca=f"{{provider: files, dir: {node.ca_dir}, ttl: {TTL_S}s, rotateAt: 0.875}}",
                      sockets=f"{{sds: {node.sds}, workloadApi: {node.api}}}", **extra)


def peer(get):
    try:
        return get()
    except peers.Missing as missing:
        raise Skip(str(missing)) from None


# ---- clients ----


class SdsClient:
    """tests/e2e/peers/sds_client.py in a pod (None: as a process of the host)."""

    def __init__(self, lab, where, path, command=None):
        program = [peer(peers.grpc_python), "-B", HERE / "peers" / "sds_client.py", path]
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = where.popen(*program, **options) if where else lab.popen((command or []) + program, **options)

    def tell(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def ask(self, **command):
        self.tell(**command)
        line = self.process.stdout.readline()
        expect(line, "the client ended")
        return json.loads(line)

    def event(self, seconds=10 * PATIENCE):
        return self.ask(expect=seconds)

    def response(self, seconds=10 * PATIENCE):
        event = self.event(seconds)
        expect("response" in event, f"no response: {event}")
        return event["response"]

    def open(self, kind="StreamSecrets", **say):
        self.tell(open=kind)
        if say:
            self.tell(say=say)
        return self

    def ack(self, response, names):
        self.tell(say={"names": names, "nonce": response["nonce"], "version": response["version"]})

    def silent(self, seconds=0.4):
        event = self.event(seconds)
        expect_equal(event, {}, "nothing was to come")

    def end(self):
        self.process.kill()
        self.process.wait(10)


def fetch_status(lab, where, path, command=None, method="FetchSecrets"):
    client = SdsClient(lab, where, path, command)
    answer = client.ask(call=f"/envoy.service.secret.v3.SecretDiscoveryService/{method}")
    client.end()
    return answer


def wait_for_rotation(lab, where, node):
    """The next one is then some time off, so that what must not come is not mistaken."""
    c = SdsClient(lab, where, node.sds).open(names=["default"])
    c.ack(c.response(), ["default"])
    c.response(TTL_S)
    c.end()


def certificates(pem):
    return re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.S)


def verify_by_openssl(lab, chain, roots, identity, key=None):
    """openssl accepts the chain for both purposes, reads the one URI, and finds the key to match."""
    place = lab.dir / "verify"
    place.mkdir(exist_ok=True)
    leaf, *rest = certificates(chain)
    for name, text in (("leaf.pem", leaf), ("rest.pem", "\n".join(rest)), ("roots.pem", roots)):
        (place / name).write_text(text + "\n")
    for purpose in ("sslclient", "sslserver"):
        sh("openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", place / "roots.pem",
           *(("-untrusted", place / "rest.pem") if rest else ()), place / "leaf.pem")
    text = sh("openssl", "x509", "-noout", "-text", "-in", place / "leaf.pem").stdout
    expect(f"URI:{identity}" in text, f"the leaf is not {identity}:\n{text}")
    if key:
        public = sh("openssl", "x509", "-noout", "-pubkey", "-in", place / "leaf.pem").stdout
        expect_equal(sh("openssl", "pkey", "-pubout", input=key).stdout, public, "the key's public half")


def serial(pem):
    return sh("openssl", "x509", "-noout", "-serial", input=pem).stdout


def door_lines(node, method):
    return [line for line in node.access_lines() if "doors" in line and f'method="{method}"' in line]


def metric(node, name):
    with inside(node.netns):
        connection = http.client.HTTPConnection("127.0.0.1", 15020, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    found = re.search(rf"^ringwall_doors_{name}(?:_total)? (\d+)", text, re.M)
    expect(found, f"no metric ringwall_doors_{name}")
    return int(found.group(1))


# ---- who calls ----


def case_callers_are_known_by_the_kernel(lab):
    """Each pod's program gets its own certificate; strangers, wrong cgroups and wrong namespaces get a reason and no key"""
    node = lab.nodes[0]
    mode = stat.S_IMODE(os.stat(node.sds).st_mode)
    expect_equal(oct(mode), "0o666", "the socket's mode")
    for name in ("client", "client2", "intruder"):
        answer = fetch_status(lab, pod(lab, name), node.sds)
        expect("response" in answer, f"{name}: {answer}")
        leaf = next(s for s in answer["response"]["secrets"] if "chain" in s)
        verify_by_openssl(lab, leaf["chain"], lab.roots, pod(lab, name).identity, leaf["key"])
    client = pod(lab, "client")
    strangers = {
        "a process of the host": (None, [], "no enrolled workload"),
        "a pod outside the mesh": (pod(lab, "outsider"), None, "no enrolled workload"),
        "in the pod's namespace, not in its cgroup": (None, ["nsenter", f"--net={client.netns}", "--"], "no enrolled workload"),
        "in the pod's cgroup, not in its namespace":
            (None, ["sh", "-c", f'echo $$ > {client.leaf_cgroup}/cgroup.procs; exec "$@"', "sh"], "not in its network namespace"),
    }
    for what, (where, command, why) in strangers.items():
        answer = fetch_status(lab, where, node.sds, command)
        expect_equal(answer.get("status"), "PERMISSION_DENIED", what)
        expect(why in answer["text"], f"{what}: {answer}")
    lines = door_lines(node, "FetchSecrets")
    expect(any(f'identity="{client.identity}"' in line for line in lines), "no line names the caller")
    expect(any("PERMISSION_DENIED" in line for line in lines), "no line tells of a refusal")


# ---- SDS ----


def case_sds_first_ack_nack_stale(lab):
    """The first request is answered, an ACK is not; a refused or stale answer changes nothing until the content does"""
    node, client = lab.nodes[0], pod(lab, "client")
    wait_for_rotation(lab, client, node)
    c = SdsClient(lab, client, node.sds).open(names=["default", "ROOTCA"], nonce="of-an-earlier-stream", version="9")
    one = c.response()
    expect_equal([s["name"] for s in one["secrets"]], ["ROOTCA", "default"], "roots first")
    expect_equal(certificates(one["secrets"][0]["roots"]), certificates(lab.roots), "the roots")
    verify_by_openssl(lab, one["secrets"][1]["chain"], one["secrets"][0]["roots"], client.identity, one["secrets"][1]["key"])
    stale = metric(node, "stale")
    c.tell(say={"names": ["default", "ROOTCA"], "nonce": "0123456789abcdef00000001"})
    c.silent()
    expect_equal(metric(node, "stale"), stale + 1, "stale requests counted")
    c.ack(one, ["default", "ROOTCA"])
    c.silent()
    two = c.response(TTL_S)  # the rotation
    expect_equal([s["name"] for s in two["secrets"]], ["default"], "only what changed")
    expect(serial(two["secrets"][0]["chain"]) != serial(one["secrets"][1]["chain"]), "the same certificate twice")
    expect(two["nonce"] != one["nonce"] and two["version"] != one["version"], "nonce and version are fresh")
    c.tell(say={"names": ["default", "ROOTCA"], "nonce": two["nonce"], "version": one["version"], "error": "not for me"})
    c.silent()
    expect_equal([line for line in node.log.read_text().splitlines() if "not for me" in line] != [], True, "the refusal's text in the log")
    three = c.response(TTL_S)  # after a refusal only new content comes
    expect(serial(three["secrets"][0]["chain"]) != serial(two["secrets"][0]["chain"]), "a refused certificate came again")
    # Names that are added are answered alone, names that are left out are forgotten.
    c.tell(say={"names": ["ROOTCA", client.identity], "nonce": three["nonce"], "version": three["version"]})
    four = c.response()
    expect_equal([s["name"] for s in four["secrets"]], [client.identity], "the added name")
    c.end()


def case_sds_names(lab):
    """Own SPIFFE ID, the trust domain's, ALL, and no name at all; any other name is an error that names it"""
    node, client = lab.nodes[0], pod(lab, "client")
    wanted = [client.identity, "spiffe://cluster.local", "ALL"]
    c = SdsClient(lab, client, node.sds).open(names=wanted)
    secrets = {s["name"]: s for s in c.response()["secrets"]}
    expect_equal(set(secrets), set(wanted), "what came")
    expect_equal(secrets["ALL"]["validator"], "envoy.tls.cert_validator.spiffe", "ALL is for Envoy's validator")
    expect_equal({k: certificates(v) for k, v in secrets["ALL"]["bundles"].items()}, {"cluster.local": certificates(lab.roots)}, "bundles")
    c.open(names=[])
    expect_equal({s["name"] for s in c.response()["secrets"]}, {client.identity, "spiffe://cluster.local"}, "everything")
    for bad in (pod(lab, "intruder").identity, "spiffe://other.example", "spiffe://", "kubernetes://x", "", "x" * 5000):
        c.open(names=["default", bad])
        event = c.event()
        expect_equal(event.get("status"), "INVALID_ARGUMENT", f"{bad[:40]!r}: {event}")
        expect(bad[:40] in event["text"], f"the error does not name {bad[:40]!r}: {event}")
    c.open(names=["default"], type="type.googleapis.com/envoy.config.cluster.v3.Cluster")
    expect_equal(c.event().get("status"), "INVALID_ARGUMENT", "another type")
    c.end()


def case_sds_delta(lab):
    """DeltaSecrets: names come and go, versions that the client has are not sent again, a refused one neither"""
    node, client = lab.nodes[0], pod(lab, "client")
    wait_for_rotation(lab, client, node)
    c = SdsClient(lab, client, node.sds).open("DeltaSecrets", add=["default", "ROOTCA"])
    one = c.response()
    have = {s["resource"]: s["version"] for s in one["secrets"]}
    expect_equal(set(have), {"default", "ROOTCA"}, "what came")
    c.tell(say={"nonce": one["nonce"]})
    c.silent()
    c.tell(say={"add": ["ALL"], "gone": ["default"]})
    two = c.response()
    expect_equal([s["name"] for s in two["secrets"]], ["ALL"], "the added name")
    c.tell(say={"nonce": two["nonce"], "error": "no"})
    c.silent(TTL_S * (0.2 if TENTH else 0.6))  # a rotation of what is not asked for any more
    c.open("DeltaSecrets", add=["ROOTCA"], have={"ROOTCA": have["ROOTCA"]})
    c.silent()
    c.tell(say={"add": ["default"]})
    expect_equal([s["name"] for s in c.response()["secrets"]], ["default"], "what the client did not have")
    c.open("DeltaSecrets", add=["*"])
    expect_equal({s["name"] for s in c.response()["secrets"]}, {client.identity, "spiffe://cluster.local"}, "everything")
    c.end()


# ---- Workload API ----


def spiffe(pod_, node, *arguments):
    program = peer(peers.spiffe_client)
    return pod_.popen(program, node.api, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def spiffe_lines(pod_, node, *arguments):
    process = spiffe(pod_, node, *arguments)
    out, _ = process.communicate(timeout=60)
    return [json.loads(line) for line in out.splitlines()]


def case_go_spiffe_watches(lab):
    """go-spiffe fetches an X.509-SVID, verifies it, and sees its rotation; openssl agrees"""
    node, client = lab.nodes[0], pod(lab, "client")
    watch = spiffe(client, node, "watch")
    one, two = (json.loads(watch.stdout.readline()) for _ in range(2))
    watch.stdin.close()
    watch.wait(10)
    for context in (one, two):
        expect_equal((context["id"], context["n"], context["verified"], context["key"]), (client.identity, 1, client.identity, True), "the SVID")
        expect_equal(certificates(context["roots"]["cluster.local"]), certificates(lab.roots), "the bundle")
        verify_by_openssl(lab, context["chain"], context["roots"]["cluster.local"], client.identity)
    expect(one["serial"] != two["serial"] and one["notAfter"] < two["notAfter"], "no rotation")
    bundles = spiffe_lines(client, node, "bundles")
    expect_equal([b["trustDomain"] for b in bundles], ["cluster.local"], "bundles")
    lines = spiffe_lines(pod(lab, "outsider"), node, "bundles")
    expect_equal(lines[0]["code"], "PermissionDenied", f"a program outside the mesh: {lines}")


def case_jwt_svid(lab):
    """A JWT-SVID for the caller alone, accepted by the server and by go-spiffe; another audience, and a changed token, are not"""
    node, client = lab.nodes[0], pod(lab, "client")
    fetched, validated = spiffe_lines(client, node, "jwt", "db.example")
    expect_equal((fetched.get("id"), fetched.get("verified")), (client.identity, client.identity), f"the JWT-SVID: {fetched}")
    expect_equal(validated.get("validated"), client.identity, f"ValidateJWTSVID: {validated}")
    expect("db.example" in validated["claims"]["aud"], "the audience")
    expect(fetched["expires"] - time.time() <= 330, "it lives too long")
    head, claims, signature = fetched["token"].split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","kid":"x"}').decode().rstrip("=")
    other = base64.urlsafe_b64encode(base64.urlsafe_b64decode(claims + "==").replace(b"/sa/client", b"/sa/server")).decode().rstrip("=")
    for what, audience, token in (("another audience", "x", fetched["token"]), ("no algorithm", "db.example", f"{none}.{claims}."),
                                  ("another subject", "db.example", f"{head}.{other}.{signature}"), ("nonsense", "db.example", "a.b.c")):
        answer = spiffe_lines(client, node, "validate", audience, token)
        expect_equal(answer[0].get("code"), "InvalidArgument", f"{what}: {answer}")


def case_workload_api_rules(lab):
    """Without its header nothing is answered; an unknown method, a foreign identity and an empty audience have their codes"""
    node, client = lab.nodes[0], pod(lab, "client")
    c = SdsClient(lab, client, node.api)
    for metadata in ({}, {"workload.spiffe.io": "True"}, {"workload.spiffe.io": ""}):
        answer = c.ask(call="/SpiffeWorkloadAPI/FetchX509SVID", metadata=metadata)
        expect_equal(answer.get("status"), "INVALID_ARGUMENT", f"{metadata}: {answer}")
    identity = pod(lab, "intruder").identity.encode()
    foreign = b"\x0a\x01a\x12" + bytes([len(identity)]) + identity
    for what, path, body, status in (
            ("an unknown method", "/SpiffeWorkloadAPI/FetchWITSVID", b"", "UNIMPLEMENTED"),
            ("SDS on the other socket", "/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets", b"", "UNIMPLEMENTED"),
            ("no audience", "/SpiffeWorkloadAPI/FetchJWTSVID", b"", "INVALID_ARGUMENT"),
            ("an empty audience", "/SpiffeWorkloadAPI/FetchJWTSVID", b"\x0a\x00", "INVALID_ARGUMENT"),
            ("somebody else's identity", "/SpiffeWorkloadAPI/FetchJWTSVID", foreign, "PERMISSION_DENIED"),
            ("no protobuf", "/SpiffeWorkloadAPI/FetchJWTSVID", b"\xff" * 20, "INVALID_ARGUMENT"),
            ("a request that is too large", "/SpiffeWorkloadAPI/FetchJWTSVID", b"\x0a\x01a" + b"\x1a\xff\xff\x3f" + b"x" * 1048575,
             "RESOURCE_EXHAUSTED")):
        answer = c.ask(call=path, body=body.hex(), metadata=HEADER)
        expect_equal(answer.get("status"), status, f"{what}: {answer}")
    c.end()


# ---- Envoy ----


def sds_source(kind):
    return {"resource_api_version": "V3", "api_config_source": {
        "api_type": kind, "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "sds"}}]}}


def tls_context(kind, certificate, validation, peer_identity):
    return {"tls_certificate_sds_secret_configs": [{"name": certificate, "sds_config": sds_source(kind)}],
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": peer_identity}}]},
                "validation_context_sds_secret_config": {"name": validation, "sds_config": sds_source(kind)}}}


def tls_socket(name, context):
    kind = "envoy.extensions.transport_sockets.tls.v3." + name
    body = {"@type": f"type.googleapis.com/{kind}", "common_tls_context": context}
    if name == "DownstreamTlsContext":
        body["require_client_certificate"] = True
    return {"name": "envoy.transport_sockets.tls", "typed_config": body}


def listener(port, address, action, transport=None):
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in", "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **action}]}]}}}]}
    if transport:
        chain["transport_socket"] = transport
    return {"name": "in", "address": {"socket_address": {"address": address, "port_value": port}}, "filter_chains": [chain]}


def start_envoy(lab, where, node, listeners, clusters):
    http2 = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http2_protocol_options": {}}}}
    sds = {"name": "sds", "type": "STATIC", "typed_extension_protocol_options": http2, "load_assignment": {
        "cluster_name": "sds", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": str(node.sds)}}}}]}]}}
    config = {"node": {"id": where.name, "cluster": "test"}, "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}},
              "static_resources": {"listeners": listeners, "clusters": [sds, *clusters]}}
    path = lab.dir / f"envoy-{where.name}.json"
    path.write_text(json.dumps(config))
    log = open(lab.dir / f"envoy-{where.name}.log", "ab")
    return where.popen(peer(peers.envoy), "-c", path, "--disable-hot-restart", "--concurrency", "1", "-l", "warning", stdout=log, stderr=log)


def envoy_stats(where, filter_):
    return dict(line.rsplit(": ", 1) for line in where.curl(f"http://127.0.0.1:9901/stats?filter={filter_}").stdout.splitlines() if ": " in line)


def envoy_serials(where):
    text = where.curl("http://127.0.0.1:9901/certs").stdout
    return [c["serial_number"] for entry in json.loads(text or "{}").get("certificates", []) for c in entry.get("cert_chain", [])[:1]]


REQUESTS = """
import http.client, sys, time
good, bad, end = 0, [], time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    try:
        c = http.client.HTTPConnection("127.0.0.1", 10000, timeout=10)
        c.request("GET", "/")
        answer = c.getresponse()
        body = answer.read()
        if answer.status == 200 and body == b"hello over mTLS":
            good += 1
        else:
            bad.append((answer.status, body[:200]))
        c.close()
    except OSError as error:
        bad.append(repr(error))
    time.sleep(0.02)
print(good, len(bad), bad[:3])
"""


def two_envoys(lab):
    """Client's and server's Envoy, started once: one subscribes by streams, the other by delta."""
    client, server = pod(lab, "client"), pod(lab, "server")
    peer(peers.envoy)
    if not hasattr(lab, "envoys"):
        context = tls_context("DELTA_GRPC", server.identity, "ALL", client.identity)
        hello = {"direct_response": {"status": 200, "body": {"inline_string": "hello over mTLS"}}}
        http1 = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http_protocol_options": {}}, "common_http_protocol_options": {"max_requests_per_connection": 3}}}
        upstream = {"name": "server", "type": "STATIC", "typed_extension_protocol_options": http1, "load_assignment": {
            "cluster_name": "server", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {"address": server.ip, "port_value": 8443}}}}]}]},
            "transport_socket": tls_socket("UpstreamTlsContext", tls_context("GRPC", "default", "ROOTCA", server.identity))}
        lab.envoys = [start_envoy(lab, server, lab.nodes[1], [listener(8443, server.ip, hello, tls_socket("DownstreamTlsContext", context))], []),
                      start_envoy(lab, client, lab.nodes[0], [listener(10000, "127.0.0.1", {"route": {"cluster": "server"}})], [upstream])]
    eventually("a request passes both Envoys", lambda: client.curl("http://127.0.0.1:10000/").stdout == "hello over mTLS", 30)
    return client, server


def envoys_refused(*where):
    for one in where:
        refused = {k: v for k, v in envoy_stats(one, "sds.*(update_rejected|key_rotation_failed)").items() if v != "0"}
        expect_equal(refused, {}, f"what {one.name}'s Envoy refused")


def all_went_well(process, seconds, least):
    out, _ = process.communicate(timeout=seconds)
    good, bad, which = out.strip().split(" ", 2)
    expect_equal(bad, "0", f"requests that failed: {which}")
    expect(int(good) > least, f"only {good} requests")
    return int(good)


def start_requests(where, seconds):
    return where.popen("python3", "-c", REQUESTS, seconds, stdout=subprocess.PIPE, text=True)


def case_two_envoys(lab):
    """Two Envoys get certificates and roots by SDS, one by streams, one by delta, speak mTLS, and pass rotations without a dropped request"""
    client, server = two_envoys(lab)
    before = [envoy_serials(where) for where in (client, server)]
    expect(all(before), f"Envoy shows no certificate: {before}")
    good = all_went_well(start_requests(client, TTL_S * (0.6 if TENTH else 1)), TTL_S * 2, 100)
    for where, old in zip((client, server), before):
        eventually(f"{where.name}'s Envoy takes a new certificate", lambda w=where, o=old: envoy_serials(w) not in ([], o), TTL_S)
    envoys_refused(client, server)
    handshakes = int(envoy_stats(client, "cluster.server.ssl.handshake").get("cluster.server.ssl.handshake", 0))
    expect(handshakes > 30, f"only {handshakes} handshakes")
    print(f"    {good} requests, {handshakes} handshakes, 0 failed, over rotations of both sides")


# ---- bounds and ends ----


def connect(node, path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(str(path))
    return s


def closed_by_peer(s, seconds):
    s.settimeout(seconds)
    try:
        while s.recv(65536):
            pass
        return True
    except TimeoutError:
        return False
    except OSError:
        return True


def case_rude_clients(lab):
    """Garbage, silence, hoards of connections and floods end with their sender; others are served all the while"""
    node, client = lab.nodes[0], pod(lab, "client")
    garbage = connect(node, node.sds)
    garbage.sendall(os.urandom(65536))
    expect(closed_by_peer(garbage, 10), "garbage is not cut")
    hoard = [connect(node, node.sds) for _ in range(200)]
    eventually("strangers' connections are bounded", lambda: metric(node, "connections") <= 40)
    answer = fetch_status(lab, client, node.sds)
    expect("response" in answer, f"a workload beside a stranger's hoard: {answer}")
    for s in hoard:
        s.close()
    silent = connect(node, node.api)
    expect(closed_by_peer(silent, 20), "a silent stranger keeps its place")
    c = SdsClient(lab, client, node.sds).open()
    c.tell(raw="ff" * 40)
    expect_equal(c.event().get("status"), "INVALID_ARGUMENT", "no protobuf")
    c.open()
    c.tell(raw="0a" + "80808004" + "00" * 64)
    expect_equal(c.event().get("status"), "INVALID_ARGUMENT", "a length past the end")
    c.open()
    c.tell(raw="00" * 70000)
    expect_equal(c.event().get("status"), "RESOURCE_EXHAUSTED", "more than 64 KiB")
    c.open(names=["default"])
    first = c.response()
    for _ in range(300):
        c.ack(first, ["default"])
    expect_equal(c.event().get("status"), "RESOURCE_EXHAUSTED", "a flood of requests")
    c.end()
    expect(node.daemon.process.poll() is None, "the daemon ended")


def case_keys_stay_out_of_logs(lab):
    """A key that was given out stands in no log and in no audit file"""
    node, client = lab.nodes[0], pod(lab, "client")
    answer = fetch_status(lab, client, node.sds)
    key = next(s for s in answer["response"]["secrets"] if "key" in s)["key"]
    lines = [line for line in key.splitlines() if not line.startswith("-----")]
    raw = base64.b64decode("".join(lines))
    expect_equal(raw[33:36].hex(), "010420", "where the secret number stands in PKCS#8 of P-256")
    scalar = raw[36:68]
    for path in [node.log, node.access_log, *(p for p in node.state_dir.rglob("*") if p.is_file())]:
        data = path.read_bytes()
        for what in (lines[1].encode(), scalar, scalar.hex().encode(), base64.b64encode(scalar)):
            expect(what not in data, f"key bytes in {path}")


def case_keys_stay_in_secret_memory(lab):
    """A key that was given out, by both doors, stands in the daemon's memory only where no core file has it"""
    if is_sanitized(lab):
        return  # as for the CA's keys
    node, client, server = lab.nodes[0], pod(lab, "client"), pod(lab, "server")
    Task(server, traffic.echo_server, PORT).wait_ready()
    Task(client, traffic.until_broken, server.ip, PORT).wait_ready()  # its tunnels have the key in use
    stream = SdsClient(lab, client, node.sds).open(names=["default"])
    watch = spiffe(client, node, "watch")
    expect(json.loads(watch.stdout.readline())["key"], "no SVID")
    for _ in range(3):  # one that was replaced while the memory was read is nowhere: then its successor is looked for
        response = stream.response(TTL_S)
        stream.ack(response, ["default"])
        scalar, line = scalar_in(response["secrets"][0]["key"])
        plain, hidden = search(node.daemon.pid, {**forms_of(scalar), "PEM": line})
        expect_equal(plain, set(), "the key in memory that can be dumped")
        if "big-endian" in hidden:
            break
    watch.stdin.close()
    watch.wait(10)
    stream.end()
    expect("big-endian" in hidden, "the search does not even find the key where it must be")


def case_restart(lab):
    """Sockets go with the daemon, a killed one's are replaced; streams come back; without capture every caller is refused"""
    node, client = lab.nodes[0], pod(lab, "client")
    c = SdsClient(lab, client, node.sds).open(names=["default"])
    c.response()
    expect_equal(node.daemon.stop(), 0, "exit after SIGTERM")
    event = c.event()
    while "response" in event:  # a rotation may come just before
        event = c.event()
    expect_equal(event.get("status"), "UNAVAILABLE", f"the stream's end: {event}")
    expect(not node.sds.exists() and not node.api.exists(), "a socket's file stays behind")
    c.end()
    node.start()
    node.daemon.kill()
    expect(node.sds.exists(), "a killed daemon removes nothing")
    node.start()
    expect("response" in fetch_status(lab, client, node.sds), "after a kill")
    node.daemon.stop()
    configure(node, capture="{mode: none}")
    node.start()
    answer = fetch_status(lab, client, node.sds)
    expect_equal(answer.get("status"), "PERMISSION_DENIED", "without capture")
    expect("capture.mode is none" in answer["text"], str(answer))
    node.daemon.stop()
    configure(node)
    node.start()


def case_workload_leaves(lab):
    """When a workload leaves the node its streams end, and its programs get nothing any more"""
    node, client = lab.nodes[0], pod(lab, "client2")
    c = SdsClient(lab, client, node.sds).open(names=["default"])
    c.response()
    client.enrolled = None
    lab.apply_workloads(wait=True)
    event = c.event()
    expect_equal(event.get("status"), "PERMISSION_DENIED", f"the stream's end: {event}")
    c.end()
    answer = fetch_status(lab, client, node.sds)
    expect_equal(answer.get("status"), "PERMISSION_DENIED", f"a new call: {answer}")
    client.enrolled = True
    lab.apply_workloads(wait=True)
    eventually("it is served again", lambda: "response" in fetch_status(lab, client, node.sds))


def case_root_rollover(lab):
    """A new root is prepared, published, activated: SDS brings both roots before any leaf of the new one; no request between Envoys fails"""
    client, server = two_envoys(lab)
    ctl, root = lab.program("ringwallctl"), lab.dir / "root-ca"
    streams = [SdsClient(lab, where, node.sds).open(names=["default", "ROOTCA"]) for where, node in ((client, lab.nodes[0]), (server, lab.nodes[1]))]
    seconds = TTL_S * (0.6 if TENTH else 1.5)
    requests = start_requests(client, seconds)
    old = certificates(lab.roots)
    seen = [{"roots": None, "leaf": None} for _ in streams]

    def read_on(i):
        response = streams[i].response(TTL_S)
        streams[i].ack(response, ["default", "ROOTCA"])
        for secret in response["secrets"]:
            seen[i]["leaf" if "chain" in secret else "roots"] = secret

    for i in (0, 1):
        read_on(i)
    sh(ctl, "ca", "rollover", "prepare", "--dir", root)
    for node in lab.nodes:
        sh(ctl, "ca", "publish", "--dir", root, "--out", node.ca_dir)
    for i in (0, 1):
        while len(certificates(seen[i]["roots"]["roots"])) < 2:
            read_on(i)
    new = [c for c in certificates(seen[0]["roots"]["roots"]) if c not in old]
    sh(ctl, "ca", "rollover", "activate", "--dir", root, "--leaf-ttl", f"{TTL_S}s")
    for node in lab.nodes:
        sh(ctl, "ca", "issue-node", "--dir", root, "--node", node.name, "--out", node.ca_dir, "--renew")
    for i, where in enumerate((client, server)):
        eventually(f"a leaf of the new root at {where.name}", lambda: under(lab, seen[i]["leaf"]["chain"], new) or read_on(i), TTL_S)
        expect_equal(set(certificates(seen[i]["roots"]["roots"])), {*old, *new}, "the roots when the leaf came")
        verify_by_openssl(lab, seen[i]["leaf"]["chain"], new[0], where.identity, seen[i]["leaf"]["key"])
        streams[i].end()
    lab.roots = "\n".join([*new, *old])
    good = all_went_well(requests, seconds * 2, 100)
    envoys_refused(client, server)
    print(f"    {good} requests, 0 failed, over the rollover of the root")


def under(lab, chain, roots):
    """Does the chain end below these roots?"""
    try:
        verify_by_openssl(lab, chain, "\n".join(roots), "spiffe://")
        return True
    except LabError:
        return False
