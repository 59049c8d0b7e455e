# SPDX-License-Identifier: GPL-3.0-or-later
"""Peers that no distribution packages: Envoy, by the pinned wheel of tests/e2e/peers.py, and a ztunnel that is given.

Envoy's TLS library chooses TLS 1.3's cipher itself and, on processors with AES instructions, AES-128-GCM; no setting of
Envoy's asks for AES-256. That saves it some work on bulk that the others do.
"""

import importlib.util
import json
import pathlib
import shutil

from lab import ROOT, sh
from peers import APP_PORT, APP_PORT_REDIRECTED, Haproxy, Nginx, NoMesh, Pair, Ringwall, Stunnel

_spec = importlib.util.spec_from_file_location("fetched", ROOT / "tests" / "e2e" / "peers.py")
fetched = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fetched)

TLS_KIND = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."


class Envoy(Pair):
    """tcp_proxy on both sides; as many workers as cores, which is its default."""

    name, near_port, far_port = "envoy", 10007, 10008
    path = None

    def missing(self):
        try:
            self.path = fetched.envoy()
        except fetched.Missing as why:
            return str(why)
        return None

    def tls(self, kind, certificate, other):
        p = self.mesh.pki
        common = {"tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3", "ecdh_curves": ["P-256"]},
                  "tls_certificates": [{"certificate_chain": {"filename": str(p / f"{certificate}.pem")},
                                        "private_key": {"filename": str(p / f"{certificate}.key")}}],
                  "validation_context": {"trusted_ca": {"filename": str(p / "root.pem")}, "match_typed_subject_alt_names": [
                      {"san_type": "URI", "matcher": {"exact": f"spiffe://bench/ns/bench/sa/{other}"}}]}}
        context = {"@type": TLS_KIND + kind, "common_tls_context": common}
        if kind == "DownstreamTlsContext":
            common["alpn_protocols"] = ["h2"]
            context.update(require_client_certificate=True, disable_stateless_session_resumption=True)
        else:
            context["max_session_keys"] = 0  # each connection shakes hands in full, as with the others
        return {"name": "envoy.transport_sockets.tls", "typed_config": context}

    def command(self, name, at, port, to, to_port, **tls):
        chain = {"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "it", "cluster": "it", "idle_timeout": "0s"}}]}
        # The default of 1,024 connections is a circuit breaker, not what Envoy can do.
        cluster = {"name": "it", "type": "STATIC", "connect_timeout": "5s",
                   "circuit_breakers": {"thresholds": [{"max_connections": 100000, "max_pending_requests": 100000}]},
                   "load_assignment": {"cluster_name": "it", "endpoints": [{"lb_endpoints": [
                       {"endpoint": {"address": {"socket_address": {"address": to, "port_value": to_port}}}}]}]}}
        if "front" in tls:
            chain["transport_socket"] = tls["front"]
        if "back" in tls:
            cluster["transport_socket"] = tls["back"]
        config = {"node": {"id": name, "cluster": "bench"}, "static_resources": {"clusters": [cluster], "listeners": [
            {"name": "it", "address": {"socket_address": {"address": at, "port_value": port}}, "filter_chains": [chain]}]}}
        return [self.path, "-c", self.file(f"{name}.json", json.dumps(config)), "--disable-hot-restart", "-l", "warning"]

    def near(self):
        return self.command("envoy-near", "127.0.0.1", self.near_port, self.server.ip, self.far_port,
                            back=self.tls("UpstreamTlsContext", "client", "server"))

    def far(self):
        return self.command("envoy-far", self.server.ip, self.far_port, "127.0.0.1", APP_PORT,
                            front=self.tls("DownstreamTlsContext", "server", "client"))


class Ztunnel(Pair):
    """Two ztunnels in dedicated mode, one a pod, from a local file and with the CA that it has for tests.

    The binary must be built with its `testing` feature: without, it has no FAKE_CA, and what would give it certificates is
    a control plane. The client's connections are redirected to it as Istio's node agent does it, by netfilter.
    """

    name, far_port = "ztunnel", 15008
    near_port = 15001

    def __init__(self, mesh, path):
        super().__init__(mesh)
        self.path = path

    def missing(self):
        if not self.path:
            return "no --ztunnel PATH was given"
        if not pathlib.Path(self.path).exists():
            return f"{self.path} is not there"
        return None if shutil.which("nft") else "nft is not installed (Debian's nftables): it redirects connections to ztunnel"

    def without(self, scenario):
        return "its test CA's key is its own, our generator has no certificate of it" if scenario == "handshakes" else None

    @property
    def target(self):
        return f"{self.server.ip}:{APP_PORT_REDIRECTED}"

    def environment(self, near):
        world = {"workloads": [{"uid": name, "name": name, "namespace": "bench", "serviceAccount": name, "trustDomain": "cluster.local",
                                "workloadIps": [pod.ip], "protocol": "HBONE", "node": f"{name}-node", "services": {}}
                               for name, pod in (("client", self.client), ("server", self.server))]}
        name = "client" if near else "server"
        return {"PROXY_MODE": "dedicated", "PROXY_WORKLOAD_INFO": f"bench/{name}/{name}", "NODE_NAME": f"{name}-node", "FAKE_CA": "true",
                "XDS_ADDRESS": "", "CA_ADDRESS": "", "LOCAL_XDS_PATH": str(self.file(f"ztunnel-{name}.yaml", json.dumps(world))),
                "ZTUNNEL_WORKER_THREADS": "0", "IPV6_ENABLED": "false", "ISTIO_META_DNS_CAPTURE": "false", "RUST_LOG": "warn"}

    def near(self):
        return [self.path, "proxy"]

    far = near

    def start(self):
        super().start()
        rules = (f"table ip bench {{ chain out {{ type nat hook output priority -100; "
                 f"ip daddr {self.server.ip} tcp dport {APP_PORT_REDIRECTED} redirect to :{self.near_port}; }} }}")
        sh("nsenter", f"--net={self.client.netns}", "nft", rules)

    def stop(self):
        sh("nsenter", f"--net={self.client.netns}", "nft", "delete table ip bench", check=False)
        super().stop()


def all_peers(mesh, ztunnel=None):
    """In the order in which they are measured. Only one of ringwall's variants runs at a time: they share the nodes."""
    return [
        NoMesh(mesh),
        Haproxy(mesh),
        Nginx(mesh),
        Stunnel(mesh),
        Envoy(mesh),
        Ztunnel(mesh, ztunnel),
        Ringwall(mesh),
        Ringwall(mesh, "ringwall-1-worker", workers=1),
        Ringwall(mesh, "ringwall-cpu-latency", cpuLatency="0us"),
    ]
