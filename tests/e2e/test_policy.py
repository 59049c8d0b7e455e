# SPDX-License-Identifier: GPL-3.0-or-later
"""Policy on real connections: who is let in, when a file changes, and what the log says."""

import time
import urllib.request
from datetime import datetime

import traffic
from common import addresses, expect, expect_equal, pod, scaled, standard_lab
from lab import eventually, inside, sh
from pcap import Capture
from tasks import Task

PORT = 9300


def lab():
    made = standard_lab("policy")
    return made


def authorization(name, body, namespace="default"):
    return f"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n{body}"


def authentication(mode, namespace="istio-system", name="default", rest=""):
    return (f"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
            f"spec:\n  mtls: {{mode: {mode}}}\n{rest}")


def serve(lab, *names):
    for name in names or ("server",):
        for port in (PORT, PORT + 1):
            Task(pod(lab, name), traffic.echo_server, port).wait_ready()


def reaches(lab, source, target="server", port=PORT):
    ends = {Task(pod(lab, source), traffic.try_connect, address, port).result() for _, address in addresses(pod(lab, target))}
    expect(len(ends) == 1, f"{source} to {target}:{port} differs by family: {ends}")
    return ends.pop() == "ok"


def judge(lab, expected, target="server", port=PORT):
    seen = {source: reaches(lab, source, target, port) for source in expected}
    expect_equal(seen, expected, f"who reaches {target}:{port}")


def case_allow_one_account(lab):
    """ALLOW by principal: both pods of the account, nobody else; the denial is logged with its place"""
    serve(lab)
    judge(lab, {"client": True, "client2": True, "intruder": True, "outsider": True})
    lab.apply("policy.yaml", authorization("only-client", """  selector: {matchLabels: {app: server}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/client]}}]
"""))
    judge(lab, {"client": True, "client2": True, "intruder": False, "outsider": False})
    line = eventually("the denial is logged", lambda: next((x for x in lab.nodes[1].access_lines() if pod(lab, "intruder").identity in x and "policy-denied" in x), None))
    expect("src.identity" in line and "server" in line, f"the log line: {line}")
    lab.remove("policy.yaml")
    judge(lab, {"intruder": True})


def case_deny_wins(lab):
    """DENY names policy, rule and file:line in the log"""
    serve(lab)
    lab.apply("allow.yaml", authorization("allow-all", "  rules: [{}]\n"))
    lab.apply("deny.yaml", authorization("no-intruder", """  action: DENY
  rules:
  - from: [{source: {serviceAccounts: [other]}}]
  - from: [{source: {serviceAccounts: [intruder]}}]
    to: [{operation: {ports: ["9300"]}}]
"""))
    judge(lab, {"client": True, "intruder": False})
    judge(lab, {"intruder": True}, port=PORT + 1)
    line = eventually("the denial is logged", lambda: next((x for x in lab.nodes[1].access_lines() if "no-intruder" in x), None))
    expect("default/no-intruder" in line and "deny.yaml:8" in line, f"policy, rule and place in: {line}")
    expect("rule=1" in line or 'rule="1"' in line, f"the rule's number in: {line}")
    lab.remove("allow.yaml")
    lab.remove("deny.yaml")


def case_scopes(lab):
    """Mesh, namespace and selector scope; an empty spec denies all"""
    serve(lab, "server", "server2")
    lab.apply("policy.yaml", authorization("mesh", "  rules: [{from: [{source: {namespaces: [elsewhere]}}]}]\n", "istio-system"))
    judge(lab, {"client": False})
    lab.apply("policy.yaml", authorization("ns", "  {}\n"))
    judge(lab, {"client": False})
    lab.apply("policy.yaml", authorization("ns", "  {}\n", "elsewhere"))
    judge(lab, {"client": True})
    lab.apply("policy.yaml", authorization("one", "  selector: {matchLabels: {app: server2}}\n"))
    judge(lab, {"client": True})
    judge(lab, {"client": False}, "server2")
    lab.remove("policy.yaml")


def case_addresses(lab):
    """ipBlocks see the pod's own address"""
    serve(lab)
    client = pod(lab, "client")
    lab.apply("policy.yaml", authorization("by-address", f"  rules: [{{from: [{{source: {{ipBlocks: [{client.ip}, '{client.ip6}/128']}}}}]}}]\n"))
    judge(lab, {"client": True, "client2": False})
    lab.remove("policy.yaml")


