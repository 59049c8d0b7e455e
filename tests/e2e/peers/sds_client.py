# SPDX-License-Identifier: GPL-3.0-or-later
"""gRPC's own client as an SDS client that does as it is told: one JSON command a line on stdin, one JSON line for each event.

  sds_client.py SOCKET
  {"open": "StreamSecrets"}                         opens the stream
  {"say": {names, nonce, version, error, type, add, gone, have}}   one request
  {"raw": "hex"}                                    any bytes as one message
  {"expect": SECONDS}                               waits for one event: {"response": ...} or {"status": ..., "text": ...} or {}
  {"call": "/path", "body": "hex", "metadata": {}}  a unary call; answers {"body": hex} or its status
  {"close": true}                                   half-closes
Messages are made and read here by hand, so no .proto is needed."""

import json
import queue
import sys
import threading

import grpc

TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
SERVICE = "/envoy.service.secret.v3.SecretDiscoveryService/"


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(data):
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = number()
        if tag & 7 == 0:
            yield tag >> 3, number()
        else:
            n = number()
            yield tag >> 3, data[at:at + n]
            at += n


def first(data, number, default=b""):
    return next((value for n, value in fields(data) if n == number), default)


def world_request(say):
    out = field(1, say["version"]) if say.get("version") else b""
    out += field(2, field(1, "test"))
    out += b"".join(field(3, name) for name in say.get("names", []))
    out += field(4, say.get("type", TYPE))
    out += field(5, say["nonce"]) if say.get("nonce") else b""
    out += field(6, field(1, 3) + field(2, say["error"])) if say.get("error") else b""
    return out


def delta_request(say):
    out = field(1, field(1, "test")) + field(2, say.get("type", TYPE))
    out += b"".join(field(3, name) for name in say.get("add", []))
    out += b"".join(field(4, name) for name in say.get("gone", []))
    out += b"".join(field(5, field(1, name) + field(2, version)) for name, version in say.get("have", {}).items())
    out += field(6, say["nonce"]) if say.get("nonce") else b""
    out += field(7, field(1, 3) + field(2, say["error"])) if say.get("error") else b""
    return out


def secret(data):
    out = {"name": first(data, 1).decode()}
    certificate, validation = first(data, 2), first(data, 4)
    if certificate:
        out["chain"] = first(first(certificate, 1), 2).decode()
        out["key"] = first(first(certificate, 2), 2).decode()
    if validation:
        out["roots"] = first(first(validation, 1), 2).decode()
        out["crl"] = first(first(validation, 7), 2).decode()
        custom = first(validation, 12)
        if custom:
            config = first(first(custom, 2), 2)
            out["validator"] = first(custom, 1).decode()
            out["bundles"] = {first(v, 1).decode(): first(first(v, 2), 2).decode() for n, v in fields(config) if n == 1}
    return out


def response(data, delta):
    secrets = []
    for number, value in fields(data):
        if number != 2:
            continue
        if delta:
            one = secret(first(first(value, 2), 2))
            one["resource"], one["version"] = first(value, 3).decode(), first(value, 1).decode()
        else:
            one = secret(first(value, 2))
        secrets.append(one)
    return {"response": {"version": first(data, 1).decode(), "nonce": first(data, 5).decode(), "secrets": secrets}}


class Stream:
    def __init__(self, channel, kind):
        self.delta = kind == "DeltaSecrets"
        self.outgoing, self.events = queue.Queue(), queue.Queue()
        method = channel.stream_stream(SERVICE + kind, request_serializer=None, response_deserializer=None)
        self.call = method(iter(self.outgoing.get, None))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for message in self.call:
                self.events.put(response(message, self.delta))
            self.events.put({"status": "OK", "text": ""})
        except grpc.RpcError as error:
            self.events.put({"status": error.code().name, "text": error.details()})


def say(event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def main():
    channel = grpc.insecure_channel("unix:" + sys.argv[1], options=[("grpc.max_send_message_length", -1)])
    stream = None
    for text in sys.stdin:
        command = json.loads(text)
        if "open" in command:
            stream = Stream(channel, command["open"])
        elif "say" in command:
            stream.outgoing.put((delta_request if stream.delta else world_request)(command["say"]))
        elif "raw" in command:
            stream.outgoing.put(bytes.fromhex(command["raw"]))
        elif "close" in command:
            stream.outgoing.put(None)
        elif "expect" in command:
            try:
                say(stream.events.get(timeout=command["expect"]))
            except queue.Empty:
                say({})
        elif "call" in command:
            method = channel.unary_unary(command["call"], request_serializer=None, response_deserializer=None)
            try:
                body = method(bytes.fromhex(command.get("body", "")), timeout=command.get("timeout", 40),
                              metadata=tuple(command.get("metadata", {}).items()))
                say({"body": body.hex(), **(response(body, False) if command["call"].startswith(SERVICE) else {})})
            except grpc.RpcError as error:
                say({"status": error.code().name, "text": error.details()})


main()
