# SPDX-License-Identifier: GPL-3.0-or-later
"""Who was refused, by which line of which file, and what another directory would change: denials, metrics, policy diff."""

import json
import shutil
import urllib.request

import traffic
from common import expect, expect_equal, pod, standard_lab
from lab import eventually, inside, sh
from tasks import Task
from test_policy import PORT, authentication, authorization, reaches, serve

NO_INTRUDER = """  action: DENY
  rules:
  - from: [{source: {serviceAccounts: [other]}}]
  - from: [{source: {serviceAccounts: [intruder]}}]
"""


def lab():
    return standard_lab("explain")


def denials(lab, node=1):
    return lab.nodes[node].ctl_json("denials")


def metrics(lab, node=1):
    with inside(lab.nodes[node].netns):
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return direct.open("http://127.0.0.1:15020/metrics", timeout=10).read().decode()


def diff(lab, directory, node=1):
    done = sh(lab.program("ringwallctl"), "-s", lab.nodes[node].socket, "policy", "diff", directory, "-o", "json")
    return json.loads(done.stdout)


def copy_of_mesh(lab, name, node=1, **files):
    """The node's mesh directory with other files in it; None removes one."""
    directory = lab.nodes[node].mesh_dir.parent / name
    shutil.copytree(lab.nodes[node].mesh_dir, directory)
    for file, text in files.items():
        path = directory / f"{file}.yaml"
        path.unlink() if text is None else path.write_text(text)
    return directory


def case_denial_is_seen(lab):
    """A refused connection is in `denials` and in the metrics with its policy, rule and file:line, at both ends"""
    serve(lab)
    intruder, server = pod(lab, "intruder"), pod(lab, "server")
    lab.apply("deny.yaml", authorization("no-intruder", NO_INTRUDER))
    before = len(denials(lab))
    expect(not reaches(lab, "intruder"), "the intruder got in")
    expect(reaches(lab, "client"), "the client was refused")
    rows = eventually("the denials are told", lambda: denials(lab)[before:] if len(denials(lab)) >= before + 2 else None)
    expect_equal(len(rows), 2, "denials, one a family")
    for row in rows:
        expect_equal({k: row[k] for k in ("direction", "reason", "policy", "rule")},
                     {"direction": "inbound", "reason": "policy-denied", "policy": "default/no-intruder", "rule": 1}, "the denial")
        expect(row["at"].endswith("deny.yaml:8"), f"its place: {row['at']}")
        expect_equal((row["src"]["identity"], row["src"]["workload"], row["dst"]["workload"]), (intruder.identity, "intruder", "server"), "its parties")
    expect_equal([row["dst"]["addr"] for row in rows], [f"{server.ip}:{PORT}", f"[{server.ip6}]:{PORT}"], "where to")
    expect(rows[0]["time"] < rows[1]["time"], "denials are in the order of time")
    text = lab.nodes[1].ctl("denials").stdout
    expect("default/no-intruder" in text and "deny.yaml:8" in text, f"the table:\n{text}")
    sample = 'ringwall_policy_denied_total{policy="default/no-intruder",reason="policy-denied"} 2'
    expect(sample in metrics(lab), f"no {sample} in the metrics")
    told = eventually("the other end knows too", lambda: [r for r in denials(lab, 0) if r["src"].get("identity") == intruder.identity])
    expect_equal({(r["direction"], r.get("peerStatus")) for r in told}, {("outbound", 401)}, "the denial at the client's node")
    expect("ringwall_policy_denied_total{" not in metrics(lab, 0), "the client's node counts what another decided")
    lab.remove("deny.yaml")


def case_plaintext_is_seen(lab):
    """STRICT and a flow that a new policy cut are denials too"""
    serve(lab)
    flow = Task(pod(lab, "outsider"), traffic.ended_client_silent, pod(lab, "server").ip, PORT).wait_ready()
    lab.apply("strict.yaml", authentication("STRICT"))
    expect_equal(flow.result(10)[0], "ECONNRESET", "the open plaintext connection")
    expect(not reaches(lab, "outsider"), "plaintext got in")
    reasons = eventually("both are told", lambda: (lambda s: s if len(s) == 2 else None)(
        {r["reason"] for r in denials(lab) if r.get("policy") == "istio-system/default"}))
    expect_equal(reasons, {"policy-changed", "mtls-required"}, "reasons")
    row = next(r for r in denials(lab) if r["reason"] == "mtls-required")
    expect("identity" not in row["src"] and row["at"].rpartition("/")[2].startswith("strict.yaml:"), f"the row: {row}")
    lab.remove("strict.yaml")


