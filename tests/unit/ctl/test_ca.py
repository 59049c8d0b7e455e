# SPDX-License-Identifier: GPL-3.0-or-later
"""Goal: what people do with CA directories works as the README says, each refusal says what to do instead, and openssl agrees.
Method: ringwallctl on directories; certificates of workloads are made with openssl below them."""

import json
import subprocess
import time

import cli

CLIENT = "spiffe://cluster.local/ns/default/sa/client"


class Ca(cli.Cli):
    def setUp(self):
        super().setUp()
        self.expect(0, "ca", "init", "--dir", "root")
        self.issue("node-1", "one")

    def issue(self, node, out, *more, code=0):
        return self.expect(code, "ca", "issue-node", "--dir", "root", "--node", node, "--out", out, *more)

    def openssl(self, *arguments, check=True, **options):
        done = subprocess.run(["openssl", *map(str, arguments)], text=True, capture_output=True, cwd=self.dir, **options)
        if check:
            self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def leaf(self, name, uri=CLIENT, ca="one"):
        """A chain file, made by openssl with the directory's key; its serial."""
        (self.dir / "x.cnf").write_text(
            f"[x]\nsubjectAltName=critical,URI:{uri}\nkeyUsage=critical,digitalSignature,keyEncipherment\n"
            "extendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=critical,CA:FALSE\nauthorityKeyIdentifier=keyid\n")
        self.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/", "-keyout", "k.pem",
                     "-out", "r.pem")
        self.openssl("x509", "-req", "-in", "r.pem", "-CA", f"{ca}/ca-cert.pem", "-CAkey", f"{ca}/ca-key.pem", "-days", "1", "-extfile",
                     "x.cnf", "-extensions", "x", "-out", name)
        return self.openssl("x509", "-in", name, "-noout", "-serial").stdout.strip().partition("=")[2]

    def test_verify(self):
        """ca verify judges as the data plane does: trusted, another root's, revoked; JSON and exit codes"""
        serial = self.leaf("leaf.pem")
        done = self.expect(0, "ca", "verify", "--dir", "one", "leaf.pem")
        self.assertIn(f"leaf.pem: trusted: {CLIENT}, serial {serial.lower()}", done.stdout)
        self.assertIn("counts only for workloads of node node-1", done.stdout)
        answer = self.expect_json(0, "ca", "verify", "--dir", "one", "leaf.pem")
        self.assertEqual((answer["trusted"], answer["uri"], answer["issuingNode"]), (True, CLIENT, "node-1"))
        self.expect(0, "ca", "init", "--dir", "other")
        self.assertIn("does not chain to a root", self.expect(1, "ca", "verify", "--dir", "other", "leaf.pem").stdout)
        self.assertIn("trust domain", self.expect(1, "ca", "verify", "--dir", "one", self.named("td.pem")).stdout)
        self.assertIn("holds no readable", self.expect(1, "ca", "verify", "--dir", "one", "x.cnf").stderr)
        self.expect(2, "ca", "verify", "--dir", "one")
        self.expect(0, "ca", "revoke", "--dir", "one", "--serial", serial)
        self.assertIn("certificate is revoked", self.expect(1, "ca", "verify", "--dir", "one", "leaf.pem").stdout)
        self.assertFalse(self.expect_json(1, "ca", "verify", "--dir", "one", "leaf.pem")["trusted"])
        self.openssl("crl", "-in", "one/ca-crl.pem", "-CAfile", "one/ca-cert.pem", "-noout", "-verify")
        chain = (self.dir / "root/root-cert.pem").read_text() + (self.dir / "one/ca-crl.pem").read_text()
        (self.dir / "anchors.pem").write_text(chain)
        done = self.openssl("verify", "-crl_check", "-CAfile", "anchors.pem", "-untrusted", "one/ca-cert.pem", "leaf.pem", check=False)
        self.assertIn("certificate revoked", done.stderr)

    def named(self, name):
        self.leaf(name, "spiffe://other.example/ns/default/sa/client")
        return name

    def test_changes_in_json(self):
        """What changes a directory answers in JSON when asked to, and then in nothing else; a refusal leaves stdout empty"""
        made = self.expect_json(0, "ca", "init", "--dir", "new", "--trust-domain", "td.example")
        self.assertEqual(made, {"dir": "new", "trustDomain": "td.example"})
        made = self.expect_json(0, "ca", "issue-node", "--dir", "new", "--node", "n", "--out", "n-ca")
        self.assertEqual(made, {"node": "n", "dir": str((self.dir / "n-ca").resolve())})
        self.assertEqual(self.expect_json(0, "ca", "publish", "--dir", "new", "--out", "n-ca"), {"dir": "n-ca", "from": "new"})
        self.assertEqual(self.expect_json(0, "ca", "revoke", "--dir", "n-ca", "--serial", "0a"),
                         {"file": "n-ca/ca-crl.pem", "revokedNow": 1, "revoked": 1})
        for again in (("init", "--dir", "new"), ("issue-node", "--dir", "new", "--node", "n", "--out", "n-ca"),
                      ("publish", "--dir", "nowhere", "--out", "n-ca"), ("revoke", "--dir", "n-ca", "--serial", "xyz")):
            done = self.expect(1, "ca", *again, "-o", "json")
            self.assertEqual(done.stdout, "")
            self.assertNotEqual(done.stderr, "")

    def test_revoke(self):
        """By serial, by node name from the record; numbers grow; what cannot be meant is refused"""
        self.assertIn("one of --serial", self.expect(2, "ca", "revoke", "--dir", "root").stderr)
        self.expect(2, "ca", "revoke", "--dir", "root", "--serial", "1", "--node", "node-1")
        self.assertIn("no serial number", self.expect(1, "ca", "revoke", "--dir", "root", "--serial", "xyz").stderr)
        self.assertIn("on record", self.expect(1, "ca", "revoke", "--dir", "root", "--node", "node-9").stderr)
        self.assertIn("1 revoked now, 1 in all", self.expect(0, "ca", "revoke", "--dir", "root", "--node", "node-1").stdout)
        self.assertIn("1 revoked now, 2 in all", self.expect(0, "ca", "revoke", "--dir", "root", "--serial", "AB:CD").stdout)
        self.expect(0, "ca", "publish", "--dir", "root", "--out", "one")
        shown = self.expect(0, "ca", "show", "--dir", "one")
        self.assertIn("the signing certificate is revoked", shown.stderr)
        lists = [row for row in self.expect_json(0, "ca", "show", "--dir", "one") if row["role"] == "revocation list"]
        self.assertEqual([(r["number"], r["revoked"]) for r in lists], [(2, 2)])
        self.issue("node-1", "one", "--renew")
        self.assertNotIn("is revoked", self.expect(0, "ca", "show", "--dir", "one").stderr)

    def test_rollover(self):
        """Prepare, publish, activate, renew, prune; status in words and JSON; steps out of order are refused"""
        def status():
            return self.expect_json(0, "ca", "rollover", "status", "--dir", "root")

        old = status()["signing"]
        self.assertEqual(status()["step"], "none")
        self.assertIn("ca rollover prepare", self.expect(1, "ca", "rollover", "activate", "--dir", "root").stderr)
        prepared = self.expect_json(0, "ca", "rollover", "prepare", "--dir", "root")
        self.assertEqual((prepared["step"], prepared["signing"]), ("prepared", old))
        self.expect(0, "ca", "publish", "--dir", "root", "--out", "one")
        self.assertIn("issue-node", self.expect(1, "ca", "rollover", "prepare", "--dir", "one").stderr)
        self.assertIn("24h", self.expect(2, "ca", "rollover", "activate", "--dir", "root", "--leaf-ttl", "long").stderr)
        activated = self.expect_json(0, "ca", "rollover", "activate", "--dir", "root", "--leaf-ttl", "1s")
        self.assertEqual((activated["step"], activated["signing"]), ("activated", prepared["next"]))
        self.assertIn("may be valid until", self.expect(1, "ca", "rollover", "prune", "--dir", "root").stderr)
        self.assertIn("issue-node --renew", self.expect(1, "ca", "rollover", "prune", "--dir", "root").stderr)
        self.issue("node-1", "one", "--renew")
        deadline = time.monotonic() + 10
        while self.run_ctl("ca", "rollover", "prune", "--dir", "root").returncode != 0:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        self.assertEqual(status()["step"], "none")
        self.expect(0, "ca", "publish", "--dir", "root", "--out", "one")
        self.openssl("verify", "-x509_strict", "-CAfile", "one/root-cert.pem", "one/ca-cert.pem")
        self.expect(0, "ca", "audit", "verify", "root/ca-audit.jsonl")

    def test_renew(self):
        """A renewal is a new key below the same name, only for the same node"""
        before = (self.dir / "one/ca-key.pem").read_bytes()
        self.assertIn("--renew", self.issue("node-1", "one", code=1).stderr)
        self.issue("node-1", "one", "--renew")
        self.assertNotEqual((self.dir / "one/ca-key.pem").read_bytes(), before)
        self.assertIn("it is of 'node-1'", self.issue("node-2", "one", "--renew", code=1).stderr)
        self.assertIn("missing", self.issue("node-2", "two", "--renew", code=1).stderr)
        self.assertIn("takes no value", self.issue("node-1", "one", "--renew=yes", code=2).stderr)
        self.assertEqual(sorted(p.name for p in (self.dir / "one").iterdir()),
                         ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"])

    def test_audit(self):
        """The record of offline work is whole; a changed line is named"""
        record = self.dir / "root/ca-audit.jsonl"
        self.issue("node-2", "two")
        self.issue("node-3", "three")
        done = self.expect_json(0, "ca", "audit", "verify", "root/ca-audit.jsonl")
        self.assertEqual((done["whole"], done["first"], done["last"]), (True, 1, 3))
        issued = [json.loads(line) for line in record.read_text().splitlines()]
        self.assertEqual([i["identity"] for i in issued], ["node/node-1", "node/node-2", "node/node-3"])
        record.write_text(record.read_text().replace("node-2", "node-7"))
        self.assertIn("ca-audit.jsonl:2: line 2 was changed", self.expect(1, "ca", "audit", "verify", "root/ca-audit.jsonl").stderr)
        self.expect(1, "ca", "audit", "verify", "nothing-here")
        self.assertIn("root: cannot be read", self.expect(1, "ca", "audit", "verify", "root").stderr)
        self.expect(2, "ca", "audit", "verify")


if __name__ == "__main__":
    cli.main()
