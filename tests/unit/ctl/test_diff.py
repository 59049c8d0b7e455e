# SPDX-License-Identifier: GPL-3.0-or-later
"""Goal: `policy diff` names exactly the connections whose verdict would change, with both verdicts, by the daemon's own settings.
Method: the fake daemon of test_daemon.py with connections that the test makes up, and small mesh directories."""

import json
import urllib.parse

import cli
from test_contracts import ALLOW, BROKEN, CLIENT, ENTRY, OTHER, POLICY, SERVER
from test_daemon import FakeDaemon, answer

CONFIG = {"world": 7, "config": {"node": "node-1", "trustDomain": "cluster.local", "trustDomainAliases": [], "rootNamespace": "istio-system",
                                 "cluster": "Kubernetes", "clusterDomain": "cluster.local", "network": "", "capture": {"enrol": "label"},
                                 "limits": {"meshBytes": 1 << 29}}}
ALLOWED = {"verdict": "allow", "reason": "allowed by AuthorizationPolicy default/old rule 0 at old/p.yaml:9", "code": "allowed",
           "kind": "AuthorizationPolicy", "policy": "default/old", "rule": 0, "at": "old/p.yaml:9"}
DENIED = {"verdict": "deny", "reason": "denied by AuthorizationPolicy default/no rule 1 at old/p.yaml:12", "code": "policy-denied",
          "kind": "AuthorizationPolicy", "policy": "default/no", "rule": 1, "at": "old/p.yaml:12"}


def flow(identity=CLIENT, port=8080, **more):
    made = {"id": 1, "direction": "inbound", "protocol": "HBONE" if identity else "TCP", "state": "relay", "src": {"addr": "10.0.0.9:4000"},
            "dst": {"addr": f"10.0.0.5:{15008 if identity else port}", "workload": "server", "namespace": "default"}, **more}
    if identity:
        made["src"]["identity"] = identity
        made["dst"]["hboneAddr"] = f"10.0.0.5:{port}"
    return made


def recent(identity=CLIENT, allowed=True, port=8080, world=7, count=1, **more):
    made = {"time": "2026-01-01T00:00:00.000000Z", "direction": "inbound", "sourceIp": "10.0.0.9", "to": "default/server",
            "destinationIp": "10.0.0.5", "port": port, "allowed": allowed, "reason": "finished" if allowed else "policy-denied",
            "world": world, "count": count, **more}
    return {**made, "source": identity} if identity else made


def pairs_of(target):
    """What the daemon is asked, as it takes it apart"""
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(target).query, strict_parsing=True, max_num_fields=8, separator="&")
    assert len(target) <= 4096 and list(query) == ["pairs"] and len(query["pairs"][0]) <= 2048, target
    return [tuple(pair.split(",")) for pair in query["pairs"][0].split(";")]


