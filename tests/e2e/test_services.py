# SPDX-License-Identifier: GPL-3.0-or-later
"""Services on real connections: virtual IPs, port mapping, both endpoints used, another one when the first fails, secure naming."""

import collections
import contextlib
import json
import time
import urllib.request

import hbone
import traffic
from common import expect, expect_equal, pod, standard_lab
from lab import eventually, inside, sh
from tasks import Task

VIPS = ("10.96.71.1", "fd96:71::1")
SLICED, EMPTY, NAMED = "10.96.71.2", "10.96.71.3", "10.96.71.4"
PORT, NAMED_PORT = 9400, 9401
MANY = 40


def service(name, vips, selector="", ports=f"[{{name: http, port: 80, targetPort: {PORT}}}]"):
    return (f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n"
            f"spec:\n  clusterIP: {vips[0]!r}\n  clusterIPs: {list(vips)}\n  ports: {ports}\n{selector}")


def endpoint_slice(lab, ready):
    ends = "".join(f"- {{addresses: ['{pod(lab, name).ip}'], conditions: {{ready: {str(ready[name]).lower()}}}}}\n" for name in ready)
    return ("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
            "metadata: {name: sliced-1, namespace: default, labels: {kubernetes.io/service-name: sliced}}\n"
            f"addressType: IPv4\nports: [{{name: http, port: {PORT}}}]\nendpoints:\n{ends}")


def entry(lab, names):
    return ("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: named, namespace: default}\nspec:\n"
            f"  hosts: [named.example.com]\n  addresses: [{NAMED}]\n  location: MESH_INTERNAL\n  resolution: STATIC\n"
            f"  ports: [{{number: 80, name: http, protocol: TCP, targetPort: {PORT}}}]\n"
            f"  subjectAltNames: {json.dumps(names)}\n"
            "  workloadSelector: {labels: {app: server}}\n")


def services():
    selector = "  selector: {tier: web}\n"
    ports = f"[{{name: http, port: 80, targetPort: {PORT}}}, {{name: web, port: 81, targetPort: web}}]"
    return "---\n".join((service("web", VIPS, selector, ports), service("sliced", [SLICED]), service("empty", [EMPTY], "  selector: {tier: none}\n")))


def workloads(lab):
    """Those of the lab, their servers with a named port."""
    return "---\n".join(p.manifest().replace("  serviceAccount:", f"  ports: {{web: {NAMED_PORT}}}\n  serviceAccount:")
                        if p.name.startswith("server") else p.manifest()
                        for node in lab.nodes for p in node.pods.values() if p.enrolled is not None)


def lab():
    made = standard_lab("services")
    for name in ("server", "server2"):
        pod(made, name).labels["tier"] = "web"
    made.apply("workloads.yaml", workloads(made))
    made.apply("services.yaml", services())
    return made


def name_server(port, name, *, ready):
    """Answers each connection's first byte with its own name."""
    server = traffic.listen(port)
    ready()
    while True:
        s, _ = server.accept()
        s.settimeout(10)
        try:
            if s.recv(1):
                s.sendall(name.encode())
        except OSError:
            pass
        s.close()


def who(address, port, n, *, ready):
    """Who answered n connections, one after the other; the error's name for those that failed."""
    seen = []
    for _ in range(n):
        try:
            s = traffic.connect(address, port)
            s.sendall(b"?")
            seen.append(s.recv(100).decode() or "eof")
            s.close()
        except OSError as error:
            seen.append(traffic.errno.errorcode.get(error.errno, str(error)))
    return dict(collections.Counter(seen))


def slowest(address, port, n, *, ready):
    """Like `who`, and how long the slowest of them took."""
    seen, worst = collections.Counter(), 0.0
    for _ in range(n):
        began = time.monotonic()
        seen.update(who(address, port, 1, ready=ready))
        worst = max(worst, time.monotonic() - began)
    return dict(seen), worst


def serve(lab, *names, port=PORT):
    return {name: Task(pod(lab, name), name_server, port, name).wait_ready() for name in names or ("server", "server2")}


def asked(lab, address, port=80, n=MANY, source="client"):
    return Task(pod(lab, source), who, address, port, n).result(90)


def counter(lab, name, node=0):
    """A worker's counter, summed."""
    with inside(lab.nodes[node].netns):
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        text = direct.open("http://127.0.0.1:15020/metrics", timeout=10).read().decode()
    return sum(int(line.split()[-1]) for line in text.splitlines() if line.startswith(f"ringwall_worker_{name}_total"))