def case_strict(lab):
    """STRICT: plaintext is refused, and an open plaintext connection is cut; PERMISSIVE lets it in again"""
    serve(lab)
    judge(lab, {"outsider": True, "client": True})
    open_flow = Task(pod(lab, "outsider"), traffic.ended_client_silent, pod(lab, "server").ip, PORT).wait_ready()
    lab.apply("strict.yaml", authentication("STRICT"))
    expect_equal(open_flow.result(10)[0], "ECONNRESET", "the open plaintext connection")
    judge(lab, {"outsider": False, "client": True})
    lab.apply("strict.yaml", authentication("STRICT") + "---\n" + authentication(
        "STRICT", "default", "ports", "  selector: {matchLabels: {app: server}}\n  portLevelMtls: {9301: {mode: PERMISSIVE}}\n"))
    judge(lab, {"outsider": False})
    judge(lab, {"outsider": True, "client": True}, port=PORT + 1)
    lab.remove("strict.yaml")
    judge(lab, {"outsider": True})


def case_port_exceptions(lab):
    """A PERMISSIVE or DISABLE port lets plaintext in under a STRICT mesh, namespace or workload; its neighbour does not"""
    serve(lab)
    selector = "  selector: {matchLabels: {app: server}}\n"
    for mode in ("PERMISSIVE", "DISABLE"):
        port = f"  portLevelMtls: {{{PORT + 1}: {{mode: {mode}}}}}\n"
        exception = authentication("UNSET", "default", "port", selector + port)
        for level, text in (("mesh", authentication("STRICT") + "---\n" + exception),
                            ("namespace", authentication("STRICT", "default") + "---\n" + exception),
                            ("workload", authentication("STRICT", "default", "port", selector + port))):
            lab.apply("ports.yaml", text)
            for number, plain in ((PORT, False), (PORT + 1, True)):
                seen = {source: reaches(lab, source, port=number) for source in ("client", "outsider")}
                expect_equal(seen, {"client": True, "outsider": plain}, f"who reaches port {number} with {mode} on {PORT + 1} under a STRICT {level}")
    lab.remove("ports.yaml")
    judge(lab, {"outsider": True})


def case_open_plaintext_is_cut(lab):
    """An open plaintext connection ends with a reset when a policy comes that denies it, and one in the mesh when DISABLE goes"""
    serve(lab)
    server, node, source = pod(lab, "server"), lab.nodes[1], lab.nodes[0]
    outsider = pod(lab, "outsider")
    flows = {name: Task(pod(lab, "outsider"), traffic.ended_client_silent, address, PORT).wait_ready() for name, address in addresses(server)}
    goes_on = Task(outsider, traffic.steady, server.ip, PORT + 1, 4).wait_ready()
    lab.apply("deny.yaml", authorization("no-outsider", f"""  action: DENY
  rules:
  - from: [{{source: {{ipBlocks: [{outsider.ip}, '{outsider.ip6}/128']}}}}]
    to: [{{operation: {{ports: ["{PORT}"]}}}}]
"""))
    for family, flow in flows.items():
        expect_equal(flow.result(5)[0], "ECONNRESET", f"the open plaintext connection over {family}")
    lines = eventually("both are logged", lambda: (x := [x for x in node.access_lines() if "policy-changed" in x and "default/no-outsider" in x])[1:] and x)
    expect(all("deny.yaml:7" in x for x in lines), f"their place: {lines}")
    expect(goes_on.result(20) > 0, "a plaintext connection to another port was hurt")
    lab.remove("deny.yaml")
    lab.apply("off.yaml", authentication("DISABLE", "default", "off", "  selector: {matchLabels: {app: server}}\n"))
    flow = Task(pod(lab, "client"), traffic.ended_client_silent, server.ip, PORT).wait_ready()
    before = len(source.access_lines())
    lab.remove("off.yaml")
    expect_equal(flow.result(5)[0], "ECONNRESET", "what was plaintext by DISABLE")
    eventually("it is logged", lambda: any("policy-changed" in x for x in source.access_lines()[before:]))


def link_ports(lab, source):
    """The ports that the link between the nodes carries while source talks to the server, which must go well."""
    with Capture(lab, lab.nodes[0], "link2") as link:
        judge(lab, {source: True})
    return link.ports()


