# SPDX-License-Identifier: GPL-3.0-or-later
"""Goal: commands that need no daemon keep the contracts of DESIGN 7. Method: the program on small mesh and CA directories."""

import re
import stat

import cli

ENTRY = """apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: {name}
  namespace: default
  labels:
    istio.io/dataplane-mode: {mode}
spec:
  address: {address}
  serviceAccount: {name}
  labels:
    app: {name}
"""
POLICY = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: {name}
  namespace: {namespace}
spec:
  action: {action}
  rules:
  - from:
    - source:
        {field}: ["{value}"]
"""
STRICT = """apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: default
  namespace: default
spec:
  mtls:
    mode: STRICT
"""
CLIENT, OTHER = "spiffe://cluster.local/ns/default/sa/client", "spiffe://cluster.local/ns/default/sa/other"
SERVER = ENTRY.format(name="server", mode="ambient", address="10.0.0.5")
ALLOW = POLICY.format(name="allow", namespace="default", action="ALLOW", field="principals", value="cluster.local/ns/default/sa/client")
BROKEN = ALLOW.replace("  action", "  acton")
TO = ("--to", "default/server", "--port", "8080")
COMMANDS = ["status", "workloads", "services", "policies", "certs", "connections", "denials", "capture", "capture detach", "authz check",
            "authn tls-check", "lint", "policy diff", "ca init", "ca issue-node", "ca publish", "ca show", "ca verify", "ca revoke", "ca rollover status", "ca rollover prepare",
            "ca rollover activate", "ca rollover prune", "ca audit verify", "check", "log-level", "drain", "dump"]


class CommandLine(cli.Cli):
    def test_help(self):
        """Each command is in the list and has a help of its own with an example"""
        listed = self.expect(0, "--help").stdout
        for command in COMMANDS:
            self.assertIn(f"\n  {command} ", listed)
            text = self.expect(0, *command.split(), "--help").stdout
            self.assertTrue(text.startswith(f"usage: ringwallctl {command}"), text)
            self.assertIn("example: ringwallctl", text)
            self.assertEqual(self.expect(0, "help", *command.split()).stdout, text)
        self.assertEqual(self.expect(0, "help").stdout, self.expect(0, "--help").stdout)
        self.assertRegex(self.expect(0, "--version").stdout, r"^ringwallctl \d+\.\d+\.\d+\n$")

    def test_usage_errors(self):
        """A wrong command line is exit 2, with a hint on stderr and nothing on stdout"""
        for line, hint in (
            ((), "usage"),
            (("statu",), "did you mean 'status'"),
            (("authz", "chek"), "did you mean 'authz check'"),
            (("ca", "rolover", "status"), "did you mean 'ca rollover status'"),
            (("tls-check", "--to", "a/b"), "did you mean 'authn tls-check'"),
            (("conn",), "did you mean 'connections'"),
            (("xyzzy",), "--help"),
            (("status", "--sokcet", "x"), "did you mean --socket"),
            (("status", "--mesh", "x"), "no option --mesh here"),
            (("status", "word"), "one word too many"),
            (("status", "-o", "xml"), "table or json"),
            (("status", "-s"), "needs its SOCKET"),
            (("--nonsense", "status"), "before the command"),
            (("lint",), "needs the mesh directory"),
            (("policy", "diff"), "needs the mesh directory"),
            (("policy",), "did you mean 'policy diff'"),
            (("ca",), "needs another word: ca init, ca issue-node, ca publish, ca show"),
            (("ca", "--dir", "x"), "needs another word"),
            (("ca", "rollover"), "'ca rollover' needs another word: ca rollover status, ca rollover prepare"),
            (("help", "xyzzy"), "no command 'xyzzy'"),
            (("ca", "init"), "needs --dir"),
            (("ca", "issue-node", "--dir", "x", "--node", "n"), "needs --out"),
            (("authz", "check", "--to", "a/b", "--port", "1"), "needs --source"),
            (("authz", "check", "--source", "none", "--port", "1"), "needs --to"),
            (("authz", "check", "--source", "none", "--to", "a/b"), "needs --port"),
            (("authn", "tls-check"), "needs --to"),
            (("capture", "detach", "--node", "n"), "together"),
            (("capture", "detach", "-c", "f", "--node", "n"), "not both"),
        ):
            done = self.expect(2, *line)
            self.assertIn(hint, done.stderr, line)
            self.assertEqual(done.stdout, "", line)

    def test_help_of_a_group(self):
        """Words that only begin commands have a help text too: the commands that begin so, and no others"""
        for line in (("ca", "--help"), ("ca", "-h"), ("help", "ca")):
            done = self.expect(0, *line)
            self.assertIn("  ca audit verify ", done.stdout)
            self.assertNotIn("capture", done.stdout)
            self.assertEqual(done.stderr, "")
        self.assertNotIn("ca init", self.expect(0, "ca", "rollover", "--help").stdout)
        self.assertIn("policy diff", self.expect(0, "policy", "--help").stdout)
        self.expect(2, "xyzzy", "--help")

    def test_no_daemon(self):
        """A daemon that is not there is exit 1, and the text says what to do"""
        for command in ("status", "workloads", "services", "policies", "certs", "connections", "denials", "capture", "log-level", "drain", "dump"):
            for line in ((command, "-s", "none.sock"), ("-s", "none.sock", command), ("--socket=none.sock", command)):
                done = self.expect(1, *line)
                self.assertIn("is the daemon running?", done.stderr)
                self.assertEqual(done.stdout, "")
        self.expect(1, "-s", "x" * 200, "status")


class Lint(cli.Cli):
    LINE = re.compile(r"^(?P<at>[^:]+:\d+:\d+): (error|warning): \S.*$")

    def test_clean(self):
        self.assertEqual(self.expect(0, "lint", self.mesh(a=SERVER)).stdout, "")

    def test_file(self):
        """One file is no mesh directory, and the text does not blame its mode"""
        self.assertIn("Not a directory): name the directory that holds", self.expect(1, "lint", self.mesh(a=SERVER) + "/a.yaml").stdout)

    def test_warning(self):
        """Warnings are printed and do not fail"""
        prefix = ALLOW.replace("cluster.local/ns/default", "spiffe://cluster.local/ns/default")
        lines = self.expect(0, "lint", self.mesh(a=SERVER, b=prefix)).stdout.splitlines()
        self.assertTrue(lines)
        for line in lines:
            self.assertRegex(line, self.LINE)
            self.assertIn(": warning: ", line)

    def test_error(self):
        """file:line:col: error: what, and what to write instead"""
        done = self.expect(1, "lint", self.mesh(a=SERVER, b=BROKEN))
        lines = done.stdout.splitlines()
        self.assertTrue(any(line.startswith("mesh.d/b.yaml:7:3: error: ") and "action" in line for line in lines), lines)
        for line in lines:
            self.assertRegex(line, self.LINE)
        rows = self.expect_json(1, "lint", "mesh.d")
        self.assertEqual((rows[0]["file"], rows[0]["line"], rows[0]["column"], rows[0]["severity"]), ("mesh.d/b.yaml", 7, 3, "error"))

    def test_path_as_given(self):
        self.mesh(b=BROKEN)
        self.assertIn("./mesh.d/b.yaml:7:3:", self.expect(1, "lint", "./mesh.d").stdout)
        self.assertIn(f"{self.dir}/mesh.d/b.yaml:7:3:", self.expect(1, "lint", self.dir / "mesh.d").stdout)

    def test_no_directory(self):
        self.expect(1, "lint", "nowhere")

    def test_control_bytes(self):
        """A file's bytes do not steer the terminal"""
        done = self.expect(1, "lint", self.mesh(b=ALLOW.replace("  action", '  "a\\x1b[31m"')))
        self.assertNotIn("\x1b", done.stdout)

    def test_node_file(self):
        """-c takes root namespace and trust domain from the node file; its errors count too"""
        (self.dir / "node.yaml").write_text("rootNamespace: mesh-system\n")
        self.expect(0, "lint", self.mesh(a=SERVER), "-c", "node.yaml")
        (self.dir / "bad.yaml").write_text("rotNamespace: mesh-system\n")
        self.assertIn("bad.yaml:1:1: error", self.expect(1, "lint", "mesh.d", "-c", "bad.yaml").stdout)


