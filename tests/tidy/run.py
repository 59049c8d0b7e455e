# SPDX-License-Identifier: GPL-3.0-or-later
"""House rules as a test: each rule is a function over the sources that yields its findings as "file:line: text".

The rules' own tests are below them: each rule has a bad example that it must find and a good one that it must pass.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FLOORS = {
    "base": 0, "model": 1, "wire": 1, "ring": 2, "tls": 2, "capture": 2,
    "config": 3, "identity": 3, "ca": 3, "admin": 3, "proxy": 3, "doors": 3, "app": 4, "ctl": 4,
}
# Edges beside "floors below": model's values are wire's words; mail is no room, it stands between floors 2 and 3.
EXTRA = {("wire", "model"), ("ctl", "config"), ("ctl", "ca")}
LIBRARY_HOME = {
    "liburing": "ring", "wolfssl": "tls", "bpf/": "capture", "nghttp2": "wire", "protobuf-c": "wire", "libfyaml": "wire",
    "jansson": "wire", "microhttpd": "admin", "urcu": "base", "libsmartcols": "ctl",
}
BANNED = {
    r"\bstrcpy\s*\((?!to\.sun_path)": "snprintf or text_add",
    r"\bstrcat\s*\(": "text_add",
    r"\bsprintf\s*\(": "snprintf",
    r"\bgets\s*\(": "a bounded read",
    r"\bsystem\s*\(": "nothing: the daemon never shells out",
    r"\bpopen\s*\(": "nothing: the daemon never shells out",
    r"\b(usleep|nanosleep|sleep)\s*\(": "an event or a deadline",
    r"\balloca\s*\(": "a bounded array",
    r"\batoi\s*\(": "str_u64",
    r"\brand\s*\(\)": "rng_u64 or rng_secret",
    r"\bassert\s*\(": "check",
    r"\bstrtok\s*\(": "str_split",
}
LINES_MAX, COLUMNS_MAX, FUNCTION_MAX = 800, 150, 110


def tracked():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    return [p for p in (ROOT / line for line in out.splitlines()) if p.is_file()]


def room_of(path):
    parts = pathlib.PurePath(path).parts
    for i, part in enumerate(parts):
        if part in ("src", "ringwall") and i + 1 < len(parts) and parts[i + 1] in (*FLOORS, "mail"):
            return parts[i + 1]
    return None


def may_include(user, used):
    if user == used or (user, used) in EXTRA:
        return True
    if used in ("abi", "tbl"):
        return True
    if used == "mail":
        return user in FLOORS and FLOORS[user] >= 3
    if user == "mail":
        return FLOORS.get(used, 9) <= 2
    return user in FLOORS and used in FLOORS and FLOORS[used] < FLOORS[user]


def rule_includes(path, text):
    """A room includes only headers of rooms on floors below."""
    user = room_of(path)
    if user is None:
        return
    for n, line in enumerate(text.splitlines(), 1):
        m = re.match(r'\s*#\s*include\s*<ringwall/(\w+)/', line)
        if m and not may_include(user, m.group(1)):
            yield n, f"room {user} may not include {m.group(1)}"


def rule_libraries(path, text):
    """A foreign library is included by the sources of exactly one room."""
    user = room_of(path)
    if user is None:
        return
    for n, line in enumerate(text.splitlines(), 1):
        m = re.match(r"\s*#\s*include\s*<([^>]+)>", line)
        if not m or m.group(1).startswith("ringwall/"):
            continue
        for library, home in LIBRARY_HOME.items():
            if m.group(1).startswith(library) and user != home:
                yield n, f"{library} belongs to room {home}"


def rule_ca_key(path, text):
    """In the daemon nothing but the CA's own thread opens the CA's folder; ringwallctl works on it offline."""
    if room_of(path) in (None, "ca", "ctl"):
        return
    for n, line in enumerate(text.splitlines(), 1):
        if re.match(r'\s*#\s*include\s*[<"].*\bca/(?!ca\.h)', line):
            yield n, "the CA's keys belong to its thread: ask through its mailbox"


def rule_banned(path, text):
    """Banned calls, with what to use instead."""
    code = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.S)
    code = re.sub(r'"(\\.|[^"\\\n])*"', '""', code)
    for n, line in enumerate(code.splitlines(), 1):
        for pattern, instead in BANNED.items():
            if re.search(pattern, line.split("//")[0]):
                yield n, f"banned call; use {instead}"


def rule_marks(path, text):
    """No leftovers."""
    for n, line in enumerate(text.splitlines(), 1):
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line):
            yield n, "unfinished mark"


def rule_size(path, text):
    """Files are the size of one idea, lines fit a screen."""
    lines = text.splitlines()
    if len(lines) > LINES_MAX:
        yield LINES_MAX, f"{len(lines)} lines: look for the second idea"
    for n, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            yield n, f"{len(line)} columns"


def rule_functions(path, text):
    """A function fits a screen or two."""
    start = None
    for n, line in enumerate(text.splitlines(), 1):
        if re.match(r"^[a-zA-Z_].*\)\s*\{$", line) and not line.startswith(("struct", "enum", "union", "typedef")):
            start = n
        elif line == "}" and start is not None:
            if n - start > FUNCTION_MAX:
                yield start, f"function of {n - start} lines"
            start = None


def rule_spdx(path, text):
    """An SPDX line in each file."""
    if "SPDX-License-Identifier:" not in "\n".join(text.splitlines()[:4]):
        yield 1, "no SPDX line"


def rule_machine(path, text):
    """No path of a machine, no registry's host."""
    for n, line in enumerate(text.splitlines(), 1):
        if re.search(r"(?<![\w.])/(work|root|home)/\w|deb\.debian\.org|snapshot\.debian", line):
            yield n, "a path of a machine or a registry's host"


