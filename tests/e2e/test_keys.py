# SPDX-License-Identifier: GPL-3.0-or-later
"""Private keys stay where they belong: the CA's in its own file and in memory that no core file has, others in memory alone."""

import base64
import os
import pathlib
import re
import resource
import signal
import subprocess

import traffic
from common import expect, expect_equal, pod, standard_lab
from lab import sh
from tasks import Task

PORT = 9600
PAGE = resource.getpagesize()


def lab():
    made = standard_lab("keys", start=False)
    for node in made.nodes:
        node.write_config(log="{level: debug, access: " + str(node.dir / "access.log") + "}")
        node.start()
    return made


def talk(lab):
    server = pod(lab, "server")
    Task(server, traffic.echo_server, PORT).wait_ready()
    expect_equal(Task(pod(lab, "client"), traffic.try_connect, server.ip, PORT).result(), "ok", "a connection over the mesh")


def scalar_of(key_file):
    """The secret number of an EC key, as 32 bytes."""
    text = sh("openssl", "pkey", "-in", key_file, "-noout", "-text").stdout
    digits = re.search(r"priv:\n((?: +[0-9a-f:]+\n)+)", text).group(1)
    return int(re.sub(r"[^0-9a-f]", "", digits), 16).to_bytes(32, "big")


def forms_of(scalar):
    """What its bytes would look like in memory or in a text."""
    return {"big-endian": scalar, "little-endian": scalar[::-1], "hex": scalar.hex().encode(), "HEX": scalar.hex().upper().encode(),
            "base64": base64.b64encode(scalar)[:40]}


def mappings(pid):
    """(start, end, dumpable) of what can be read of a process's memory."""
    found = []
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line)
        if head:
            at, resident = (int(head[1], 16), int(head[2], 16), head[3]), 0
        elif line.startswith("Rss:"):
            resident = int(line.split()[1])
        elif line.startswith("VmFlags:"):
            flags = line.split()[1:]
            if at[2].startswith("r") and resident and "io" not in flags:
                found.append((at[0], at[1], "dd" not in flags))
    return found


def resident_runs(pagemap, start, end):
    """(start, end) of pages that exist: pools are reserved large and used little."""
    pagemap.seek(start // PAGE * 8)
    entries = pagemap.read((end - start) // PAGE * 8)
    here = [bool(entries[i + 7] & 0xC0) for i in range(0, len(entries), 8)]  # present or swapped
    at = 0
    while at < len(here):
        if not here[at]:
            at += 1
            continue
        first = at
        while at < len(here) and here[at]:
            at += 1
        yield start + first * PAGE, start + at * PAGE


def search(pid, forms):
    """Names of the forms that are found, in memory that a core file would have and in memory that it would not."""
    seen = {True: set(), False: set()}
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory, open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for start, end, dumpable in mappings(pid):
            for first, last in resident_runs(pagemap, start, end):
                try:
                    memory.seek(first)
                    text = memory.read(last - first)
                except OSError:
                    continue
                seen[dumpable] |= {name for name, form in forms.items() if form in text}
    return seen[True], seen[False]


def own_keys(node):
    """The only private keys that a node may have on disk: the CA's, for certificates and for tokens."""
    return [node.ca_dir / "ca-key.pem", node.state_dir / "jwt-key.pem"]


def is_sanitized(lab):
    program = pathlib.Path(lab.program("ringwall")).read_bytes()
    return b"__asan_init" in program or b"__tsan_init" in program


def case_memory(lab):
    """The signing key is in locked memory that no core file has, and nowhere else, also after it has signed"""
    talk(lab)
    if is_sanitized(lab):
        return  # it keeps freed blocks for a while, terabytes of shadow, and no promise of ours
    for node in lab.nodes:
        for key in own_keys(node):
            plain, hidden = search(node.daemon.pid, forms_of(scalar_of(key)))
            expect(hidden, f"{node.name}: the search does not even find {key.name} where it must be")
            expect_equal(plain, set(), f"{node.name}: {key.name} in memory that can be dumped")
        smaps = pathlib.Path(f"/proc/{node.daemon.pid}/smaps").read_text()
        expect(any({"dd", "lo"} <= set(line.split()) for line in smaps.splitlines() if line.startswith("VmFlags:")),
               "no mapping is both locked and left out of core files")


def case_outputs(lab):
    """No form of the signing key, and no private key at all, in logs, answers and files; the CA's own file is its owner's alone"""
    talk(lab)
    for node in lab.nodes:
        forms = {f"{key.name}, {name}": form for key in own_keys(node) for name, form in forms_of(scalar_of(key)).items()}
        texts = {"log": node.log.read_bytes()}
        for path in node.dir.rglob("*"):
            if path.is_file() and path not in own_keys(node):
                texts[str(path.relative_to(node.dir))] = path.read_bytes()
        for page in ("config_dump", "debug/configz", "connections", "metrics", "debug/authenticationz"):
            texts[page] = subprocess.run(["curl", "-s", "--unix-socket", node.socket, f"http://ringwall/{page}"], capture_output=True,
                                         timeout=20, check=True).stdout
        for words in (("certs",), ("status",), ("dump",), ("workloads",)):
            texts[" ".join(words)] = node.ctl(*words, "-o", "json", check=False).stdout.encode()
        for where, text in texts.items():
            expect(b"PRIVATE KEY" not in text, f"{node.name}: {where} holds a private key")
            for name, form in forms.items():
                expect(form not in text, f"{node.name}: {where} holds {name}")
        for key in own_keys(node):
            expect_equal(key.stat().st_mode & 0o777, 0o600, f"mode of {key}")


def died_with_core(process):
    _pid, status = os.waitpid(process.pid, 0)
    expect(os.WIFSIGNALED(status), f"status {status:#x}")
    return os.WCOREDUMP(status)


def case_no_core(lab):
    """A daemon that is aborted leaves no core file, although its limits allow one, and its filter leaves out every page"""
    node = lab.nodes[0]
    pid = node.daemon.pid
    expect_equal(int(pathlib.Path(f"/proc/{pid}/coredump_filter").read_text(), 16), 0, "what a core file may hold")
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(pid, resource.RLIMIT_CORE, unlimited)
    node.daemon.signal(signal.SIGABRT)
    expect(not died_with_core(node.daemon.process), "the daemon left a core file")
    node.daemon.process.returncode = -signal.SIGABRT
    node.start()
    talk(lab)