class Authz(cli.Cli):
    KEYS = {"verdict", "reason", "kind", "policy", "rule", "at", "mtls", "enrolled"}

    def check(self, code, *more, source=CLIENT, ip="10.0.0.9", to=TO):
        where = ("--source-ip", ip) if ip else ()
        answer = self.expect_json(code, "authz", "check", "--mesh", "mesh.d", "--source", source, *where, *to, *more)
        self.assertLessEqual(self.KEYS, set(answer))
        return answer

    def test_allow(self):
        self.mesh(a=SERVER, b=ALLOW)
        got = self.check(0)
        expected = {"verdict": "allow", "kind": "AuthorizationPolicy", "policy": "default/allow", "rule": 0, "at": "mesh.d/b.yaml:9",
                    "mtls": "PERMISSIVE", "enrolled": True}
        self.assertEqual({k: got[k] for k in expected}, expected)
        self.assertTrue(got["walk"])
        text = self.expect(0, "authz", "check", "--mesh", "mesh.d", "--source", CLIENT, "--source-ip", "10.0.0.9", *TO).stdout
        self.assertTrue(text.startswith("ALLOW"))
        self.assertIn("mesh.d/b.yaml:9", text)

    def test_nothing_matches(self):
        """Denied because no ALLOW matched: no policy is named"""
        self.mesh(a=SERVER, b=ALLOW)
        got = self.check(3, source=OTHER)
        self.assertEqual((got["verdict"], got["policy"], got["rule"], got["at"]), ("deny", None, None, None))
        self.assertIn("mesh.d/b.yaml:9", [step["at"] for step in got["walk"]])

    def test_deny(self):
        self.mesh(a=SERVER, b=ALLOW, c=POLICY.format(name="no", namespace="default", action="DENY", field="namespaces", value="default"))
        got = self.check(3)
        self.assertEqual((got["verdict"], got["kind"], got["policy"], got["rule"], got["at"]),
                         ("deny", "AuthorizationPolicy", "default/no", 0, "mesh.d/c.yaml:9"))

    def test_strict(self):
        self.mesh(a=SERVER, b=STRICT)
        got = self.check(3, source="none")
        self.assertEqual((got["verdict"], got["kind"], got["policy"], got["rule"], got["at"], got["mtls"]),
                         ("deny", "PeerAuthentication", "default/default", None, "mesh.d/b.yaml:8", "STRICT"))
        self.assertEqual(self.check(0)["verdict"], "allow")

    def test_no_policy(self):
        self.mesh(a=SERVER, b=ENTRY.format(name="plain", mode="none", address="10.0.0.6"))
        self.assertEqual(self.check(0)["kind"], None)
        self.assertEqual(self.check(0, to=("--to", "10.0.0.6", "--port", "1"))["enrolled"], False)

    def test_source_ip(self):
        """Without a source address IP conditions fail in ALLOW and hold in DENY, and stderr says so"""
        for action, known, unknown in (("ALLOW", 0, 3), ("DENY", 3, 3)):
            self.mesh(a=SERVER, b=POLICY.format(name="ip", namespace="default", action=action, field="ipBlocks", value="10.0.0.0/24"))
            self.check(known)
            done = self.expect(unknown, "authz", "check", "--mesh", "mesh.d", "--source", CLIENT, *TO, "-o", "json")
            self.assertIn("--source-ip", done.stderr)
        for source in (CLIENT, "none"):
            self.mesh(a=SERVER, b=POLICY.format(name="p", namespace="default", action="ALLOW", field="principals",
                                                value=CLIENT.removeprefix("spiffe://")))
            done = self.expect(0 if source == CLIENT else 3, "authz", "check", "--mesh", "mesh.d", "--source", source, *TO)
            self.assertEqual(done.stderr, "", "a note that no policy here needs")

    def test_exit_codes(self):
        self.mesh(a=SERVER)
        ask = ("authz", "check", "--mesh", "mesh.d", "--source", CLIENT, "--source-ip", "10.0.0.9")
        for more, hint in (
            (("--to", "default/servr", "--port", "1"), "did you mean default/server?"),
            (("--to", "server", "--port", "1"), "did you mean default/server?"),
            (("--to", "10.9.9.9", "--port", "1"), "no such workload"),
            (("--to", "default/server", "--port", "0"), "1 to 65535"),
            (("--to", "default/server", "--port", "65536"), "1 to 65535"),
            (("--to", "default/server", "--port", "http"), "1 to 65535"),
        ):
            done = self.expect(2, *ask, *more)
            self.assertIn(hint, done.stderr)
            self.assertEqual(done.stdout, "")
        self.expect(2, "authz", "check", "--mesh", "mesh.d", "--source", "cluster.local/ns/default/sa/client", *TO)
        self.expect(2, "authz", "check", "--mesh", "mesh.d", "--source", "none", "--source-ip", "10.0.0", *TO)
        self.mesh(b=BROKEN)
        done = self.expect(1, *ask, *TO)
        self.assertEqual(done.stdout, "")
        self.assertIn("mesh.d/b.yaml:7:3: error: ", done.stderr)
        self.expect(1, "authz", "check", "--mesh", "nowhere", "--source", "none", *TO)

    def test_node_file(self):
        """Root namespace and trust domain of -c decide"""
        policy = POLICY.format(name="no", namespace="mesh-system", action="DENY", field="principals", value="td.test/ns/default/sa/client")
        self.mesh(a=SERVER, b=policy)
        (self.dir / "node.yaml").write_text("trustDomain: td.test\nrootNamespace: mesh-system\n")
        self.check(0, source="spiffe://td.test/ns/default/sa/client")
        self.check(3, "-c", "node.yaml", source="spiffe://td.test/ns/default/sa/client")


