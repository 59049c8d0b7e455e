# SPDX-License-Identifier: GPL-3.0-or-later
"""A daemon among others: kubelet's probes, draining, pods that come, go and move, many pods at once."""

import os
import signal
import struct
import subprocess

import hbone
import traffic
from common import expect, expect_equal, pod, scaled, standard_lab
from lab import eventually, setns_path, sh
from tasks import Task

PORT = 9600
CPU_LATENCY, CPU_LATENCY_US = "/dev/cpu_dma_latency", 777777  # so much that it changes nothing for others
STRICT = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}\n"


def lab():
    made = standard_lab("living", start=False)
    for node in made.nodes:
        node.probe_cgroup = node.cgroup / "kubelet"
        node.probe_cgroup.mkdir()
        node.write_config(capture=f"{{cgroup: {node.pods_cgroup}, kubeletCgroup: {node.probe_cgroup}, bpffs: {made.bpffs}}}", drainTimeout="4s",
                          cpuLatency="off" if node is made.nodes[0] else f"{CPU_LATENCY_US}us")
        node.start()
    return made


def probe(node, address, cgroup):
    """A plaintext connection from the node's own namespace, as kubelet makes it: did the pod's program answer?"""
    def enter():
        (cgroup / "cgroup.procs").write_text(str(os.getpid()))
        setns_path(node.netns)
    code = ("import socket,sys\ntry:\n s=socket.create_connection((sys.argv[1],int(sys.argv[2])),5); s.sendall(b'x'); s.settimeout(5)\n"
            " print('answered' if s.recv(1) else 'eof')\nexcept OSError as e: print(type(e).__name__)")
    return subprocess.run(["python3", "-c", code, address, str(PORT)], text=True, capture_output=True, preexec_fn=enter, timeout=20).stdout.strip()


def case_probes(lab):
    """STRICT does not break kubelet's probes: its own connections are let in, any other program's of the node are not"""
    node, server = lab.nodes[1], pod(lab, "server")
    Task(server, traffic.echo_server, PORT).wait_ready()
    lab.apply("strict.yaml", STRICT)
    for address in (server.ip, server.ip6):
        expect_equal(probe(node, address, node.probe_cgroup), "answered", f"a probe of {address} from kubelet's cgroup")
        expect(probe(node, address, node.daemon_cgroup.parent) != "answered", f"plaintext to {address} from elsewhere on the node")
    lab.remove("strict.yaml")


def case_drain(lab):
    """SIGTERM: nothing new, what is open may finish; what does not finish is reset at the deadline; exit 0"""
    client, server, node = pod(lab, "client"), pod(lab, "server"), lab.nodes[1]
    Task(server, traffic.echo_server, PORT).wait_ready()
    finishes = Task(client, traffic.steady, server.ip, PORT, 2).wait_ready()
    node.daemon.signal(signal.SIGTERM)
    eventually("new connections are refused", lambda: Task(client, traffic.try_connect, server.ip, PORT).result() != "ok", 3)
    expect(finishes.result(10) > 0, "the open flow did not run to its end")
    expect_equal(node.daemon.process.wait(20), 0, "exit code once the last flow ended")
    node.start()
    stays = Task(client, traffic.ended_client_silent, server.ip, PORT).wait_ready()
    node.daemon.signal(signal.SIGTERM)
    expect_equal(stays.result(10)[0], "ECONNRESET", "a flow that outlives the deadline")
    expect_equal(node.daemon.process.wait(20), 0, "exit code at the deadline")
    node.start()


def cpu_latency():
    """The bound in force for this machine, in microseconds."""
    with open(CPU_LATENCY, "rb") as device:
        return struct.unpack("i", device.read(4))[0]


def case_cpu_latency(lab):
    """cpuLatency: asked of the kernel while messages come often, taken back when they do not, and gone with a daemon that is killed"""
    client, server, node = pod(lab, "client"), pod(lab, "server"), lab.nodes[1]
    Task(server, traffic.echo_server, PORT).wait_ready()
    eventually("nothing is asked in quiet", lambda: cpu_latency() > CPU_LATENCY_US)
    for end in ("quiet", "killed"):
        talk = Task(client, traffic.ping_pong, server.ip, PORT, 1 << 40, 100).wait_ready()
        eventually("it is asked for", lambda: cpu_latency() == CPU_LATENCY_US)
        if end == "quiet":
            talk.kill()
            eventually("it is taken back", lambda: cpu_latency() > CPU_LATENCY_US)
        else:
            node.daemon.kill()
            expect(cpu_latency() > CPU_LATENCY_US, "a request outlived its daemon")
            talk.kill()
    node.start()


def drained_peer(address, credential, *, ready):
    """A peer of another make with one stream open: what it hears while the other side drains, and if its stream goes on."""
    with hbone.tls(address, credential) as s:
        h = hbone.Http2(s)
        h.request(1, hbone.connect_headers(f"{address}:{PORT}"))
        if h.outcome(1) != "200":
            raise ConnectionError("no stream")
        ready()
        while (got := h.read()) and got[0] != hbone.GOAWAY:
            continue
        if not got:
            return None, None, None
        h.send(hbone.frame(hbone.DATA, hbone.END_STREAM, 1, b"finishing"))
        error, echoed, ended = int.from_bytes(got[3][4:8], "big"), b"", False
        while not ended and (got := h.read()):
            if got[0] == hbone.DATA and got[2] == 1:
                echoed, ended = echoed + got[3], bool(got[1] & hbone.END_STREAM)
        return error, echoed, ended


