# SPDX-License-Identifier: GPL-3.0-or-later
"""ringwall's main job on real traffic: two nodes, four pods, real curl and nginx; every step is a check.

Each check that holds prints a tick. The first that does not prints what was expected and what was seen, and ends with 1.
"""

import argparse
import atexit
import contextlib
import re
import signal
import sys
import time

from lab import Lab, LabError, clear_remains, eventually, sh
from pcap import Capture

MARKER = "the-marker-that-must-never-cross-the-link"
PORT = 8080

STRICT = """apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: default
  namespace: istio-system
spec:
  mtls:
    mode: STRICT
"""

ALLOW_CLIENT = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: only-client
  namespace: default
spec:
  selector:
    matchLabels:
      app: server
  action: ALLOW
  rules:
  - from:
    - source:
        principals: ["cluster.local/ns/default/sa/client"]
    to:
    - operation:
        ports: ["8080"]
"""

BROKEN = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: broken
  namespace: default
spec:
  acton: DENY
"""

NGINX = f"""daemon off;
user root;
worker_processes 1;
pid {{dir}}/nginx.pid;
error_log {{dir}}/nginx-error.log;
events {{{{ worker_connections 1024; }}}}
http {{{{
  access_log off;
  client_body_temp_path {{dir}}/body; proxy_temp_path {{dir}}/proxy; fastcgi_temp_path {{dir}}/fastcgi;
  uwsgi_temp_path {{dir}}/uwsgi; scgi_temp_path {{dir}}/scgi;
  server {{{{
    listen {PORT}; listen [::]:{PORT};
    location / {{{{ return 200 "{MARKER} client=$remote_addr\\n"; }}}}
    location /large {{{{ alias {{dir}}/large; limit_rate 200k; }}}}
  }}}}
}}}}
"""

BOLD, DIM, GREEN, RED, OFF = ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m") if sys.stdout.isatty() else [""] * 5


def title(text):
    print(f"\n{BOLD}{text}{OFF}", flush=True)


def tick(text):
    print(f"  {GREEN}✓{OFF} {text}", flush=True)


def show(text):
    """What a tick is about, in the program's own words."""
    for line in text.strip().splitlines():
        print(f"      {DIM}{line}{OFF}", flush=True)


def expect(condition, text, seen=""):
    if not condition:
        raise LabError(f"{text}\n    seen: {seen}" if seen else text)
    tick(text)


