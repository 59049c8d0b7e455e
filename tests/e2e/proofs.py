# SPDX-License-Identifier: GPL-3.0-or-later
"""What callers of the CA's door show, good and bad: service account tokens with their key sets, and certificate requests whose
names openssl would not write. Keys and signatures are openssl's."""

import base64
import hashlib
import hmac
import json
import subprocess
import time

from lab import sh

# ---- DER, as much of it as a request needs ----


def der(tag, *parts):
    body = b"".join(parts)
    if len(body) < 128:
        return bytes((tag, len(body))) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def read_der(data):
    """(tag, body, rest)"""
    length, at = data[1], 2
    if length & 0x80:
        at += length & 0x7F
        length = int.from_bytes(data[2:at], "big")
    return data[0], data[at:at + length], data[at + length:]


def openssl(*arguments, data=b""):
    done = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.decode(errors='replace')}")
    return done.stdout


class Key:
    def __init__(self, directory, name, kind="EC", bits=2048):
        directory.mkdir(exist_ok=True)
        self.kind, self.path = kind, directory / f"{name}.key"
        if kind == "EC":
            sh("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.path)
        else:
            sh("openssl", "genrsa", "-out", self.path, bits)
        self.public = openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")

    def sign(self, data):
        return openssl("dgst", "-sha256", "-sign", self.path, data=data)

    def public_pem(self):
        return openssl("pkey", "-in", self.path, "-pubout")


def pem(label, data):
    text = base64.b64encode(data).decode()
    lines = [text[i:i + 64] for i in range(0, len(text), 64)]
    return f"-----BEGIN {label}-----\n" + "\n".join(lines) + f"\n-----END {label}-----\n"


def csr(key, names=(), signer=None):
    """A request with these GeneralNames, (tag, bytes) each; none: without an extension."""
    attributes = b""
    if names:
        san = der(0x30, *(der(tag, value) for tag, value in names))
        extension = der(0x30, b"\x06\x03\x55\x1d\x11", b"\x01\x01\xff", der(0x04, san))
        attributes = der(0x30, b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e", der(0x31, der(0x30, extension)))
    info = der(0x30, b"\x02\x01\x00", der(0x30), key.public, der(0xA0, attributes))
    algorithm = (b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02" if key.kind == "EC"
                 else b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00")
    return pem("CERTIFICATE REQUEST", der(0x30, info, algorithm, der(0x03, b"\x00", (signer or key).sign(info))))


def uri(text):
    return (0x86, text if isinstance(text, bytes) else text.encode())


# ---- tokens ----


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


def _integers(signature):
    """r and s of an ECDSA signature in DER, as the 64 bytes that a token has."""
    _, body, _ = read_der(signature)
    _, r, body = read_der(body)
    _, s, _ = read_der(body)
    return b"".join(int.from_bytes(i, "big").to_bytes(32, "big") for i in (r, s))


class Issuer:
    """Signs tokens as a cluster's API server does."""

    def __init__(self, directory, name="https://kubernetes.default.svc"):
        self.name = name
        self.keys = {"rsa-1": Key(directory, "token-rsa", "RSA"), "ec-1": Key(directory, "token-ec")}
        self.stranger = Key(directory, "token-stranger")

    def jwks(self):
        keys = []
        for kid, key in self.keys.items():
            if key.kind == "RSA":
                modulus = openssl("rsa", "-in", key.path, "-noout", "-modulus").decode().strip().split("=")[1]
                keys.append({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": b64(bytes.fromhex(modulus)), "e": "AQAB"})
            else:
                point = key.public[-64:]
                keys.append({"kty": "EC", "use": "sig", "alg": "ES256", "kid": kid, "crv": "P-256", "x": b64(point[:32]), "y": b64(point[32:])})
        return json.dumps({"keys": keys})

    def claims(self, namespace, account, pod=None, node=None, **changed):
        now = int(time.time())
        claims = {"iss": self.name, "aud": ["istio-ca"], "sub": f"system:serviceaccount:{namespace}:{account}",
                  "iat": now - 5, "nbf": now - 5, "exp": now + 600, "jti": "0b7c",
                  "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": "sa-uid"}}}
        if pod:
            claims["kubernetes.io"]["pod"] = {"name": pod[0], "uid": pod[1]}
        if node:
            claims["kubernetes.io"]["node"] = {"name": node, "uid": "node-uid"}
        claims.update(changed)
        return {k: v for k, v in claims.items() if v is not None}

    def token(self, claims, kid="rsa-1", algorithm=None, signer=None, **header):
        key = signer or self.keys[kid]
        algorithm = algorithm or ("RS256" if key.kind == "RSA" else "ES256")
        head = {"alg": algorithm, "kid": kid, **header}
        text = f"{b64(head)}.{b64(claims)}"
        if algorithm == "none":
            return text + "."
        if algorithm == "HS256":  # with the public key as the secret: what a confused verifier would accept
            return f"{text}.{b64(hmac.new(self.keys[kid].public_pem(), text.encode(), hashlib.sha256).digest())}"
        signature = key.sign(text.encode())
        return f"{text}.{b64(signature if key.kind == 'RSA' else _integers(signature))}"
