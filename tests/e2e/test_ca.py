# SPDX-License-Identifier: GPL-3.0-or-later
"""The CA while it is in use: its root changes under load, certificates are taken back, files are replaced, its record is read."""

import datetime
import json
import re

import traffic
from common import expect, expect_equal, pod, scaled, standard_lab
from lab import eventually, sh
from tasks import Task

PORT = 9600
TTL_S = 12
CA = f"ttl: {TTL_S}s, rotateAt: 0.95"  # of the two minutes before, too: a certificate is renewed after some seconds


def ctl(lab, *arguments, check=True):
    return sh(lab.program("ringwallctl"), *arguments, check=check)


def lab():
    """Certificates of a few seconds, so that a whole rollover with its waiting fits a test."""
    made = standard_lab("ca", start=False)
    for node in made.nodes:
        node.write_config(ca=f"{{provider: files, dir: {node.ca_dir}, {CA}}}")
        node.start()
    made.root = made.dir / "root-ca"
    return made


def serve(lab):
    server = pod(lab, "server")
    Task(server, traffic.echo_server, PORT).wait_ready()
    return server


def metric(node, name):
    found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\d+)$", node_metrics(node), re.M)
    expect(found, f"{node.name} has no metric {name}")
    return sum(int(n) for n in found)


def node_metrics(node):
    return sh("nsenter", f"--net={node.netns}", "curl", "-sS", "--max-time", "5", "http://127.0.0.1:15020/metrics").stdout


def status(node):
    return node.ctl_json("status")["ca"]


def roots(node):
    return {r["sha256"]: r["adopted"] for r in status(node)["roots"]}


def leaf_issuers(node):
    """Serial numbers of the CA certificates that the node's leaves were issued by, as the identity thread has them."""
    return {c["certChain"][1]["serialNumber"] for c in node.ctl_json("certs") if c.get("certChain")}


def leaf_serial(node, identity):
    """None while there is none: a revoked one is withdrawn before its successor is there."""
    certs = [c for c in node.ctl_json("certs") if c["identity"] == identity and c.get("certChain")]
    return certs[0]["certChain"][0]["serialNumber"] if certs else None


def adopted_by_all(lab, n):
    for node in lab.nodes:
        eventually(f"{node.name} has {n} roots, adopted by all its readers",
                   lambda: (lambda r: len(r) == n and all(r.values()))(roots(node)), 15)


def around(lab, failure):
    """What both nodes logged from two seconds before a failed connection of keep_connecting() to half a second after it, successes left out."""
    began, ended = (datetime.datetime.fromisoformat(t) for t in failure[:2])
    first, last = began - datetime.timedelta(seconds=2), ended + datetime.timedelta(seconds=0.5)
    text = []
    for node in lab.nodes:
        for kind, lines in (("log", node.log.read_text(errors="replace").splitlines()), ("access", node.access_lines())):
            for line in lines:
                at = re.match(r"(\d{4}-\d\d-\d\dT[\d:.]+Z)\t", line)
                if at and first <= datetime.datetime.fromisoformat(at[1]) <= last and " reason=finished" not in line:
                    text.append(f"\n    {node.name} {kind}: {line}")
    return "".join(text[:200])