def case_policy_diff(lab):
    """Names the open flow that a stricter directory would cut and the refused connection that it would let in; then it is so"""
    serve(lab)
    lab.apply("policy.yaml", authorization("server", """  selector: {matchLabels: {app: server}}
  rules:
  - from: [{source: {serviceAccounts: [intruder]}}]
"""))
    intruder, client, server = pod(lab, "intruder"), pod(lab, "client"), pod(lab, "server")
    flow = Task(intruder, traffic.ended_client_silent, server.ip, PORT).wait_ready()
    expect(not reaches(lab, "client"), "the client got in")
    eventually("the refusals are told", lambda: [r for r in denials(lab) if r["src"].get("identity") == client.identity])
    expect_equal(diff(lab, lab.nodes[1].mesh_dir), [], "the difference to the directory in force")
    other = copy_of_mesh(lab, "other.d", policy=authorization("server", """  selector: {matchLabels: {app: server}}
  rules:
  - from: [{source: {serviceAccounts: [client]}}]
"""))
    rows = diff(lab, other)
    cut = [r for r in rows if r["state"] == "open"]
    expect_equal([(r["change"], r["source"], r["sourceIp"], r["to"], r["port"]) for r in cut],
                 [("deny", intruder.identity, intruder.ip, "default/server", PORT)], "open flows that would be cut")
    expect_equal((cut[0]["old"]["policy"], cut[0]["old"]["rule"]), ("default/server", 0), "by which it is open")
    expect(cut[0]["old"]["at"].startswith(str(lab.nodes[1].mesh_dir)) and cut[0]["old"]["at"].endswith("policy.yaml:7"), f"{cut[0]['old']}")
    let_in = [r for r in rows if r["change"] == "allow"]
    expect_equal({(r["state"], r["source"], r["sourceIp"]) for r in let_in},
                 {("recent", client.identity, client.ip), ("recent", client.identity, client.ip6)}, "refused ones that would be let in")
    for row in let_in:
        expect_equal((row["new"]["policy"], row["new"]["rule"], row["new"]["at"]), ("default/server", 0, f"{other}/policy.yaml:7"), "who lets them in")
        expect("none of them matches" in row["old"]["reason"], f"what refuses them: {row['old']}")
    text = sh(lab.program("ringwallctl"), "-s", lab.nodes[1].socket, "policy", "diff", other).stdout
    expect("would be reset" in text and intruder.identity in text, f"the text:\n{text}")
    lab.apply("policy.yaml", (other / "policy.yaml").read_text())
    expect_equal(flow.result(5)[0], "ECONNRESET", "the open connection")
    expect(reaches(lab, "client"), "the client is still refused")
    (other / "policy.yaml").write_text("kind: AuthorizationPolicy\napiVersion: security.istio.io/v1\nmetadata: {name: x}\nspec: {acton: DENY}\n")
    done = sh(lab.program("ringwallctl"), "-s", lab.nodes[1].socket, "policy", "diff", other, check=False)
    expect_equal((done.returncode, done.stdout), (1, ""), "an invalid directory")
    expect("policy.yaml:4:" in done.stderr and "action" in done.stderr, f"its error: {done.stderr}")
    lab.remove("policy.yaml")


def case_ended_plaintext_outbound(lab):
    """A connection that went out in plaintext and ended is judged too: its destination will be in the mesh, under a DENY"""
    client, outsider = pod(lab, "client"), pod(lab, "outsider")
    serve(lab, "outsider")
    expect(reaches(lab, "client", "outsider"), "the client does not reach what is outside the mesh")
    joined = ("apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n"
              "metadata: {name: joined, namespace: default, labels: {istio.io/dataplane-mode: ambient}}\n"
              f"spec: {{address: {outsider.ip}, serviceAccount: joined, labels: {{app: joined}}}}\n")
    deny = authorization("no-client", "  selector: {matchLabels: {app: joined}}\n  action: DENY\n  rules: [{from: [{source: {serviceAccounts: [client]}}]}]\n")
    expect_equal(diff(lab, lab.nodes[0].mesh_dir, 0), [], "the difference to the directory in force")
    other = copy_of_mesh(lab, "joined.d", 0, joined=joined, deny=deny)
    rows = eventually("the ended connection is judged", lambda: [r for r in diff(lab, other, 0) if r["destinationIp"] == outsider.ip and r["state"] == "recent"])
    expect_equal([(r["change"], r["state"], r["direction"], r["plaintext"], r["source"], r["port"], r["new"]["policy"]) for r in rows],
                 [("deny", "recent", "outbound", True, client.identity, PORT, "default/no-client")], "what would be denied")
