# SPDX-License-Identifier: GPL-3.0-or-later
"""Goal: what a daemon answers becomes the right table, JSON and exit code, and what is no whole answer is refused.
Method: a server on a Unix socket that answers whatever the test wants; what was asked is kept."""

import json
import os
import socket
import threading

import cli

STATUS = {
    "node": "node-1", "version": "9.9", "ready": False, "why": "1 of 2 workloads captured", "world": 3,
    "config": {"attempts": 5, "refused": True, "loadedAt": "2026-01-01T00:00:00Z", "workloads": 2, "services": 0, "policies": 1,
               "peerAuthentications": 0, "errorCount": 1, "warningCount": 0,
               "errors": [{"file": "mesh.d/b.yaml", "line": 7, "column": 3, "severity": "error", "text": "unknown key; did you mean \"action\"?"}]},
    "identity": {"identities": 2, "available": 1},
    "capture": {"mode": "ebpf", "pods": [{"namespace": "a", "name": "b", "captured": True},
                                         {"namespace": "a", "name": "c", "captured": False, "why": "no\x1b[31m netns"}]},
    "workers": [{"flowsOpen": 2, "tunnelsOpen": 1}, {"flowsOpen": 3, "tunnelsOpen": 1}],
}
FLOW = {"id": 1, "worker": 0, "direction": "outbound", "protocol": "HBONE", "state": "relay",
        "src": {"addr": "10.0.0.1:5", "identity": "spiffe://td/ns/a/sa/b"},
        "dst": {"addr": "10.0.0.2:15008", "hboneAddr": "10.0.0.2:80", "identity": "spiffe://td/ns/a/sa/c"},
        "bytesSent": 7, "bytesReceived": 8, "durationMs": 9}

DENIAL = {"time": "2026-01-02T03:04:05.000006Z", "worker": 1, "world": 3, "direction": "inbound", "protocol": "HBONE",
          "src": {"addr": "10.0.0.1:5", "identity": "spiffe://td/ns/a/sa/b", "workload": "b", "namespace": "a"},
          "dst": {"addr": "10.0.0.2:80", "workload": "c", "namespace": "a"},
          "reason": "policy-denied", "text": "denied by policy", "policy": "a/no", "rule": 2, "at": "mesh.d/b.yaml:9"}