class TlsCheck(cli.Cli):
    def test_modes(self):
        self.mesh(a=SERVER)
        got = self.expect_json(0, "authn", "tls-check", "--mesh", "mesh.d", "--to", "default/server")
        self.assertEqual({k: got[k] for k in ("mode", "policy", "at")}, {"mode": "PERMISSIVE", "policy": None, "at": None})
        ports = STRICT.replace("spec:", "spec:\n  selector:\n    matchLabels:\n      app: server") + "  portLevelMtls:\n    9090:\n      mode: DISABLE\n"
        self.mesh(b=ports)
        for port, mode in ((None, "STRICT"), (8080, "STRICT"), (9090, "DISABLE")):
            got = self.expect_json(0, "authn", "tls-check", "--mesh", "mesh.d", "--to", "10.0.0.5", *(("--port", port) if port else ()))
            self.assertEqual((got["mode"], got["policy"]), (mode, "default/default"))
            self.assertRegex(got["at"], r"^mesh\.d/b\.yaml:\d+$")
        self.assertIn("STRICT by PeerAuthentication default/default at mesh.d/b.yaml:",
                      self.expect(0, "authn", "tls-check", "--mesh", "mesh.d", "--to", "default/server").stdout)

    def test_exit_codes(self):
        self.mesh(a=SERVER)
        self.expect(2, "authn", "tls-check", "--mesh", "mesh.d", "--to", "default/nobody")
        self.expect(2, "authn", "tls-check", "--mesh", "mesh.d", "--to", "default/server", "--port", "x")