def case_rollover_under_load(lab):
    """Old root, both, new root: two nodes, connections all the time, not one fails and no handshake is refused"""
    server = serve(lab)
    until = lab.dir / "load-ends"
    loads = [Task(pod(lab, name), traffic.keep_connecting, server.ip, PORT, until).wait_ready() for name in ("client", "client2")]
    failed = {node: metric(node, "ringwall_worker_handshakes_failed_total") for node in lab.nodes}
    done = {node: metric(node, "ringwall_worker_handshakes_total") for node in lab.nodes}
    old = set(roots(lab.nodes[0]))
    expect_equal(len(old), 1, "roots before")
    before = {node: leaf_issuers(node) for node in lab.nodes}

    ctl(lab, "ca", "rollover", "prepare", "--dir", lab.root)
    for node in lab.nodes:
        ctl(lab, "ca", "publish", "--dir", lab.root, "--out", node.ca_dir)
    adopted_by_all(lab, 2)
    refused = ctl(lab, "ca", "rollover", "prune", "--dir", lab.root, check=False)
    expect(refused.returncode == 1 and "activate" in refused.stderr, refused.stderr)

    ctl(lab, "ca", "rollover", "activate", "--dir", lab.root, "--leaf-ttl", f"{TTL_S}s")
    for node in lab.nodes:
        refused = ctl(lab, "ca", "rollover", "prune", "--dir", lab.root, check=False)
        expect(refused.returncode == 1 and "may be valid until" in refused.stderr, refused.stderr)
        ctl(lab, "ca", "issue-node", "--dir", lab.root, "--node", node.name, "--out", node.ca_dir, "--renew")
        eventually(f"{node.name}'s leaves are below the new root", lambda n=node: not leaf_issuers(n) & before[n], TTL_S + 5)

    def prune():
        return ctl(lab, "ca", "rollover", "prune", "--dir", lab.root, check=False).returncode == 0

    eventually("the old root can go", prune, TTL_S + 10)
    for node in lab.nodes:
        ctl(lab, "ca", "publish", "--dir", lab.root, "--out", node.ca_dir)
    adopted_by_all(lab, 1)
    expect(not set(roots(lab.nodes[0])) & old, "the old root is still there")
    expect_equal(Task(pod(lab, "client"), traffic.try_connect, server.ip, PORT).result(), "ok", "a new connection at the end")

    until.touch()
    for load in loads:
        good, bad = load.result(20)
        expect_equal(bad, [], f"failures among {good} connections{around(lab, bad[0]) if bad else ''}")
        expect(good > scaled(1000), f"only {good} connections")
    for node in lab.nodes:
        refused = [line for line in node.access_lines() if "connection failed" in line]
        expect_equal(refused, [], f"refusals in {node.name}'s access log")
        expect_equal(metric(node, "ringwall_worker_handshakes_failed_total") - failed[node], 0, f"failed handshakes of {node.name}")
        expect(metric(node, "ringwall_worker_handshakes_total") - done[node] >= 6, f"{node.name} made hardly any handshake")


def case_revoked_identity(lab):
    """ca revoke --identity takes back what the node's record holds; peers that get the list refuse it, openssl verifies it"""
    node, other = lab.nodes
    client, server = pod(lab, "intruder"), serve(lab)
    expect_equal(Task(client, traffic.try_connect, server.ip, PORT).result(), "ok", "before")
    serial = leaf_serial(node, client.identity)
    ctl(lab, "ca", "revoke", "--dir", node.ca_dir, "--identity", client.identity, "--audit", node.state_dir / "ca-audit.jsonl")
    crl = node.ca_dir / "ca-crl.pem"
    sh("openssl", "crl", "-in", crl, "-CAfile", node.ca_dir / "ca-cert.pem", "-noout", "-verify")
    (other.ca_dir / "ca-crl.pem").write_text(crl.read_text())
    eventually(f"{other.name} has the list", lambda: status(other)["revocationLists"] == 1, 15)
    expect(serial in sh("openssl", "crl", "-in", crl, "-noout", "-text").stdout.lower(), "the leaf in use is not on the list")
    # The leaf of before is revoked: its tunnel is cut. A renewal is another certificate, which is good.
    eventually("the revoked leaf is replaced", lambda: leaf_serial(node, client.identity) not in (None, serial), TTL_S)
    eventually("a connection with a renewed certificate",
               lambda: Task(client, traffic.try_connect, server.ip, PORT).result() == "ok", 10)
    wrong = ctl(lab, "ca", "revoke", "--dir", node.ca_dir, "--identity", "spiffe://cluster.local/ns/default/sa/nobody",
                "--audit", node.state_dir / "ca-audit.jsonl", check=False)
    expect(wrong.returncode == 1 and "on record" in wrong.stderr, wrong.stderr)
    for n in lab.nodes:
        (n.ca_dir / "ca-crl.pem").unlink()
        eventually(f"{n.name} has no list any more", lambda n=n: status(n)["revocationLists"] == 0, 15)


def case_files_that_do_not_match(lab):
    """A set of files that does not fit together is refused with its reason, counted and recorded; signing goes on"""
    node, other = lab.nodes
    key = node.ca_dir / "ca-key.pem"
    good = key.read_bytes()
    refused = metric(node, "ringwall_ca_reloads_refused_total")
    key.write_bytes((other.ca_dir / "ca-key.pem").read_bytes())
    eventually("the set is refused", lambda: metric(node, "ringwall_ca_reloads_refused_total") > refused, 15)
    expect("not the key of the signing certificate" in status(node)["lastError"], status(node)["lastError"])
    issued = metric(node, "citadel_server_success_cert_issuance_count")
    eventually("certificates are issued all the same", lambda: metric(node, "citadel_server_success_cert_issuance_count") > issued, TTL_S + 5)
    key.write_bytes(good)
    eventually("the error is over", lambda: "lastError" not in status(node), 15)
    events = [json.loads(line)["event"] for line in (node.state_dir / "ca-audit.jsonl").read_text().splitlines()]
    expect("reload-refused" in events and "reload" in events and "start" in events, f"events on record: {sorted(set(events))}")