class Quickstart:
    def __init__(self, lab):
        self.lab = lab
        self.one, self.two = lab.node(1), lab.node(2)
        self.client = self.one.pod("client", 11, service_account="client")
        self.client2 = self.one.pod("client2", 12, service_account="client", by_pid=True)
        self.intruder = self.one.pod("intruder", 13, service_account="intruder")
        self.server = self.two.pod("server", 21, service_account="server")
        self.link = "link2"
        self.url = f"http://{self.server.ip}:{PORT}/"
        self.url6 = f"http://[{self.server.ip6}]:{PORT}/"

    def start_nginx(self):
        d = self.lab.dir / "nginx"
        d.mkdir()
        # Every word of the file is the marker, so any cleartext of it on the link is found.
        (d / "large").write_bytes((MARKER + "\n").encode() * 1_000_000)
        (d / "nginx.conf").write_text(NGINX.format(dir=d))
        self.server.popen("nginx", "-c", d / "nginx.conf", "-e", d / "nginx-error.log")
        eventually("nginx listens", lambda: f":{PORT} " in self.server.run("ss", "-Hltn").stdout)

    def get(self, pod, url=None, *options):
        done = pod.curl(url or self.url, *options)
        return done.stdout if done.returncode == 0 else f"curl exit {done.returncode}: {done.stderr.strip()}"

    def from_outside(self):
        """A program of node-2 itself, which is no workload."""
        return sh("nsenter", f"--net={self.two.netns}", "curl", "-sS", "--max-time", "5", self.url, check=False)

    def plain_traffic(self):
        title("Without the mesh")
        with Capture(self.lab, self.one, self.link) as seen:
            body = self.get(self.client)
            expect(MARKER in body, "curl in pod client gets the page of nginx in pod server on the other node", body)
        expect(seen.has_bytes(MARKER.encode()), "a packet capture on the link between the nodes shows the page's text")

    def start_mesh(self):
        title("Two daemons, one CA root")
        self.lab.make_ca()
        tick("ringwallctl ca init made the root, ca issue-node a signing certificate for each node")
        for node in self.lab.nodes:
            node.write_config()
        self.lab.apply_workloads()
        for node in self.lab.nodes:
            node.start()
        tick("ringwall run: node-1 and node-2 are ready")

    def meshed_traffic(self):
        title("With the mesh")
        with Capture(self.lab, self.one, self.link) as seen:
            for url, family, own in ((self.url, "IPv4", "ip"), (self.url6, "IPv6", "ip6")):
                for pod in (self.client, self.client2):
                    body = self.get(pod, url)
                    expect(f"client={getattr(pod, own)}\n" in body and MARKER in body,
                           f"{pod.name} gets the page over {family}, and nginx sees the pod's own address {getattr(pod, own)}", body)
            ends = self.get(self.client, self.url, "-o", "/dev/null", "-w", "%{remote_ip}:%{remote_port} %{local_ip}")
            expect(ends == f"{self.server.ip}:{PORT} {self.client.ip}",
                   "curl's socket sees the address it asked for, and the pod's address as its own", ends)
        expect(not seen.has_bytes(MARKER.encode()), "the page's text never crosses the link")
        expect(seen.ports() == {15008}, "the link carries TCP port 15008 only", seen.ports())
        expect(seen.tls_versions() == {"TLS 1.3"}, "and there TLS 1.3 only", seen.tls_versions())

    def identities(self):
        title("Who talks to whom")
        slow = self.client.popen("curl", "-sS", "-o", "/dev/null", f"{self.url}large")
        both = (self.client.identity, self.server.identity)
        for node in self.lab.nodes:
            # The peer's identity is known once the tunnel stands, a moment after the connection is listed.
            eventually(f"ringwallctl connections on {node.name} lists the open connection with both identities",
                       lambda n=node: all(i in n.ctl("connections").stdout for i in both))
            tick(f"ringwallctl connections on {node.name} names both SPIFFE identities")
        slow.kill()
        slow.wait()
        for node in self.lab.nodes:
            line = eventually("the access log has the connection", lambda n=node: next((x for x in n.access_lines() if all(i in x for i in both)), None))
            expect(line, f"the access log of {node.name} names both")
        certs = self.one.ctl("certs").stdout
        expect(all(p.identity in certs for p in (self.client, self.intruder)), "ringwallctl certs shows a certificate for each local identity", certs)
        expect(self.server.identity in self.two.ctl("certs").stdout, "and on node-2 the server's")

    def strict(self):
        title("PeerAuthentication STRICT, put in place by renaming a file")
        done = self.from_outside()
        expect(MARKER in done.stdout, "before: plaintext from outside the mesh is served", done.stderr)
        self.lab.apply("strict.yaml", STRICT)
        eventually("plaintext from outside the mesh is refused", lambda: MARKER not in self.from_outside().stdout, 1)
        done = self.from_outside()
        expect(done.returncode != 0 and MARKER not in done.stdout, "after: plaintext from outside the mesh is refused", done.stdout)
        body = self.get(self.client)
        expect(MARKER in body, "the mesh goes on", body)

    def policy(self):
        title("An AuthorizationPolicy that allows only client")
        body = self.get(self.intruder)
        expect(MARKER in body, "before: intruder gets the page", body)
        download = self.intruder.popen("curl", "-s", "-o", "/dev/null", f"{self.url}large")
        eventually("the intruder's download runs", lambda: self.intruder.identity in str(self.two.ctl_json("connections")))
        began = time.monotonic()
        self.lab.apply("only-client.yaml", ALLOW_CLIENT, wait=False)
        eventually("the intruder's open connection is cut", lambda: download.poll() is not None, 5)
        expect(download.returncode != 0, f"an open connection of the intruder is cut (curl exit {download.returncode})")
        eventually("intruder is refused", lambda: MARKER not in self.get(self.intruder), 1)
        took = time.monotonic() - began
        expect(took < 1, f"intruder is refused within one second ({took:.2f} s)")
        body = self.get(self.client)
        expect(MARKER in body, "client still gets the page", body)
        line = eventually("the denial is logged", lambda: next((x for x in self.two.access_lines() if "policy-denied" in x and self.intruder.identity in x), None))
        why = re.search(r'error=.* policy="default/only-client" rule=0 at="\S+only-client\.yaml:\d+"', line)
        expect(why, "the log says why: policy, rule, file and line", line)
        show(why.group())
        walk = self.two.ctl("authz", "check", "--source", self.intruder.identity, "--source-ip", self.intruder.ip, "--to", "default/server",
                            "--port", PORT, check=False)
        expect(walk.returncode == 3, "ringwallctl authz check explains the same verdict", walk.stdout + walk.stderr)
        show(walk.stdout.splitlines()[0])

    def broken_file(self):
        title("A file with an error")
        before = self.two.ctl_json("status")["world"]
        self.lab.apply("broken.yaml", BROKEN)
        status = self.two.ctl("status").stdout
        expect(re.search(r"broken\.yaml:7:\d+", status), "ringwallctl status shows file:line:column", status)
        expect('did you mean "action"' in status, "and what to write instead", status)
        show(next(line for line in status.splitlines() if "broken.yaml:7:" in line))
        expect(self.two.ctl_json("status")["world"] == before and MARKER in self.get(self.client) and MARKER not in self.get(self.intruder),
               "the last good world stays in force")
        self.lab.remove("broken.yaml")

    def killed(self):
        title("SIGKILL to a daemon")
        self.one.daemon.kill()
        with Capture(self.lab, self.one, self.link) as seen:
            body = self.get(self.client)
            expect(MARKER not in body, "node-1's daemon is gone: connections are refused", body)
        expect(seen.ports() == set(), "and nothing passes in plaintext", seen.ports())
        self.one.start()
        body = self.get(self.client)
        expect(MARKER in body, "after a restart it works again", body)

    def drained(self):
        title("SIGTERM")
        for node in reversed(self.lab.nodes):
            code = node.daemon.stop()
            expect(code == 0, f"{node.name}'s daemon drains and ends with 0", node.daemon.tail())

    def run(self):
        self.start_nginx()
        self.plain_traffic()
        self.start_mesh()
        self.meshed_traffic()
        self.identities()
        self.strict()
        self.policy()
        self.broken_file()
        self.killed()

    def look_around(self):
        one, two = (f"{self.lab.program('ringwallctl')} -s {node.socket}" for node in (self.one, self.two))
        enter = f"echo $$ > {self.client.leaf_cgroup}/cgroup.procs; exec nsenter --net={self.client.netns}"
        print(f"""
{BOLD}The mesh keeps running.{OFF} Look around in another terminal, as root:
  {one} status
  {two} policies
  {two} connections
  {two} authz check --source {self.intruder.identity} --to default/server --port {PORT}

The page, as pod client; and a shell in it:
  sh -c '{enter} curl -sS {self.url}'
  sh -c '{enter} sh'

Change a manifest, and see what the daemon says to it:
  manifests   {self.one.mesh_dir}  {self.two.mesh_dir}
  log         {self.two.log}
  access log  {self.two.access_log}

Ctrl-C ends it and cleans up.""", flush=True)
        with contextlib.suppress(SystemExit):  # what the lab makes of Ctrl-C
            signal.pause()


def play(lab, keep):
    quickstart = Quickstart(lab)
    quickstart.run()
    if keep:
        quickstart.look_around()
    else:
        quickstart.drained()


def main():
    parser = argparse.ArgumentParser(prog="deploy/quickstart", description="ringwall's main job on real traffic, step by step")
    parser.add_argument("--keep", action="store_true", help="leave the mesh running at the end and say how to look around")
    arguments = parser.parse_args()
    began = time.monotonic()
    # Last in, first out: this is said when the lab's own clean-up is over.
    ending = ["interrupted"]
    atexit.register(lambda: print(f"\n{ending[0]}; everything is cleaned up", flush=True) if ending else None)
    lab = None
    try:
        clear_remains("quickstart")
        lab = Lab("quickstart")
        play(lab, arguments.keep)
    except LabError as error:
        if lab and lab.signal:
            return 128 + lab.signal  # Ctrl-C ends the programs too, so a step may fail before we hear of it
        ending[:] = ["not every check held"]
        print(f"  {RED}✗{OFF} {error}", file=sys.stderr, flush=True)
        return 1
    ending[:] = ["every check held" if arguments.keep else f"every check held, in {time.monotonic() - began:.0f} s"]
    return 0


if __name__ == "__main__":
    sys.exit(main())