class Ca(cli.Cli):
    def test_whole(self):
        """A root, a node's certificate, and what they hold; keys are for their owner alone"""
        self.expect(0, "ca", "init", "--dir", "deep/root", "--trust-domain", "td.test")
        issued = self.expect(0, "ca", "issue-node", "--dir", "deep/root", "--node", "node-1", "--out", "n1").stdout
        self.assertIn(f"  node: node-1\n  ca: {{provider: files, dir: {self.dir.resolve()}/n1}}\n", issued)
        for name in ("deep/root", "n1"):
            self.assertEqual(stat.S_IMODE((self.dir / name).stat().st_mode), 0o700)
            self.assertEqual(stat.S_IMODE((self.dir / name / "ca-key.pem").stat().st_mode), 0o600)
            record = {"ca-audit.jsonl", "ca-audit.jsonl.last"} if name == "deep/root" else set()
            self.assertEqual({p.name for p in (self.dir / name).iterdir()}, {"ca-key.pem", "ca-cert.pem", "cert-chain.pem", "root-cert.pem"} | record)
        self.assertEqual((self.dir / "n1/root-cert.pem").read_text(), (self.dir / "deep/root/ca-cert.pem").read_text())
        rows = self.expect_json(0, "ca", "show", "--dir", "n1")
        self.assertEqual([(r["role"], r["subject"]) for r in rows], [("signing", "O=td.test, CN=node-1"), ("root", "O=td.test")])
        self.assertIn("NOT AFTER", self.expect(0, "ca", "show", "--dir", "n1").stdout)

    def test_refusals(self):
        self.expect(0, "ca", "init", "--dir", "root")
        self.expect(0, "ca", "issue-node", "--dir", "root", "--node", "a", "--out", "n1")
        before = (self.dir / "root/ca-key.pem").read_bytes()
        for line, hint in (
            (("ca", "init", "--dir", "root"), "not overwritten"),
            (("ca", "init", "--dir", "other", "--trust-domain", "UPPER"), "trust domain"),
            (("ca", "issue-node", "--dir", "root", "--node", "a b", "--out", "n"), "node name"),
            (("ca", "issue-node", "--dir", "root", "--node", "a", "--out", "root"), "not overwritten"),
            (("ca", "issue-node", "--dir", "nowhere", "--node", "a", "--out", "n"), "is missing"),
            (("ca", "show", "--dir", "nowhere"), "is missing"),
            (("ca", "issue-node", "--dir", "n1", "--node", "b", "--out", "n2"), "name the root's directory"),
        ):
            done = self.expect(1, *line)
            self.assertIn(hint, done.stderr)
            self.assertEqual(done.stdout, "")
        self.assertEqual((self.dir / "root/ca-key.pem").read_bytes(), before)
        self.assertFalse((self.dir / "n2").exists())

    def test_damaged(self):
        """A directory whose parts do not belong together is told, file by file"""
        self.expect(0, "ca", "init", "--dir", "root")
        self.expect(0, "ca", "init", "--dir", "other")
        (self.dir / "root/ca-key.pem").write_text((self.dir / "other/ca-key.pem").read_text())
        self.assertIn("root/ca-key.pem", self.expect(1, "ca", "show", "--dir", "root").stderr)
        (self.dir / "other/ca-cert.pem").write_text("nonsense")
        self.assertIn("other/ca-cert.pem", self.expect(1, "ca", "show", "--dir", "other").stderr)


