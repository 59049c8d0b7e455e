# SPDX-License-Identifier: GPL-3.0-or-later
"""istio.v1.auth.IstioCertificateService by gRPC's own Python and Google's protobuf: a client, or a CA that openssl signs for.

  istio_ca.py client                                commands on stdin, answers on stdout, a JSON object a line
  istio_ca.py server ADDRESS CERT KEY CA_CERT CA_KEY ROOTS [INTERMEDIATE...]
                                                    the way it answers on stdin, a line for each call on stdout
"""

import base64
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

PATH = "/istio.v1.auth.IstioCertificateService/CreateCertificate"


def _messages():
    """The two messages with their field numbers, as facts of the service and not from our own files."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="citadel.proto", package="istio.v1.auth", syntax="proto3",
                                              dependency=["google/protobuf/struct.proto"])
    request = file.message_type.add(name="IstioCertificateRequest")
    request.field.add(name="csr", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    request.field.add(name="validity_duration", number=3, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    request.field.add(name="metadata", number=4, type=field.TYPE_MESSAGE, label=field.LABEL_OPTIONAL, type_name=".google.protobuf.Struct")
    response = file.message_type.add(name="IstioCertificateResponse")
    response.field.add(name="cert_chain", number=1, type=field.TYPE_STRING, label=field.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    get = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(pool).GetPrototype
    return [get(pool.FindMessageTypeByName(f"istio.v1.auth.IstioCertificate{name}")) for name in ("Request", "Response")]


Request, Response = _messages()


def say(**what):
    print(json.dumps(what), flush=True)


# ---- the client ----


def credentials(command):
    read = lambda name: pathlib.Path(command[name]).read_bytes() if command.get(name) else None  # noqa: E731
    return grpc.ssl_channel_credentials(read("roots"), read("key"), read("cert"))


def call(command):
    options = [("grpc.ssl_target_name_override", command["name"])] if command.get("name") else []
    with grpc.secure_channel(command["address"], credentials(command), options) as channel:
        method = channel.unary_unary(command.get("path", PATH))
        if "raw" in command:
            body = base64.b64decode(command["raw"])
        else:
            request = Request(csr=command.get("csr", ""), validity_duration=command.get("validity", 0))
            for key, value in command.get("metadata", {}).items():
                request.metadata[key] = value
            body = request.SerializeToString()
        headers = [("clusterid", "Kubernetes")]
        if "token" in command:
            headers.append(("authorization", command.get("scheme", "Bearer ") + command["token"]))
        try:
            answer = method(body, metadata=headers, timeout=command.get("timeout", 20))
        except grpc.RpcError as error:
            return {"code": error.code().name, "details": error.details()}
        return {"code": "OK", "chain": list(Response.FromString(answer).cert_chain)}


def client():
    for line in sys.stdin:
        try:
            say(**call(json.loads(line)))
        except Exception as error:  # the test must hear of it
            say(code="BROKEN", details=repr(error))


# ---- the CA ----


class Ca:
    def __init__(self, cert, key, roots, intermediates):
        self.cert, self.key = cert, key
        self.roots = pathlib.Path(roots).read_text()
        self.intermediates = [pathlib.Path(i).read_text() for i in intermediates]
        self.mode, self.gone = "good", threading.Event()

    def sign(self, csr, identity, seconds):
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            (work / "csr.pem").write_text(csr)
            (work / "ext").write_text(
                "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n"
                f"extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=critical,URI:{identity}\n")
            (work / "index").write_text("")
            (work / "ca.conf").write_text(f"[ca]\ndefault_ca=c\n[c]\ndatabase={work}/index\nnew_certs_dir={work}\nrand_serial=yes\n"
                                          "default_md=sha256\npolicy=p\nunique_subject=no\n[p]\norganizationName=optional\n")
            at = lambda offset: time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + offset))  # noqa: E731
            subprocess.run(["openssl", "ca", "-batch", "-notext", "-config", work / "ca.conf", "-cert", self.cert, "-keyfile", self.key,
                            "-in", work / "csr.pem", "-out", work / "leaf.pem", "-subj", "/O=leaf", "-startdate", at(-60), "-enddate", at(seconds),
                            "-extfile", work / "ext"], check=True, capture_output=True)
            return (work / "leaf.pem").read_text()

    def create(self, body, context):
        request = Request.FromString(body)
        identity = request.metadata["ImpersonatedIdentity"] if "ImpersonatedIdentity" in request.metadata else ""
        headers = dict(context.invocation_metadata())
        mode = self.mode
        say(identity=identity, validity=request.validity_duration, authorization=headers.get("authorization"),
            clusterid=headers.get("clusterid"), peer=context.peer(), mode=mode)
        if mode == "refuse":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "request impersonation authentication failure")
        if mode == "hang":
            self.gone.wait(60)
        if mode == "other":
            identity = identity.rsplit("/", 1)[0] + "/somebody-else"
        leaf = self.sign(request.csr, identity, request.validity_duration or 3600)
        chain = [leaf, *self.intermediates, self.roots]
        if mode == "no-roots":
            chain = [leaf]
        return Response(cert_chain=chain).SerializeToString()


def server(address, cert, key, ca_cert, ca_key, roots, *intermediates):
    ca = Ca(ca_cert, ca_key, roots, intermediates)
    handler = grpc.unary_unary_rpc_method_handler(ca.create)
    service = grpc.method_handlers_generic_handler("istio.v1.auth.IstioCertificateService", {"CreateCertificate": handler})
    running = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    running.add_generic_rpc_handlers((service,))
    pair = (pathlib.Path(key).read_bytes(), pathlib.Path(cert).read_bytes())
    if running.add_secure_port(address, grpc.ssl_server_credentials((pair,))) == 0:
        sys.exit(f"cannot listen on {address}")
    running.start()
    say(listening=address)
    for line in sys.stdin:
        ca.mode = line.strip()
        say(mode_is=ca.mode)
    ca.gone.set()
    running.stop(0)


if __name__ == "__main__":
    {"client": client, "server": server}[sys.argv[1]](*sys.argv[2:])
