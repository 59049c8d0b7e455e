# SPDX-License-Identifier: GPL-3.0-or-later
"""What a core file of a process would hold: its memory is read as a debugger would, and searched for a key's bytes."""

import base64
import pathlib
import re
import resource

from lab import sh

PAGE = resource.getpagesize()


def scalar_of(key_file):
    """The secret number of an EC key, as 32 bytes."""
    text = sh("openssl", "pkey", "-in", key_file, "-noout", "-text").stdout
    digits = re.search(r"priv:\n((?: +[0-9a-f:]+\n)+)", text).group(1)
    return int(re.sub(r"[^0-9a-f]", "", digits), 16).to_bytes(32, "big")


def forms_of(scalar):
    """What its bytes would look like in memory or in a text."""
    return {"big-endian": scalar, "little-endian": scalar[::-1], "hex": scalar.hex().encode(), "HEX": scalar.hex().upper().encode(),
            "base64": base64.b64encode(scalar)[:40],
            "random": (int.from_bytes(scalar, "big") - 1).to_bytes(32, "big")}  # the bytes from which the library made it


def scalar_in(pem):
    """The secret number of a P-256 key as PKCS#8, and the one line of the text that holds the most of it."""
    lines = [line for line in pem.splitlines() if not line.startswith("-----")]
    return base64.b64decode("".join(lines))[36:68], lines[1].encode()


def mappings(pid):
    """(start, end, plain) of what can be read of a process's memory; plain: it may get into a core file, or be swapped."""
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
                found.append((at[0], at[1], not {"dd", "lo"} <= set(flags)))
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
    """Names of the forms that are found: in memory that a core file would have or that is not locked, and in other memory."""
    seen = {True: set(), False: set()}
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory, open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for start, end, plain in mappings(pid):
            for first, last in resident_runs(pagemap, start, end):
                try:
                    memory.seek(first)
                    text = memory.read(last - first)
                except OSError:
                    continue
                seen[plain] |= {name for name, form in forms.items() if form in text}
    return seen[True], seen[False]


def is_sanitized(lab):
    program = pathlib.Path(lab.program("ringwall")).read_bytes()
    return b"__asan_init" in program or b"__tsan_init" in program
