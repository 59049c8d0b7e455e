# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes of two trust domains, each an alias of the other: who is believed, and what a policy's names mean."""

import os

import traffic
from common import addresses, expect, expect_equal, pod
from lab import Lab, eventually, sh
from tasks import Task

PORT = 9700
ONE, TWO = "cluster.local", "old.domain"


def lab():
    made = Lab(f"aliases-{os.getpid()}")
    one, two = made.node(1), made.node(2, trust_domain=TWO)
    one.pod("client", 11, service_account="client")
    one.pod("intruder", 13, service_account="intruder")
    two.pod("server", 21, service_account="server")
    ctl = made.program("ringwallctl")
    made.roots = {}
    for domain in (ONE, TWO):
        made.roots[domain] = made.dir / f"root-{domain}"
        sh(ctl, "ca", "init", "--dir", made.roots[domain], "--trust-domain", domain)
        for node in made.nodes:
            sh(ctl, "ca", "issue-node", "--dir", made.roots[domain], "--node", node.name, "--out", node.dir / f"ca-{domain}")
    made.apply_workloads()
    return made


def run_with(lab, *, roots, aliases=True, bundles=False):
    """Both daemons anew. roots: whose root each node's certificates have; bundles: the other domain's own file is named."""
    for node, other, root in zip(lab.nodes, reversed(lab.nodes), roots):
        if node.daemon is not None:
            node.daemon.stop()
        files = f", bundles: {{{other.trust_domain}: {lab.roots[other.trust_domain] / 'root-cert.pem'}}}" if bundles else ""
        node.write_config(ca=f"{{provider: files, dir: {node.dir / f'ca-{root}'}{files}}}",
                          trustDomainAliases=f"[{other.trust_domain}]" if aliases else "[]")
    for node in lab.nodes:
        node.start()


def serve(lab):
    Task(pod(lab, "server"), traffic.echo_server, PORT).wait_ready()


def reach(lab, source="client"):
    ends = {Task(pod(lab, source), traffic.try_connect, address, PORT).result() for _, address in addresses(pod(lab, "server"))}
    expect(len(ends) == 1, f"the families differ: {ends}")
    return ends.pop()


def refused_for(lab, words):
    before = len(lab.nodes[0].access_lines())
    expect_equal(reach(lab), "ECONNRESET", "the connection")
    lines = eventually("the client's node logs why", lambda: lab.nodes[0].access_lines()[before:])
    expect(all("reason=peer-untrusted" in x and words in x for x in lines), f"not '{words}': {lines}")


def judge_names(lab):
    """A principal of either domain stands for both; a third one for neither; a DENY is as wide as an ALLOW."""
    server = pod(lab, "server")
    line = eventually("both identities are logged", lambda: next((x for x in reversed(lab.nodes[0].access_lines()) if server.identity in x), None))
    expect(pod(lab, "client").identity in line and "reason=finished" in line, f"the line: {line}")
    for action, domain, expected in (("ALLOW", ONE, {"client": "ok", "intruder": "ECONNRESET"}), ("ALLOW", TWO, {"client": "ok", "intruder": "ECONNRESET"}),
                                     ("ALLOW", "third.domain", {"client": "ECONNRESET", "intruder": "ECONNRESET"}),
                                     ("DENY", TWO, {"client": "ECONNRESET", "intruder": "ok"}), ("DENY", "third.domain", {"client": "ok", "intruder": "ok"})):
        lab.apply("policy.yaml", "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: by-name, namespace: default}\n"
                  f"spec:\n  action: {action}\n  rules: [{{from: [{{source: {{principals: [{domain}/ns/default/sa/client]}}}}]}}]\n")
        expect_equal({source: reach(lab, source) for source in expected}, expected, f"{action} for {domain}")
    lab.remove("policy.yaml")


def case_one_root(lab):
    """An alias without a bundle of its own has our roots: the other domain's server is believed, its client too"""
    serve(lab)
    run_with(lab, roots=(ONE, ONE))
    expect_equal(reach(lab), "ok", "the connection")
    judge_names(lab)


def case_own_bundle(lab):
    """Two roots, and each side names the other's file: believed"""
    serve(lab)
    run_with(lab, roots=(ONE, TWO), bundles=True)
    expect_equal(reach(lab), "ok", "the connection")
    judge_names(lab)


def case_only_its_own_bundle(lab):
    """An alias that has a bundle is believed by that one alone: a certificate under our root for its names is refused"""
    serve(lab)
    run_with(lab, roots=(ONE, ONE), bundles=True)
    refused_for(lab, "does not chain to a root of its trust domain")


def case_no_bundle(lab):
    """Two roots and no file: an alias in name only, refused"""
    serve(lab)
    run_with(lab, roots=(ONE, TWO))
    refused_for(lab, "does not chain to a root of its trust domain")


def case_no_alias(lab):
    """No alias: refused under one root, and refused too when the chain is good: no workload of that name is on that node"""
    serve(lab)
    run_with(lab, roots=(ONE, ONE), aliases=False)
    refused_for(lab, "no trust bundle for the certificate's trust domain")
    run_with(lab, roots=(ONE, TWO), aliases=False, bundles=True)
    refused_for(lab, "does not cover a workload of this identity")