def case_record(lab):
    """ca audit verify reads the running daemon's record; a restart goes on in it; a changed or missing line is named"""
    node = lab.nodes[0]
    record = node.state_dir / "ca-audit.jsonl"
    expect("whole" in ctl(lab, "ca", "audit", "verify", record).stdout, "the record is not whole")
    expect_equal(node.daemon.stop(), 0, "exit after SIGTERM")
    node.start()
    report = json.loads(ctl(lab, "ca", "audit", "verify", record, "-o", "json").stdout)
    expect(report["whole"] and report["first"] == 1, f"the record after a restart: {report}")
    copy = lab.dir / "record"
    copy.mkdir()
    for suffix in ("", ".last"):
        (copy / f"a{suffix}").write_bytes((node.state_dir / f"ca-audit.jsonl{suffix}").read_bytes())
    lines = (copy / "a").read_text().splitlines(keepends=True)
    n = len(lines) // 2
    for spoiled, word in ((lines[:n] + lines[n + 1:], f"missing before this line: {n + 1} to {n + 1}"),
                          (lines[:n] + [lines[n].replace("node-1", "node-2")] + lines[n + 1:], f"line {n + 1} was changed"),
                          (lines[:n], "truncated")):
        (copy / "a").write_text("".join(spoiled))
        done = ctl(lab, "ca", "audit", "verify", copy / "a", check=False)
        expect(done.returncode == 1 and word in done.stderr, f"'{word}' is not said: {done.stderr}")


def case_crash(lab):
    """Killed at any moment, the record is mended at the next start and stays whole"""
    node = lab.nodes[0]
    record = node.state_dir / "ca-audit.jsonl"
    node.daemon.kill()
    with record.open("ab") as f:  # as a crash in the middle of a write leaves it
        f.write(b'{"seq":99999,"prev":"00')
    node.start()
    expect("audit-mended" in record.read_text(), "the record does not say that it was mended")
    expect("whole" in ctl(lab, "ca", "audit", "verify", record).stdout, "the record is not whole")
    server = serve(lab)
    expect_equal(Task(pod(lab, "client"), traffic.try_connect, server.ip, PORT).result(), "ok", "after the crash")


def case_builtin_root(lab):
    """The built-in CA rolls over too, while it runs: prepared, adopted, activated; the old root stays as long as its leaves"""
    node = lab.nodes[0]
    expect_equal(node.daemon.stop(), 0, "exit after SIGTERM")
    node.write_config(ca=f"{{provider: builtin, {CA}}}")
    node.start()
    directory = node.state_dir / "ca"
    old = set(roots(node))
    expect_equal(len(old), 1, "roots before")
    ctl(lab, "ca", "rollover", "prepare", "--dir", directory)
    eventually("both roots are adopted", lambda: len(roots(node)) == 2 and all(roots(node).values()), 15)
    expect(status(node)["signing"]["sha256"] in old, "signs below the new root too early")
    ctl(lab, "ca", "rollover", "activate", "--dir", directory, "--leaf-ttl", f"{TTL_S}s")
    eventually("signs below the new root", lambda: status(node)["signing"]["sha256"] not in old, 15)

    done = ctl(lab, "ca", "rollover", "prune", "--dir", directory, check=False)
    expect(done.returncode == 1 and "may be valid until" in done.stderr, done.stderr)
    eventually("the old root can go", lambda: ctl(lab, "ca", "rollover", "prune", "--dir", directory, check=False).returncode == 0, TTL_S + 10)
    eventually("one root is left, adopted", lambda: list(roots(node).values()) == [True], 15)
    expect(not set(roots(node)) & old, "the old root is still there")
    expect(all(c["state"] == "Available" for c in node.ctl_json("certs")), "a certificate is missing after it")
    expect("whole" in ctl(lab, "ca", "audit", "verify", node.state_dir / "ca-audit.jsonl").stdout, "the record is not whole")