class Diff(FakeDaemon):
    def diff(self, *more, connections=(), recents=(), authz=ALLOWED, config=None, code=0, directory="mesh.d"):
        """authz: the verdict for every pair, None for an unknown workload; or a whole answer"""
        if not isinstance(authz, bytes) and not callable(authz):
            verdict, authz = authz, lambda target: answer([verdict] * len(pairs_of(target)))
        self.asked.clear()
        self.answers = {"/debug/configz": answer(config or CONFIG), "/connections": answer(list(connections)), "/recent": answer(list(recents)),
                        "/authz": authz}
        return self.expect(code, "-s", self.path, "policy", "diff", directory, *more)

    def rows(self, **asked):
        rows = json.loads(self.diff("-o", "json", **asked).stdout)
        return [(r["change"], r["state"], r["source"], r["port"], r["count"]) for r in rows]

    def test_open_flow_is_cut(self):
        """ALLOW for the client only: the other's flows are named once with their number, the client's not"""
        self.mesh(a=SERVER, b=ALLOW)
        done = self.diff("-o", "json", connections=[flow(), flow(OTHER), flow(OTHER), flow(OTHER, port=81)])
        rows = json.loads(done.stdout)
        self.assertEqual([(r["change"], r["state"], r["source"], r["port"], r["count"]) for r in rows],
                         [("deny", "open", OTHER, 8080, 2), ("deny", "open", OTHER, 81, 1)])
        self.assertEqual((rows[0]["to"], rows[0]["sourceIp"], rows[0]["destinationIp"]), ("default/server", "10.0.0.9", "10.0.0.5"))
        self.assertEqual({k: rows[0]["old"][k] for k in ("verdict", "policy", "rule", "at")},
                         {"verdict": "allow", "policy": "default/old", "rule": 0, "at": "old/p.yaml:9"})
        self.assertEqual((rows[0]["new"]["verdict"], rows[0]["new"]["code"], rows[0]["new"]["policy"]), ("deny", "policy-denied", None))
        self.assertIn("default/allow at mesh.d/b.yaml:9", rows[0]["new"]["reason"])
        asked = [a.split()[1] for a in self.asked if "/authz" in a]  # one question for all, none about what does not change
        self.assertEqual([pairs_of(a) for a in asked],
                         [[(OTHER, "10.0.0.9", "10.0.0.5", "default/server", port) for port in ("8080", "81")]])

    def test_many_pairs(self):
        """A thousand pairs that change: each is answered, in its order, by far fewer questions, none too long"""
        self.mesh(a=SERVER, b=ALLOW)
        answers = lambda target: answer([{**ALLOWED, "reason": f"port {p[4]}"} for p in pairs_of(target)])
        done = self.diff("-o", "json", connections=[flow(OTHER, port=port) for port in range(1, 1001)], authz=answers)
        rows = json.loads(done.stdout)
        self.assertEqual([(r["port"], r["old"]["reason"]) for r in rows], [(port, f"port {port}") for port in range(1, 1001)])
        self.assertLess(len(self.asked), 80)

    def test_text(self):
        self.mesh(a=SERVER, b=ALLOW, c=POLICY.format(name="no", namespace="default", action="DENY", field="principals", value="*/sa/other"))
        text = self.diff(connections=[flow(OTHER), flow()]).stdout
        self.assertEqual(text, f"""DENY   open inbound: would be reset, 1 connection
  from  {OTHER} at 10.0.0.9
  to    default/server at 10.0.0.5:8080
  now   allowed by AuthorizationPolicy default/old rule 0 at old/p.yaml:9
  then  denied by AuthorizationPolicy default/no rule 0 at mesh.d/c.yaml:9

of 2 open connections 1 would be cut; of 0 recent ones 0 would be newly denied, 0 newly allowed
""")

    def test_recent(self):
        """A refused connection that would be let in, one that would be refused, and those that stay as they are"""
        self.mesh(a=SERVER, b=ALLOW)
        refused = [recent(allowed=False, count=5), recent(OTHER, allowed=False)]
        rows = json.loads(self.diff("-o", "json", recents=refused, authz=DENIED).stdout)
        self.assertEqual([(r["change"], r["state"], r["source"], r["count"]) for r in rows], [("allow", "recent", CLIENT, 5)])
        self.assertEqual((rows[0]["old"]["policy"], rows[0]["old"]["at"]), ("default/no", "old/p.yaml:12"))
        self.assertEqual((rows[0]["new"]["policy"], rows[0]["new"]["rule"], rows[0]["new"]["at"]), ("default/allow", 0, "mesh.d/b.yaml:9"))
        self.assertEqual(self.rows(recents=[recent(), recent(OTHER)]), [("deny", "recent", OTHER, 8080, 1)])

    def test_old_verdict_is_the_present_one(self):
        """What was logged under an older world counts for nothing: the daemon is asked what it would say now"""
        self.mesh(a=SERVER, b=ALLOW)
        self.assertEqual(self.rows(recents=[recent(allowed=False, world=3)], authz=ALLOWED), [])
        self.assertEqual(self.rows(recents=[recent(OTHER, world=3)], authz=DENIED), [])
        self.assertEqual(self.rows(recents=[recent(world=3)], authz=DENIED), [("allow", "recent", CLIENT, 8080, 1)])

    def test_plaintext(self):
        strict = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: default}\nspec: {mtls: {mode: STRICT}}\n"
        self.mesh(a=SERVER, b=strict)
        rows = json.loads(self.diff("-o", "json", connections=[flow(None), flow()]).stdout)
        self.assertEqual([(r["source"], r["new"]["code"], r["new"]["kind"], r["new"]["at"]) for r in rows],
                         [(None, "mtls-required", "PeerAuthentication", "mesh.d/b.yaml:4")])

    def test_workload_is_gone(self):
        self.mesh(a=ENTRY.format(name="else", mode="ambient", address="10.0.0.6"))
        rows = json.loads(self.diff("-o", "json", connections=[flow()]).stdout)
        self.assertEqual([(r["change"], r["new"]["reason"]) for r in rows], [("deny", "the workload is not in the directory")])
        # Known neither then nor now: nothing changes.
        self.assertEqual(self.rows(recents=[recent(world=3)], authz=None), [])
        self.mesh(a=SERVER)
        rows = json.loads(self.diff("-o", "json", recents=[recent(world=3)], authz=None).stdout)
        self.assertEqual([(r["change"], r["old"]["reason"]) for r in rows], [("allow", "the workload is not known")])

    def test_outbound(self):
        """Flows that leave are judged when their other end is another node; those within the node are seen inbound"""
        out = flow(OTHER, direction="outbound")
        local = SERVER.replace("  namespace: default\n", "  namespace: default\n  annotations: {ringwall.io/node: node-1}\n")
        self.mesh(a=SERVER.replace("  namespace: default\n", "  namespace: default\n  annotations: {ringwall.io/node: node-2}\n"), b=ALLOW)
        self.assertEqual(self.rows(connections=[out]), [("deny", "open", OTHER, 8080, 1)])
        self.mesh(a=local)
        self.assertEqual(self.rows(connections=[out, flow(None, direction="outbound")]), [])

    def test_outbound_in_plaintext(self):
        """Cut when its destination takes tunnels by now; where plaintext may pass, judged as a peer without identity"""
        out = flow(None, direction="outbound")
        out["src"]["identity"] = CLIENT  # ours; the other end does not know it
        there = SERVER.replace("  namespace: default\n", "  namespace: default\n  annotations: {ringwall.io/node: node-2}\n")
        auth = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: default}\nspec: {mtls: {mode: %s}}\n"
        deny = POLICY.format(name="no", namespace="default", action="DENY", field="notPrincipals", value="*")
        self.mesh(a=there)
        rows = json.loads(self.diff("-o", "json", connections=[out]).stdout)
        self.assertEqual([(r["change"], r["source"], r["plaintext"], r["new"]["reason"]) for r in rows],
                         [("deny", None, True, "the workload is in the mesh and takes tunnels on this port: plaintext to it is refused")])
        self.assertFalse([a for a in self.asked if "/authz" in a])  # nobody else knows better why it is open
        self.assertIn("open outbound in plaintext: would be reset", self.diff(connections=[out]).stdout)
        self.mesh(a=there, b=auth % "DISABLE")
        self.assertEqual(self.rows(connections=[out]), [])
        self.mesh(a=there, b=auth % "DISABLE", c=deny)
        rows = json.loads(self.diff("-o", "json", connections=[out]).stdout)
        self.assertEqual([(r["new"]["policy"], r["new"]["at"]) for r in rows], [("default/no", "mesh.d/c.yaml:9")])
        self.mesh(a=there.replace("ambient", "none"), c=deny)  # outside the mesh nobody enforces it
        self.assertEqual(self.rows(connections=[out]), [])
        self.mesh(a=ENTRY.format(name="else", mode="ambient", address="10.0.0.6"), c=deny)
        self.assertEqual(self.rows(connections=[out]), [])

    def test_ended_outbound_in_plaintext(self):
        """Judged as it would be if it were made again: by a tunnel with our identity, in plaintext without one, or outside the mesh"""
        out = recent(direction="outbound", protocol="TCP", count=4)
        there = SERVER.replace("  namespace: default\n", "  namespace: default\n  annotations: {ringwall.io/node: node-2}\n")
        auth = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: default}\nspec: {mtls: {mode: DISABLE}}\n"
        deny = POLICY.format(name="no", namespace="default", action="DENY", field="%s", value="%s")
        nobody, client = deny % ("notPrincipals", "*"), deny % ("principals", "*/sa/client")
        self.mesh(a=there, b=nobody)
        self.assertEqual(self.rows(recents=[out]), [])
        self.mesh(b=client)
        rows = json.loads(self.diff("-o", "json", recents=[out]).stdout)
        self.assertEqual([(r["change"], r["state"], r["direction"], r["plaintext"], r["source"], r["count"], r["new"]["at"], r["old"]["reason"]) for r in rows],
                         [("deny", "recent", "outbound", True, CLIENT, 4, "mesh.d/b.yaml:9", "it went out when it was logged")])
        self.assertIn("DENY   recent outbound in plaintext, 4 connections", self.diff(recents=[out]).stdout)
        self.mesh(b=client, c=auth)
        self.assertEqual(self.rows(recents=[out]), [])
        self.mesh(b=nobody)
        self.assertEqual([r[:4] for r in self.rows(recents=[out])], [("deny", "recent", CLIENT, 8080)])
        self.mesh(a=there.replace("ambient", "none"), b=client)
        self.assertEqual(self.rows(recents=[out]), [])
        # Logged under an older world: what the daemon would do now counts, tunnel or not.
        self.mesh(a=there, b=client)
        (self.dir / "mesh.d/c.yaml").unlink()
        older = [{**out, "world": 3}]
        for now, expected in (({**DENIED, "enrolled": True, "mtls": "STRICT"}, 0), ({**ALLOWED, "enrolled": True, "mtls": "STRICT"}, 1),
                              ({**DENIED, "enrolled": False, "mtls": "PERMISSIVE"}, 1), ({**DENIED, "enrolled": True, "mtls": "DISABLE"}, 1), (None, 1)):
            self.assertEqual(len(self.rows(recents=older, authz=now)), expected, now)

    def test_settings(self):
        """Root namespace and trust domain are the daemon's, or those of -c"""
        policy = POLICY.format(name="no", namespace="mesh-system", action="DENY", field="principals", value="td.test/ns/default/sa/client")
        self.mesh(a=SERVER, b=policy)
        ours = flow("spiffe://td.test/ns/default/sa/client")
        self.assertEqual(self.rows(connections=[ours]), [])
        config = {"world": 7, "config": {**CONFIG["config"], "trustDomain": "td.test", "rootNamespace": "mesh-system"}}
        self.assertEqual(len(self.rows(connections=[ours], config=config)), 1)
        (self.dir / "node.yaml").write_text("trustDomain: td.test\nrootNamespace: mesh-system\n")
        self.assertEqual(len(json.loads(self.diff("-c", "node.yaml", "-o", "json", connections=[ours]).stdout)), 1)
        config["config"].update(trustDomain="other.test", trustDomainAliases=["td.test"], rootNamespace="mesh-system")
        self.mesh(b=policy.replace("td.test", "other.test"))
        self.assertEqual(len(self.rows(connections=[ours], config=config)), 1)

    def test_errors(self):
        """An invalid directory: lint lines on stderr, nothing on stdout, exit 1; so are a daemon that fails and one that is gone"""
        self.mesh(a=SERVER, b=BROKEN)
        done = self.diff(code=1)
        self.assertEqual(done.stdout, "")
        self.assertIn("mesh.d/b.yaml:7:3: error: ", done.stderr)
        self.diff(code=1, directory="nowhere")
        self.mesh(b=ALLOW)
        done = self.diff(code=1, connections=[flow(OTHER)], authz=answer("no valid configuration yet\n", 503))
        self.assertIn("no valid configuration yet", done.stderr)
        self.assertEqual(done.stdout, "")
        self.answers = {"/": answer("gone\n", 404)}
        self.expect(1, "-s", self.path, "policy", "diff", "mesh.d")
        self.assertIn("is the daemon running?", self.expect(1, "-s", "none.sock", "policy", "diff", "mesh.d").stderr)

    def test_wrong_shapes(self):
        """JSON of another shape makes gaps, never a crash"""
        self.mesh(a=SERVER)
        for shape in ([1, "x", None, [], {}], {"a": 1}, [{"src": "x", "dst": [1], "port": "many", "to": "/", "sourceIp": "x"}],
                      [recent(to="x"), recent(to="/"), recent(to=""), recent("no identity")], "text", 7, None):
            self.answers = {"/debug/configz": answer(json.dumps(shape)), "/authz": lambda target: answer(json.dumps([shape] * len(pairs_of(target))))}
            self.answer = answer(json.dumps(shape))
            self.expect(0, "-s", self.path, "policy", "diff", "mesh.d")
        self.mesh(b=ALLOW)
        done = self.diff(code=1, connections=[flow(OTHER)], authz=answer([]))
        self.assertIn("1 verdicts were asked for, 0 came", done.stderr)


if __name__ == "__main__":
    cli.main()