def answer(body, status=200, headers=(), length=None):
    data = body if isinstance(body, bytes) else (json.dumps(body) if not isinstance(body, str) else body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(data) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class FakeDaemon(cli.Cli):
    def setUp(self):
        super().setUp()
        self.path, self.asked, self.answer = self.dir / "admin.sock", [], b""
        self.answers = {}  # by the path's beginning; else self.answer
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(self.path))
        self.server.listen(8)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        self.addCleanup(self.end)

    def end(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.server.close()

    def serve(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    piece = connection.recv(4096)
                    if not piece:
                        break
                    request += piece
                self.asked.append(request.decode().split("\r\n")[0])
                try:
                    target = self.asked[-1].split()[1]
                    found = next((a for path, a in self.answers.items() if target.startswith(path)), self.answer)
                    connection.sendall(found(target) if callable(found) else found)
                except OSError:
                    pass

    def ask(self, code, answered, *arguments):
        self.answer = answered
        return self.expect(code, "-s", self.path, *arguments)


class Daemon(FakeDaemon):
    def test_status(self):
        text = self.ask(0, answer(STATUS), "status").stdout
        for part in ("node-1", "9.9", "no: 1 of 2 workloads captured", "1 of 2 workloads of this node", "1 of 2 identities",
                     "5 open, in 2 tunnels", "last good world stays in force", "mesh.d/b.yaml:7:3: error: unknown key"):
            self.assertIn(part, text)
        self.assertNotIn("\x1b", text)
        self.assertTrue(text.rstrip().splitlines()[-1].startswith("mesh.d/b.yaml:7:3:"))
        self.assertEqual(json.loads(self.ask(0, answer(STATUS), "status", "-o", "json").stdout), STATUS)
        self.assertEqual(self.asked[-1], "GET /status HTTP/1.0")

    def test_status_of_the_ca(self):
        """A refused CA directory or key set, and a signing certificate that was taken back, are in the table"""
        for ca, part in (({"lastError": "/x/ca-cert.pem: is\x1b[31m spoiled"}, "ca            /x/ca-cert.pem: is"),
                         ({"tokenKeysError": "cannot be read"}, "cannot be read"), ({"error": "no\nanswer"}, "ca            no"),
                         ({"signingRevoked": True}, "signing certificate is revoked")):
            text = self.ask(0, answer({**STATUS, "ca": ca}), "status").stdout
            self.assertIn(part, text)
            self.assertNotIn("\x1b", text)
        self.assertNotIn("\nca  ", self.ask(0, answer({**STATUS, "ca": {"signingRevoked": False, "issued": 4}}), "status").stdout)

    def test_status_with_gaps(self):
        """Parts that the daemon could not get are no reason to fail"""
        self.ask(0, answer({**STATUS, "config": None, "identity": None, "capture": None, "incomplete": ["config"]}), "status")
        self.ask(0, answer({}), "status")

    def test_tables(self):
        for command, rows, parts in (
            ("connections", [FLOW], ("SOURCE IDENTITY", "spiffe://td/ns/a/sa/b", "spiffe://td/ns/a/sa/c", "10.0.0.2:80", "HBONE")),
            ("denials", [DENIAL], ("2026-01-02T03:04:05.000006Z", "spiffe://td/ns/a/sa/b", "policy-denied", "a/no", "mesh.d/b.yaml:9", "10.0.0.2:80")),
            ("workloads", [{"namespace": "a", "name": "b", "workloadIps": ["10.0.0.1", "fd00::1"], "mtlsMode": "STRICT"}],
             ("10.0.0.1,fd00::1", "STRICT")),
            ("services", [{"namespace": "a", "name": "b", "vips": ["/10.5.0.1"], "portList": ["80:8080"], "readyEndpoints": 1, "allEndpoints": 2}],
             ("80:8080", "/10.5.0.1")),
            ("policies", [{"kind": "PeerAuthentication", "namespace": "a", "name": "b", "mode": "STRICT", "at": "f:1"}], ("STRICT", "f:1")),
            ("certs", [{"identity": "spiffe://x", "state": "Available", "nextRotation": "soon", "certChain": [
                {"type": "Leaf", "serialNumber": "ab", "expirationTime": "2026", "validFrom": "2025"}], "rootCerts": []},
                {"identity": "spiffe://y", "state": "Initializing"}], ("spiffe://x", "soon", "spiffe://y", "Initializing")),
        ):
            text = self.ask(0, answer(rows), command).stdout
            for part in parts:
                self.assertIn(part, text)
            self.assertEqual(json.loads(self.ask(0, answer(rows), command, "-o", "json").stdout), rows)
            self.assertEqual(json.loads(self.ask(0, answer("[]\n"), command, "-o", "json").stdout), [])
            done = self.ask(0, answer([]), command)
            self.assertEqual((done.stdout, done.stderr), ("", "none\n"))
        capture = {"mode": "ebpf", "originalDestinations": 4, "pods": STATUS["capture"]["pods"], "counters": {"connects": 12}}
        text = self.ask(0, answer(capture), "capture").stdout
        self.assertIn("12  connects seen", text)
        self.assertNotIn("\x1b", text)

    def test_incomplete(self):
        """Who did not answer is named on stderr; the rest is shown"""
        done = self.ask(0, answer([FLOW], headers=["Ringwall-Incomplete: worker 1, identity"]), "connections", "-o", "json")
        self.assertEqual(json.loads(done.stdout), [FLOW])
        self.assertIn("no answer in time from worker 1, identity", done.stderr)

    def test_authz(self):
        reply = {"verdict": "deny", "reason": "denied", "kind": None, "policy": None, "rule": None, "at": None, "mtls": "STRICT",
                 "enrolled": True, "source": None, "sourceIp": None, "to": "a/b", "port": 80, "walk": []}
        line = ("authz", "check", "--source", "spiffe://td/ns/a/sa/b", "--source-ip", "10.0.0.1", "--to", "a/b", "--port", "80")
        self.assertEqual(json.loads(self.ask(3, answer(reply), *line, "-o", "json").stdout), reply)
        self.assertEqual(self.asked[-1], "GET /authz?source=spiffe%3A//td/ns/a/sa/b&sourceIp=10.0.0.1&to=a/b&port=80 HTTP/1.0")
        self.assertTrue(self.ask(0, answer({**reply, "verdict": "allow"}), *line).stdout.startswith("ALLOW"))
        self.assertIn("no such workload", self.ask(2, answer("no such workload\n", 404), *line).stderr)
        self.ask(1, answer("no valid configuration yet\n", 503), *line)
        self.ask(1, answer("not JSON"), *line)
        self.ask(3, answer({}), *line)  # what is no "allow" is none
        self.ask(0, answer({"mode": "STRICT", "policy": "a/b", "at": "f:1"}), "authn", "tls-check", "--to", "a/b")
        self.assertEqual(self.asked[-1], "GET /tls?to=a/b HTTP/1.0")

    def test_acts(self):
        self.assertIn("debug", self.ask(0, answer("log level is debug\n"), "log-level", "debug").stdout)
        self.assertEqual(self.asked[-1], "POST /logging?level=debug HTTP/1.0")
        self.ask(0, answer("log level is info\n"), "log-level")
        self.assertEqual(self.asked[-1], "POST /logging HTTP/1.0")
        self.ask(0, answer("draining\n"), "drain")
        self.assertEqual(self.asked[-1], "POST /quitquitquit HTTP/1.0")
        self.assertIn("only root", self.ask(1, answer("only root\n", 403), "drain").stderr)
        self.assertEqual(json.loads(self.ask(0, answer({"node": "x"}), "dump").stdout), {"node": "x"})
        self.ask(0, answer("x"), "log-level", "a b&c=%\r\n")
        self.assertEqual(self.asked[-1], "POST /logging?level=a%20b%26c%3D%25%0D%0A HTTP/1.0")

    def test_no_whole_answer(self):
        """A cut or foreign answer is exit 1 and nothing on stdout"""
        whole = answer([FLOW])
        for bad in (b"", b"\0", b"SSH-2.0-x\r\n\r\n", whole[:-1], whole[:20], whole + b"x", answer([], length="x"), answer([], length=-1),
                    b"HTTP/1.1 200 X\r\n\r\n[]", b"HTTP/1.1 abc X\r\nContent-Length: 2\r\n\r\n[]", b"HTTP/1.1 200 X\r\nX: " + b"y" * 40000):
            for form in ("json", "table"):
                done = self.ask(1, bad, "connections", "-o", form)
                self.assertEqual(done.stdout, "")
                self.assertTrue(done.stderr)
        for bad in ("{", "[1,", "", "[" * 5000):
            self.assertEqual(self.ask(1, answer(bad), "connections").stdout, "")

    def test_errors_of_the_daemon(self):
        for status in (400, 403, 404, 431, 500, 503):
            done = self.ask(1, answer("what is wrong\n", status), "certs")
            self.assertIn("what is wrong", done.stderr)
            self.assertNotIn("?", done.stderr)

    def test_wrong_shapes(self):
        """JSON of another shape than we know makes gaps, never a crash"""
        for shape in ([1, "x", None, [], {}], {"a": 1}, [{"src": "x", "dst": [1], "bytesSent": "many", "certChain": {"x": 1}}], "text", 7, None):
            for command in ("connections", "denials", "workloads", "services", "policies", "certs", "capture", "status"):
                self.ask(0, answer(json.dumps(shape)), command)

    def test_full_disk(self):
        """An answer that could not be written is no success"""
        self.answer = answer([FLOW])
        with open("/dev/full", "wb") as full:
            done = cli.subprocess.run([cli.PROGRAM, "-s", str(self.path), "connections", "-o", "json"], stdout=full, stderr=cli.subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot write", done.stderr)

    def test_closed_pipe(self):
        read, write = os.pipe()
        os.close(read)
        self.answer = answer([FLOW])
        done = cli.subprocess.run([cli.PROGRAM, "-s", str(self.path), "connections"], stdout=write, stderr=cli.subprocess.PIPE)
        os.close(write)
        self.assertNotEqual(done.returncode, 0)


if __name__ == "__main__":
    cli.main()