def case_disable(lab):
    """DISABLE: the workload is spoken to in the clear, from the mesh too; anything else, and it is TLS again"""
    serve(lab)
    expect_equal(link_ports(lab, "client"), {15008}, "ports on the link by default")
    lab.apply("off.yaml", authentication("STRICT") + "---\n" + authentication("DISABLE", "default", "off", "  selector: {matchLabels: {app: server}}\n"))
    # The tunnel of before may have a last word to say, an ACK or a GOAWAY; none that carries a connection comes again.
    eventually("only the workload's own port on the link, with DISABLE", lambda: link_ports(lab, "client") == {PORT})
    judge(lab, {"outsider": True})
    lab.remove("off.yaml")
    expect_equal(link_ports(lab, "client"), {15008}, "ports on the link once DISABLE is gone")


def case_open_flow_is_cut(lab):
    """An open connection that a new policy denies ends with a reset, reason policy-changed"""
    serve(lab)
    flow = Task(pod(lab, "intruder"), traffic.ended_client_silent, pod(lab, "server").ip, PORT).wait_ready()
    lab.apply("deny.yaml", authorization("no-intruder", "  action: DENY\n  rules: [{from: [{source: {serviceAccounts: [intruder]}}]}]\n"))
    expect_equal(flow.result(5)[0], "ECONNRESET", "the open connection")
    eventually("the reason is logged", lambda: any("policy-changed" in x for x in lab.nodes[1].access_lines()))
    lab.remove("deny.yaml")


def case_many_open_flows(lab):
    """10,000 open flows are judged again at once: those denied end with a reset, the others go on"""
    serve(lab)
    server, n = pod(lab, "server"), scaled(10_000)
    denied = Task(pod(lab, "intruder"), traffic.hold_many, server.ip, PORT, n).wait_ready(120)
    goes_on = Task(pod(lab, "client"), traffic.steady, server.ip, PORT, 4).wait_ready()
    began = time.time()
    lab.apply("deny.yaml", authorization("no-intruder", "  action: DENY\n  rules: [{from: [{source: {serviceAccounts: [intruder]}}]}]\n"), wait=False)
    ended, resets, left = denied.result(60)
    expect_equal((resets, left), (n, 0), "flows that ended with a reset, flows that did not end")
    logged = [x.split()[0] for x in lab.nodes[1].access_lines() if "policy-changed" in x and pod(lab, "intruder").identity in x][-n:]
    last = datetime.fromisoformat(logged[-1].replace("Z", "+00:00")).timestamp()
    print(f"    {n} open flows cut: the last is logged {last - began:.2f} s after the rename, and seen by its client {ended - began:.2f} s after it")
    expect(goes_on.result(20) > 0, "another flow was hurt")
    lab.remove("deny.yaml")


def far_ends(lab, change):
    """The workloads' file for node-1 alone, with the server's manifest changed; node-2 hears nothing of it."""
    server = pod(lab, "server")
    parts = [change(each.manifest()) if each is server else each.manifest()
             for node in lab.nodes for each in node.pods.values() if each.enrolled is not None]
    return "---\n".join(part for part in parts if part)


def case_far_end_changes(lab):
    """10,000 open flows to a workload that is another by now, only in the source's files: reset there within a second; so for
    an identity changed and for a workload gone; flows to others go on"""
    serve(lab, "server", "server2")
    server, source, n = pod(lab, "server"), lab.nodes[0], scaled(10_000)
    changes = (("another uid", lambda m: m.replace("metadata:", "metadata:\n  uid: its-successor", 1), "workload-gone", n),
               ("another identity", lambda m: m.replace("serviceAccount: server", "serviceAccount: other"), "policy-changed", 50),
               ("gone", lambda m: "", "workload-gone", 50))
    for what, change, reason, n_flows in changes:
        held = Task(pod(lab, "client"), traffic.hold_many, server.ip, PORT, n_flows).wait_ready(120)
        goes_on = Task(pod(lab, "client2"), traffic.steady, pod(lab, "server2").ip, PORT, 4).wait_ready()
        before = len([x for x in source.access_lines() if f"reason={reason}" in x])
        began = time.time()
        lab.apply("workloads.yaml", far_ends(lab, change), nodes=[source], wait=False)
        ended, resets, left = held.result(60)
        print(f"    {n_flows} open flows to a workload {what}: cut {ended - began:.2f} s after the rename")
        expect_equal((resets, left), (n_flows, 0), f"{what}: flows that ended with a reset, flows that did not end")
        expect(goes_on.result(20) > 0, f"{what}: another flow was hurt")
        eventually(f"{what}: {reason} is logged at the source",
                   lambda r=reason, b=before, k=n_flows: len([x for x in source.access_lines() if f"reason={r}" in x]) >= b + k)
        lab.apply("workloads.yaml", far_ends(lab, lambda m: m), nodes=[source])