C_RULES = [rule_includes, rule_libraries, rule_ca_key, rule_marks, rule_size, rule_spdx, rule_machine]
SRC_RULES = [rule_banned, rule_functions]
TEXT_RULES = [rule_marks, rule_spdx, rule_machine]


def check_sources():
    findings = []
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("tests/tidy/") or name.startswith("tests/fuzz/corpus/") or name == "LICENSE":
            continue
        if path.suffix in (".c", ".h"):
            rules = C_RULES + (SRC_RULES if name.startswith("src/") else [])
        elif path.suffix in (".py", ".sh", ".proto", ".build") or name in ("tests/run", ".ci/run", "deploy/setup", "deploy/quickstart"):
            rules = TEXT_RULES
        elif path.suffix in (".md", ".yaml", ".yml"):
            rules = [rule_machine]
        else:
            continue
        text = path.read_text(errors="replace")
        for rule in rules:
            findings += [(rule.__name__, f"{name}:{n}: {what}") for n, what in rule(name, text)]
    return findings


def check_format():
    files = [p for p in tracked() if p.suffix in (".c", ".h") and p.parts[-2] != "tbl"]
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *map(str, files)], text=True, capture_output=True, cwd=ROOT)
    return sorted({m.group(1) for m in re.finditer(r"^(/\S+?):\d+:\d+: error:", done.stderr, re.M)})


def check_dead_files():
    """A C file that no meson.build lists is dead."""
    listed = " ".join(p.read_text() for p in tracked() if p.name == "meson.build")
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if path.suffix == ".c" and path.name not in listed and not (path.name.startswith(("test_", "fuzz_", "bench_", "sim_"))):
            yield f"{name}: listed in no meson.build"


EXAMPLES = [
    (rule_includes, "src/model/x.c", "#include <ringwall/tls/key.h>\n", 1),
    (rule_includes, "src/proxy/x.c", "#include <ringwall/identity/manager.h>\n", 1),
    (rule_includes, "src/tls/x.c", "#include <ringwall/ring/ring.h>\n", 1),
    (rule_includes, "src/doors/x.c", "#include <ringwall/ca/ca.h>\n", 1),
    (rule_includes, "src/doors/x.c", "#include <ringwall/wire/sds.h>\n#include <ringwall/mail/trust.h>\n", 0),
    (rule_includes, "src/proxy/x.c", "#include <ringwall/tls/session.h>\n#include <ringwall/mail/pod.h>\n", 0),
    (rule_includes, "include/ringwall/mail/pod.h", "#include <ringwall/capture/capture.h>\n", 0),
    (rule_libraries, "src/proxy/x.c", "#include <nghttp2/nghttp2.h>\n", 1),
    (rule_libraries, "src/wire/x.c", "#include <nghttp2/nghttp2.h>\n", 0),
    (rule_ca_key, "src/app/x.c", "#include <ringwall/ca/files.h>\n", 1),
    (rule_ca_key, "src/app/x.c", "#include \"../ca/sign.h\"\n", 1),
    (rule_ca_key, "src/app/x.c", "#include <ringwall/ca/ca.h>\n", 0),
    (rule_ca_key, "src/ctl/x.c", "#include <ringwall/ca/files.h>\n", 0),
    (rule_banned, "src/base/x.c", "void f(void) { sleep(1); }\n", 1),
    (rule_banned, "src/base/x.c", "/* sleep( */ static void f(void) { asleep(1); g(\"system(\"); }\n", 0),
    (rule_marks, "src/base/x.c", "/* TO" + "DO */\n", 1),
    (rule_size, "src/base/x.c", "x\n" * 801, 1),
    (rule_size, "src/base/x.c", "x" * 151 + "\n", 1),
    (rule_functions, "src/base/x.c", "int f(void) {\n" + "\n" * 111 + "}\n", 1),
    (rule_spdx, "src/base/x.c", "int x;\n", 1),
    (rule_machine, "src/base/x.c", "/wo" + "rk/x\n", 1),
]


def main():
    passed = failed = 0

    def result(name, findings):
        nonlocal passed, failed
        if findings:
            failed += 1
            print(f"FAILED {name}")
            for finding in findings[:40]:
                print(f"  {finding}")
        else:
            passed += 1

    for rule, path, text, expected in EXAMPLES:
        found = len(list(rule(path, text)))
        result(f"{rule.__name__} on its example", [] if found == expected else [f"{text[:60]!r}: {found} findings, not {expected}"])
    by_rule = {rule.__name__: [] for rule in C_RULES + SRC_RULES}
    for rule, finding in check_sources():
        by_rule[rule].append(finding)
    for rule, findings in by_rule.items():
        result(rule, findings)
    result("clang-format", check_format())
    result("dead files", list(check_dead_files()))
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