class Detach(cli.Cli):
    def test_nothing_there(self):
        """A node name or folder that is not the daemon's is no success: capture is still in force elsewhere"""
        done = self.expect(1, "capture", "detach", "--bpffs", self.dir / "bpf", "--node", "node.1")
        self.assertIn(f"there is no {self.dir}/bpf/node+1", done.stderr)
        self.assertEqual(done.stdout, "")


class Check(cli.Cli):
    def test_another_nodes_certificate(self):
        """A signing certificate of another node is a failure here, not a riddle at the peers"""
        self.mesh()
        self.expect(0, "ca", "init", "--dir", "root")
        self.expect(0, "ca", "issue-node", "--dir", "root", "--node", "node-1", "--out", "n1")
        for node, code in (("node-1", 0), ("node-2", 1)):
            (self.dir / "node.yaml").write_text(f"node: {node}\nmeshDir: {self.dir}/mesh.d\ncapture: {{mode: none}}\n"
                                                f"ca: {{provider: files, dir: {self.dir}/n1}}\n")
            done = self.run_ctl("check", "-c", "node.yaml")
            self.assertEqual("is of node node-1, and this is node-2" in done.stdout, code == 1, done.stdout)

    def test_every_failure_has_its_fix(self):
        (self.dir / "node.yaml").write_text(f"meshDir: {self.dir}/nowhere\nstateDir: {self.dir}/state\ncapture: {{mode: none}}\n")
        rows = self.expect_json(1, "check", "-c", "node.yaml")
        failed = [r for r in rows if r["outcome"] != "ok"]
        self.assertTrue(any(r["what"] == "the mesh directory is valid" for r in failed), rows)
        self.assertTrue(all(r["fix"] for r in failed))
        text = self.expect(1, "check", "-c", "node.yaml").stdout
        self.assertEqual(text.count("fix: "), len(failed))
        self.assertIn("UDP", text)

    def test_certificates(self):
        self.expect(0, "ca", "init", "--dir", "root")
        self.mesh()
        (self.dir / "node.yaml").write_text(f"meshDir: {self.dir}/mesh.d\nca: {{provider: files, dir: {self.dir}/root}}\ncapture: {{mode: none}}\n")
        rows = cli.json.loads(self.run_ctl("check", "-c", "node.yaml", "-o", "json").stdout)
        held = {r["what"]: r["outcome"] for r in rows if r["group"] == "certificates"}
        self.assertEqual(set(held.values()), {"ok"}, rows)
        (self.dir / "root/ca-key.pem").unlink()
        rows = self.expect_json(1, "check", "-c", "node.yaml")
        self.assertTrue(any(r["outcome"] == "failed" and "ca-key.pem" in r["fix"] for r in rows), rows)

    def test_bad_node_file(self):
        (self.dir / "node.yaml").write_text("nod: x\n")
        rows = self.expect_json(1, "check", "-c", "node.yaml")
        self.assertTrue(any("node.yaml:1:1" in r.get("fix", "") for r in rows), rows)


if __name__ == "__main__":
    cli.main()