def case_bad_files(lab):
    """Each bad set is refused whole with file:line:column; the last good world stays in force"""
    serve(lab)
    lab.apply("deny.yaml", authorization("no-intruder", "  action: DENY\n  rules: [{from: [{source: {serviceAccounts: [intruder]}}]}]\n"))
    bad = {
        "unknown key": (authorization("x", "  acton: DENY\n"), "action"),
        "wrong type": (authorization("x", "  rules: yes\n"), "rules"),
        "half-written": ("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: x, namespa", ""),
        "duplicate name": (authorization("no-intruder", "  rules: [{}]\n"), "no-intruder"),
        "not UTF-8": ("kind: \"\\xff\"\nname: \udc80\n", ""),
        "bad port": (authorization("x", "  rules: [{to: [{operation: {ports: ['70000']}}]}]\n"), "70000"),
    }
    world = lab.nodes[1].ctl_json("status")["world"]
    for name, (text, word) in bad.items():
        for node in lab.nodes:
            before = node.ctl_json("status")["config"]["attempts"]
            (node.mesh_dir / "bad.new").write_bytes(text.encode("utf-8", "surrogateescape"))
            (node.mesh_dir / "bad.new").rename(node.mesh_dir / "bad.yaml")
            eventually(f"{name} is read", lambda n=node, b=before: n.ctl_json("status")["config"]["attempts"] > b)
        status = lab.nodes[1].ctl("status").stdout
        expect("bad.yaml:" in status and word in status, f"{name}: status says\n{status}")
        expect_equal(lab.nodes[1].ctl_json("status")["world"], world, f"{name}: the world in force")
    judge(lab, {"client": True, "intruder": False})
    lab.remove("bad.yaml")
    for node in lab.nodes:
        (node.mesh_dir / "dangling.yaml").symlink_to("nowhere.yaml")
    eventually("a dangling symlink is refused", lambda: "dangling.yaml" in lab.nodes[1].ctl("status").stdout)
    judge(lab, {"intruder": False})
    for node in lab.nodes:
        (node.mesh_dir / "dangling.yaml").unlink()
    lab.remove("deny.yaml")  # what it waits for may have been the reading without the link
    eventually("the intruder is let in again", lambda: reaches(lab, "intruder"))


def case_same_verdict_offline(lab):
    """ringwallctl authz check gives the verdict that the data path gives"""
    serve(lab)
    lab.apply("deny.yaml", authorization("no-intruder", "  action: DENY\n  rules: [{from: [{source: {serviceAccounts: [intruder]}}]}]\n"))
    ctl, server = lab.program("ringwallctl"), pod(lab, "server")
    for name, code in (("client", 0), ("intruder", 3)):
        source = pod(lab, name)
        for arguments in ([ctl, "authz", "check", "--mesh", lab.nodes[1].mesh_dir], [ctl, "-s", lab.nodes[1].socket, "authz", "check"]):
            done = sh(*arguments, "--source", source.identity, "--source-ip", source.ip, "--to", server.ip, "--port", PORT, check=False)
            expect_equal(done.returncode, code, f"authz check for {name}: {done.stdout}{done.stderr}")
        expect_equal(reaches(lab, name), code == 0, f"{name} in fact")
    lab.remove("deny.yaml")


def case_dry_run(lab):
    """A dry-run policy changes nothing; what it would have done is counted and told with its place"""
    serve(lab)
    text = authorization("try", "  action: DENY\n  rules: [{from: [{source: {serviceAccounts: [intruder]}}]}]\n")
    lab.apply("try.yaml", text.replace("namespace: default}", "namespace: default, annotations: {istio.io/dry-run: \"true\"}}"))
    judge(lab, {"client": True, "intruder": True, "outsider": True})
    with inside(lab.nodes[1].netns):
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        metrics = direct.open("http://127.0.0.1:15020/metrics", timeout=10).read().decode()
    expect('ringwall_policy_dry_run_total{policy="default/try",effect="deny"} 2' in metrics, "the metric")
    line = eventually("it is told", lambda: next((x for x in lab.nodes[1].log.read_text().splitlines() if "dry-run" in x and "default/try" in x), None))
    expect("would have denied" in line and "try.yaml:" in line, f"the line: {line}")
    lab.remove("try.yaml")