def fresh(lab):
    """What earlier cases taught the client's daemon of its endpoints is forgotten."""
    lab.nodes[0].daemon.stop()
    lab.nodes[0].start()


def case_both_endpoints(lab):
    """A service's address of either family: its port is mapped, both endpoints answer, all over mutual TLS"""
    serve(lab)
    for address in VIPS:
        seen = asked(lab, address)
        expect_equal(set(seen), {"server", "server2"}, f"who answered at {address}")
        expect(min(seen.values()) >= MANY // 10, f"the load at {address}: {seen}")
    line = eventually("the service is logged", lambda: next((x for x in reversed(lab.nodes[0].access_lines()) if "web.default.svc" in x), None))
    expect("dst.hbone_addr=" in line and "dst.identity=" in line, f"not over mutual TLS: {line}")


def case_named_port(lab):
    """The target port is a name that each workload resolves by itself"""
    serve(lab, port=NAMED_PORT)
    for address in VIPS:
        expect_equal(set(asked(lab, address, 81)), {"server", "server2"}, f"who answered at {address}")


def case_named_port_of_each(lab):
    """One name, another number in each pod: every pod is asked at its own, over mutual TLS"""
    serve(lab, "server", port=NAMED_PORT)
    serve(lab, "server2", port=NAMED_PORT + 1)
    for name in ("server", "server2"):  # nobody answers at the other's number
        expect_equal(set(asked(lab, pod(lab, name).ip, NAMED_PORT + (name == "server"), 1)), {"ECONNRESET"}, f"{name} at the other's port")
    there = pod(lab, "server2")
    lab.apply("workloads.yaml", workloads(lab).replace(f"  address: {there.ip}\n  ports: {{web: {NAMED_PORT}}}",
                                                       f"  address: {there.ip}\n  ports: {{web: {NAMED_PORT + 1}}}"))
    before = len(lab.nodes[0].access_lines())
    for address in VIPS:
        expect_equal(set(asked(lab, address, 81)), {"server", "server2"}, f"who answered at {address}")
    lines = [x for x in lab.nodes[0].access_lines()[before:] if "web.default.svc" in x]
    for name, port in (("server", NAMED_PORT), ("server2", NAMED_PORT + 1)):
        mine = [x for x in lines if f'dst.workload="{name}"' in x]
        expect(mine and all(f":{port}" in x and "reason=finished" in x and "dst.hbone_addr=" in x for x in mine), f"{name}'s lines: {mine[:2]}")
    lab.apply("workloads.yaml", workloads(lab))


def case_not_a_port(lab):
    """A port that the service does not have is refused"""
    expect_equal(set(asked(lab, VIPS[0], 82, 2)), {"ECONNRESET"}, "at another port")


def case_no_endpoint(lab):
    expect_equal(set(asked(lab, EMPTY, n=2)), {"ECONNRESET"}, "a service without endpoints")
    eventually("the reason is logged", lambda: any("reason=no-endpoint" in x for x in lab.nodes[0].access_lines()))


def case_program_stopped(lab):
    """Nobody listens at one endpoint: every connection succeeds at the other, and the dead one is soon passed over"""
    fresh(lab)
    running = serve(lab)
    running["server"].kill()
    retried, ejected = counter(lab, "flows_retried"), counter(lab, "endpoints_ejected")
    for address in VIPS:
        expect_equal(asked(lab, address), {"server2": MANY}, f"who answered at {address}")
    expect(counter(lab, "endpoints_ejected") > ejected, "no endpoint was ejected")
    retries = counter(lab, "flows_retried") - retried
    expect(0 < retries < MANY, f"{retries} further attempts for {2 * MANY} connections, of which half would have met the dead endpoint")
    serve(lab, "server")
    eventually("it is used again once it is back", lambda: "server" in asked(lab, VIPS[0], n=10), 30)


@contextlib.contextmanager
def swallowed(lab, name):
    """What is sent to the pod's IPv4 address goes to a station that is not there: no answer, no error."""
    there = pod(lab, name)
    neighbour = ("ip", "-n", there.node.netns_name, "neigh")
    sh(*neighbour, "replace", there.ip, "lladdr", "02:71:ff:ff:ff:fe", "dev", "br0", "nud", "permanent")
    try:
        yield
    finally:
        sh(*neighbour, "del", there.ip, "dev", "br0")


def case_swallowed(lab):
    """An endpoint that swallows everything: flows leave it early for the other one, with its tunnel open or not"""
    serve(lab)
    for state in ("open", "not open"):
        fresh(lab)
        if state == "open":
            expect_equal(set(asked(lab, VIPS[0])), {"server", "server2"}, "who answered before")
        with swallowed(lab, "server2"):
            seen, worst = Task(pod(lab, "client"), slowest, VIPS[0], 80, 60).result(120)
        expect_equal(seen, {"server": 60}, f"who answered, the tunnel {state}")
        print(f"    its tunnel {state}: the slowest of 60 connections took {worst:.2f} s")
        expect(worst < 3.5, f"a connection took {worst:.2f} s")
        eventually("it is used again", lambda: "server2" in asked(lab, VIPS[0], n=10), 60)


def case_all_stopped(lab):
    """All endpoints fail: the last one's reason, no endless search; ejected ones are tried when there is no other"""
    fresh(lab)
    expect_equal(set(asked(lab, VIPS[0], n=10)), {"ECONNRESET"}, "with no program at all")
    eventually("the reason is logged", lambda: any("connect-refused" in x for x in lab.nodes[0].access_lines()))
    serve(lab)
    seen = asked(lab, VIPS[0], n=10)
    expect(set(seen) <= {"server", "server2"}, f"once they are back: {seen}")
    fresh(lab)


def case_hostile_endpoint(lab):
    """An endpoint whose server refuses each stream, says GOAWAY or answers 503: the other one serves. A 401 is final, and so is a
    stream that was reset for another reason, for nobody knows what had been done by then"""
    fresh(lab)
    serve(lab, "server")
    strange, root = pod(lab, "outsider"), lab.dir / "root-ca"
    uri = "spiffe://cluster.local/ns/default/sa/strange"
    credential = hbone.issue(lab.dir / "certs", "strange", (root / "ca-cert.pem", root / "ca-key.pem"), uris=[uri])
    place = ("---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n"
             "metadata: {name: strange, namespace: default, labels: {istio.io/dataplane-mode: ambient}}\n"
             f"spec: {{address: {strange.ip}, serviceAccount: strange, labels: {{tier: odd}}}}\n")
    text = workloads(lab).replace("    app: server\n", "    app: server\n    tier: odd\n").replace("    tier: odd\n    tier: web\n", "    tier: odd\n")
    lab.apply("workloads.yaml", text + place)
    lab.apply("odd.yaml", service("odd", ["10.96.71.9"], "  selector: {tier: odd}\n"))
    answers = {
        "REFUSED_STREAM": (lambda n: hbone.frame(hbone.RST_STREAM, 0, n, (7).to_bytes(4, "big")), True),
        "GOAWAY before it": (lambda n: hbone.frame(hbone.GOAWAY, 0, 0, bytes(8)), True),
        "503": (lambda n: hbone.frame(hbone.HEADERS, hbone.END_HEADERS | hbone.END_STREAM, n, hbone.block([(":status", "503")])), True),
        "401": (lambda n: hbone.frame(hbone.HEADERS, hbone.END_HEADERS | hbone.END_STREAM, n, hbone.block([(":status", "401")])), False),
        "INTERNAL_ERROR": (lambda n: hbone.frame(hbone.RST_STREAM, 0, n, (2).to_bytes(4, "big")), False),
    }
    for name, (answer, another) in answers.items():
        hostile = Task(strange, hbone.answering_server, strange.ip, credential, answer).wait_ready()
        retried = counter(lab, "flows_retried")
        expect_equal(set(asked(lab, strange.ip, PORT, 2)), {"ECONNRESET"}, f"{name}: dialled itself")
        seen = asked(lab, "10.96.71.9")
        expect_equal(set(seen), {"server"} if another else {"server", "ECONNRESET"}, f"{name}: who answered")
        retries = counter(lab, "flows_retried") - retried
        expect(retries > 0 if another else retries == 0, f"{name}: {retries} further attempts")
        print(f"    {name}: {seen}, {retries} further attempts")
        hostile.kill()
        fresh(lab)
    lab.remove("odd.yaml")
    lab.apply("workloads.yaml", workloads(lab))


def case_denied_is_final(lab):
    """A 401 of one endpoint is the answer: no other endpoint is asked"""
    serve(lab)
    lab.apply("deny.yaml", "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: no-client, namespace: default}\n"
              "spec:\n  selector: {matchLabels: {app: server2}}\n  action: DENY\n  rules: [{from: [{source: {serviceAccounts: [client]}}]}]\n")
    retried = counter(lab, "flows_retried")
    seen = asked(lab, VIPS[0])
    lab.remove("deny.yaml")
    expect_equal(set(seen), {"server", "ECONNRESET"}, "what the client saw")
    expect_equal(counter(lab, "flows_retried"), retried, "further attempts")


def case_not_ready(lab):
    """An EndpointSlice decides who is ready"""
    serve(lab)
    for ready, expected in (({"server": True, "server2": True}, {"server", "server2"}), ({"server": False, "server2": True}, {"server2"}),
                            ({"server": False, "server2": False}, {"ECONNRESET"})):
        lab.apply("slice.yaml", endpoint_slice(lab, ready))
        expect_equal(set(asked(lab, SLICED)), expected, f"who answered with {ready}")
    lab.remove("slice.yaml")


def case_names(lab):
    """The server's identity must be its workload's, or one that the service's subjectAltNames allow"""
    serve(lab)
    server, node = pod(lab, "server"), lab.nodes[0]
    # The client's node believes that the pod has another account. Its node may still have the true one: for somebody else.
    told = workloads(lab).replace(f"  address: {server.ip}\n  ports: {{web: {NAMED_PORT}}}\n  serviceAccount: server\n",
                                  f"  address: {server.ip}\n  ports: {{web: {NAMED_PORT}}}\n  serviceAccount: server2\n")
    told += ("---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: other, namespace: default, "
             f"labels: {{istio.io/dataplane-mode: ambient}}, annotations: {{ringwall.io/node: {lab.nodes[1].name}}}}}\n"
             "spec: {address: 10.71.2.99, serviceAccount: server}\n")
    lab.apply("named.yaml", entry(lab, []), [node])
    expect_equal(asked(lab, NAMED, n=4), {"server": 4}, "by its own identity")
    lab.apply("workloads.yaml", told, [node])
    expect_equal(set(asked(lab, NAMED, n=3)), {"ECONNRESET"}, "with another identity than the workload's")
    eventually("the reason is logged", lambda: any("peer-wrong-identity" in x for x in node.access_lines()))
    lab.apply("named.yaml", entry(lab, [server.identity]), [node])
    eventually("it answers under the service's name", lambda: asked(lab, NAMED, n=4) == {"server": 4})
    expect_equal(set(asked(lab, server.ip, PORT, 3)), {"ECONNRESET"}, "dialled itself, while the service's tunnel is open")
    expect_equal(asked(lab, NAMED, n=4), {"server": 4}, "under the service's name, after that")
    lab.apply("named.yaml", entry(lab, ["spiffe://cluster.local/ns/default/sa/third"]), [node])
    expect_equal(set(asked(lab, NAMED, n=3)), {"ECONNRESET"}, "when the name is taken away")
    lab.remove("named.yaml", [node])
    lab.apply("workloads.yaml", workloads(lab), [node])
    eventually("its own identity again", lambda: asked(lab, server.ip, PORT, 1) == {"server": 1})


def case_daemon_killed(lab):
    """The daemon of one endpoint's node is gone: connections go to the endpoint on the other node"""
    fresh(lab)
    serve(lab, "server", "client2")
    text = workloads(lab).replace("    app: client2\n", "    app: client2\n    tier: near\n").replace("    app: server\n", "    app: server\n    tier: near\n")
    text = text.replace("    tier: near\n    tier: web\n", "    tier: near\n")
    lab.apply("workloads.yaml", text)
    lab.apply("near.yaml", service("near", ["10.96.71.5"], "  selector: {tier: near}\n"))
    expect_equal(set(asked(lab, "10.96.71.5")), {"server", "client2"}, "who answered")
    lab.nodes[1].daemon.kill()
    seen = asked(lab, "10.96.71.5", n=10)
    lab.nodes[1].start()
    expect_equal(seen, {"client2": 10}, "who answered while the daemon was gone")
    eventually("it is used again once it is back", lambda: "server" in asked(lab, "10.96.71.5", n=10), 60)
    lab.remove("near.yaml")
    lab.apply("workloads.yaml", workloads(lab))


def case_publish_not_ready(lab):
    """publishNotReadyAddresses: endpoints that are not ready are used as well"""
    serve(lab)
    early = service("sliced", [SLICED]).replace("spec:\n", "spec:\n  publishNotReadyAddresses: true\n")
    lab.apply("slice.yaml", endpoint_slice(lab, {"server": False, "server2": False}))
    expect_equal(set(asked(lab, SLICED, n=4)), {"ECONNRESET"}, "who answered before")
    lab.apply("services.yaml", services().replace(service("sliced", [SLICED]), early))
    expect_equal(set(asked(lab, SLICED)), {"server", "server2"}, "who answered")
    lab.apply("services.yaml", services())
    lab.remove("slice.yaml")


def with_spec(text, lab, name, line):
    """A line more in the spec of one workload."""
    address = f"  address: {pod(lab, name).ip}\n"
    return text.replace(address, f"{address}  {line}\n")


def case_weights(lab):
    """Nine connections of ten to the endpoint whose weight is nine times the other's"""
    serve(lab)
    lab.apply("workloads.yaml", with_spec(with_spec(workloads(lab), lab, "server", "weight: 9"), lab, "server2", "weight: 1"))
    seen = asked(lab, VIPS[0], n=400)
    lab.apply("workloads.yaml", workloads(lab))
    print(f"    {seen}")
    expect(320 <= seen["server"] < 400 and seen["server"] + seen["server2"] == 400, f"who answered: {seen}")


def case_nearest(lab):
    """trafficDistribution PreferClose: the endpoint of the same zone while it works, the other one while it does not"""
    fresh(lab)
    running = serve(lab)
    text = workloads(lab)
    for name, place in (("client", "here/one"), ("server", "here/one"), ("server2", "here/two")):
        text = with_spec(text, lab, name, f"locality: {place}")
    lab.apply("workloads.yaml", text)
    lab.apply("close.yaml", service("close", ["10.96.71.6", "fd96:71::6"], "  selector: {tier: web}\n  trafficDistribution: PreferClose\n"))
    for address in ("10.96.71.6", "fd96:71::6"):
        expect_equal(asked(lab, address), {"server": MANY}, f"who answered at {address}")
    running["server"].kill()
    expect_equal(asked(lab, "10.96.71.6"), {"server2": MANY}, "who answered when the near one was down")
    serve(lab, "server")
    eventually("the near one alone is used again", lambda: asked(lab, "10.96.71.6", n=10) == {"server": 10}, 30)
    lab.remove("close.yaml")
    lab.apply("workloads.yaml", workloads(lab))


def case_headless(lab):
    """A service without an address of its own: its pods are dialled themselves, over mutual TLS"""
    serve(lab)
    lab.apply("headless.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: headless, namespace: default}\n"
              f"spec: {{clusterIP: None, selector: {{tier: web}}, ports: [{{name: http, port: 80, targetPort: {PORT}}}]}}\n")
    for name in ("server", "server2"):
        for address in (pod(lab, name).ip, pod(lab, name).ip6):
            expect_equal(asked(lab, address, PORT, 4), {name: 4}, f"who answered at {address}")
        line = lab.nodes[0].access_lines()[-1]
        expect(pod(lab, name).identity in line, f"not over mutual TLS: {line}")
    lab.remove("headless.yaml")


def replace(lab, old, name, account):
    """Another pod gets the old one's addresses: first the network, then every node's files, as in Kubernetes."""
    node, index = old.node, int(old.ip.rsplit(".", 1)[1])
    sh("ip", "-n", node.netns_name, "link", "del", f"p{node.index}-{index}")
    del node.pods[old.name]
    made = node.pod(name, index, service_account=account, labels={"app": name, "tier": "web"})
    sh("ip", "-n", node.netns_name, "neigh", "flush", "dev", "br0")
    lab.apply("workloads.yaml", workloads(lab))
    eventually("the new pod is captured", lambda: any(p["name"] == name for p in node.ctl_json("capture")["pods"]))
    return made


def case_address_changes_hands(lab):
    """A new pod at an old pod's address, with another account or the same: what was open ends, nothing new reaches the old pod"""
    lab.apply("only.yaml", service("only", ["10.96.71.7"], "  selector: {only: me}\n"))
    old = pod(lab, "server")
    serve(lab, "server")
    for name, account in (("heir", "heir"), ("namesake", "heir")):
        old.labels["only"] = "me"
        lab.apply("workloads.yaml", workloads(lab))
        for address, port in ((old.ip, PORT), ("10.96.71.7", 80)):
            expect_equal(asked(lab, address, port, 4), {old.name: 4}, f"who answered at {address} before")
        Task(old, traffic.echo_server, PORT + 5).wait_ready()
        flow = Task(pod(lab, "client"), traffic.ended_client_silent, old.ip, PORT + 5).wait_ready()
        new = replace(lab, old, name, account)
        new.labels["only"] = "me"
        lab.apply("workloads.yaml", workloads(lab))
        serve(lab, name)
        expect_equal(flow.result(10)[0], "ECONNRESET", "the open flow to the old pod")
        for address, port in ((new.ip, PORT), ("10.96.71.7", 80)):
            expect_equal(asked(lab, address, port, 10), {name: 10}, f"who answered at {address} after")
        line = lab.nodes[0].access_lines()[-1]
        expect(f'dst.workload="{name}"' in line and new.identity in line, f"not the new pod: {line}")
        old = new
    lab.remove("only.yaml")