def case_drain_is_announced(lab):
    """SIGTERM: a peer hears GOAWAY without an error at once, and its open stream may finish"""
    server, node, root = pod(lab, "server"), lab.nodes[1], lab.dir / "root-ca"
    Task(server, traffic.echo_server, PORT).wait_ready()
    credential = hbone.issue(lab.dir / "certs", "peer", (root / "ca-cert.pem", root / "ca-key.pem"), uris=[pod(lab, "client").identity])
    peer = Task(pod(lab, "outsider"), drained_peer, server.ip, credential).wait_ready()
    node.daemon.signal(signal.SIGTERM)
    expect_equal(peer.result(10), (0, b"finishing", True), "GOAWAY's error, the echo, the end of the stream")
    expect_equal(node.daemon.process.wait(20), 0, "exit code")
    node.start()


def case_workload_leaves_and_returns(lab):
    """A workload that leaves the mesh directory is untouched and its flows end; it comes back with the next file"""
    client, server = pod(lab, "client"), pod(lab, "server")
    Task(server, traffic.echo_server, PORT).wait_ready()
    flow = Task(client, traffic.ended_client_silent, server.ip, PORT).wait_ready()
    server.enrolled = None
    lab.apply_workloads(wait=True)
    expect_equal(flow.result(10)[0], "ECONNRESET", "a flow to a workload that left")
    eventually("it is not captured any more", lambda: all(p["name"] != "server" for p in lab.nodes[1].ctl_json("capture")["pods"]))
    expect_equal(Task(client, traffic.try_connect, server.ip, PORT).result(), "ok", "plain TCP to what is now outside the mesh")
    server.enrolled = True
    lab.apply_workloads(wait=True)
    eventually("it is in the mesh again", lambda: Task(client, traffic.try_connect, server.ip, PORT).result() == "ok")
    line = eventually("over mutual TLS", lambda: next((x for x in reversed(lab.nodes[1].access_lines()) if client.identity in x), None))
    expect(server.identity in line, line)


def case_pod_is_not_found(lab):
    """An enrolled Pod of this node, which this version does not find by itself: told by status, and the rest goes on"""
    node = lab.nodes[0]
    lab.apply("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: default, labels: {istio.io/dataplane-mode: ambient}}\n"
              f"spec: {{nodeName: {node.name}, serviceAccountName: web, containers: [{{name: main, image: none}}]}}\n"
              "status: {phase: Running, podIP: 10.99.0.1, podIPs: [{ip: 10.99.0.1}]}\n")
    eventually("the Pod is told of", lambda: "not captured: default/web: netns and cgroup are not known" in node.ctl("status").stdout)
    expect("default/sa/web" not in node.ctl("certs").stdout, "a certificate for a Pod that is not captured")
    for one in lab.nodes:  # nothing that a node could wait for
        expect(one.ctl_json("status")["ready"] is True, f"{one.name} is not ready")
    server = pod(lab, "server")
    Task(server, traffic.echo_server, PORT).wait_ready()
    expect_equal(Task(pod(lab, "client"), traffic.try_connect, server.ip, PORT).result(), "ok", "the client's connect beside it")
    lab.remove("pod.yaml")
    eventually("it is not told any more", lambda: "default/web" not in node.ctl("status").stdout)


def case_identity_changes(lab):
    """Another service account for a running workload: a new certificate, and policies see the new name"""
    intruder, server = pod(lab, "intruder"), pod(lab, "server")
    Task(server, traffic.echo_server, PORT).wait_ready()
    lab.apply("deny.yaml", "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny, namespace: default}\n"
              "spec: {action: DENY, rules: [{from: [{source: {serviceAccounts: [intruder]}}]}]}\n")
    expect(Task(intruder, traffic.try_connect, server.ip, PORT).result() != "ok", "the intruder was let in")
    intruder.service_account = "reformed"
    lab.apply_workloads(wait=True)
    eventually("the new name is let in", lambda: Task(intruder, traffic.try_connect, server.ip, PORT).result() == "ok")
    intruder.service_account = "intruder"
    lab.apply_workloads(wait=True)
    eventually("the old name is not", lambda: Task(intruder, traffic.try_connect, server.ip, PORT).result() != "ok")
    lab.remove("deny.yaml")


def case_large_world(lab):
    """1,000 workloads in the world, two of them here: memory, and a change of one file"""
    text = "---\n".join(
        f"apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata:\n  name: w{i}\n  namespace: far\n  labels: {{istio.io/dataplane-mode: ambient}}\n"
        f"  annotations: {{ringwall.io/node: node-9}}\nspec: {{address: 10.99.{i // 250}.{i % 250 + 1}, serviceAccount: sa{i}}}\n" for i in range(1000))
    before = lab.nodes[0].daemon.rss_kib()
    lab.apply("many.yaml", text)
    expect_equal(len(lab.nodes[0].ctl_json("workloads")), 1005, "workloads in the world")
    print(f"    RSS {before} KiB with 5 workloads, {lab.nodes[0].daemon.rss_kib()} KiB with 1,005")
    eventually("memory grew by less than 32 MiB", lambda: scaled(10) == 1 or lab.nodes[0].daemon.rss_kib() - before < 32 * 1024)
    lab.remove("many.yaml")


def case_version(lab):
    """`ringwall version` names the libraries and the cryptography in use"""
    text = sh(lab.program("ringwall"), "version").stdout
    for word in ("wolfSSL", "AES-NI", "liburing", "nghttp2", "libbpf", "libmicrohttpd"):
        expect(word in text, f"'{word}' is not in\n{text}")
