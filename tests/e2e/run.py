# SPDX-License-Identifier: GPL-3.0-or-later
"""End to end: real daemons on namespaces, real connections. Cases are functions named case_*, a module a theme.

  run.py --build DIR [--tenth] [--only WORD] [--list] [--jobs N]

Every module gets one lab, which its `lab()` makes; a case that ends a daemon starts it again. A failed case prints the
error and the end of the daemons' logs. --tenth: a tenth of the sizes, for sanitizer builds. --jobs: so many modules at a
time, each by a run.py of its own; most cases wait more than they work.
"""

import argparse
import importlib
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "deploy")]

import tasks  # noqa: E402
from common import Skip  # noqa: E402
from lab import LabError  # noqa: E402

# The long ones first, so that two runners end together.
MODULES = [
    "doors", "hostile", "flows", "bulk", "outside", "services", "ends", "identity", "aliases", "ca", "revoke", "keys", "policy", "explain",
    "closed", "living", "attacks", "memory", "starting", "lab", "bench"
]
SANITIZER_WORDS = ("ERROR: AddressSanitizer", "WARNING: ThreadSanitizer", "runtime error:", "ERROR: LeakSanitizer")


def sanitizer_reports(lab):
    for node in lab.nodes:
        if node.log.exists():
            text = node.log.read_text(errors="replace")
            for word in SANITIZER_WORDS:
                if word in text:
                    at = text.index(word)
                    yield f"{node.name}: {text[max(0, at - 200):at + 3000]}"


def show_logs(lab):
    """The ends of the logs, and of each log the last lines that say that something went wrong: they may be long past."""
    for node in lab.nodes:
        if node.daemon is not None:
            print(f"    -- {node.name}:")
            lines = node.log.read_text(errors="replace").splitlines()
            kept = [line for line in lines[:-8] if "\twarn\t" in line or "\terror\t" in line][-24:] + lines[-8:]
            print("".join(f"       {line}\n" for line in kept), end="")
        lines = node.access_lines()
        kept = [line for line in lines[:-3] if " reason=finished" not in line][-24:] + lines[-3:]
        print("".join(f"       access: {line}\n" for line in kept), end="")


def manifests(lab):
    return {path for node in lab.nodes for path in node.mesh_dir.iterdir() if not path.is_dir()}


def run_in_parallel(arguments):
    """Each module's output is shown whole, when it has ended. The children are ended with us: they clean up on SIGTERM."""
    waiting, lock, total, children = list(MODULES), threading.Lock(), [0, 0, 0], []

    def work():
        while True:
            with lock:
                if not waiting:
                    return
                name = waiting.pop(0)
                command = [sys.executable, "-B", __file__, "--build", arguments.build, "--module", name, "--only", arguments.only]
                child = subprocess.Popen(command + ["--tenth"] * arguments.tenth, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                children.append(child)
            output, _ = child.communicate()
            counts = re.findall(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", output, re.M)
            with lock:
                print(re.sub(r"\d+ passed, \d+ failed, \d+ skipped\n$", "", output), end="", flush=True)
                if not counts:
                    print(f"FAILED {name}: its run ended with {child.returncode}, without its counts", flush=True)
                for i, n in enumerate(counts[-1] if counts else (0, 1, 0)):
                    total[i] += int(n)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(arguments.jobs)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        for child in children:
            if child.poll() is None:
                child.terminate()
        for child in children:
            child.wait(30)
        raise
    print("{} passed, {} failed, {} skipped".format(*total))
    return 1 if total[1] else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=str(HERE.parent.parent / "build"), help="where ringwall and ringwallctl are (build)")
    parser.add_argument("--tenth", action="store_true", help="for sanitizer builds: a tenth of the load, and nothing that measures")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases whose module/name holds this")
    parser.add_argument("--list", action="store_true", help="each case with what it promises")
    parser.add_argument("--jobs", type=int, default=1, help="so many modules at a time")
    parser.add_argument("--module", help="only this module, by its whole name")
    arguments = parser.parse_args()
    if arguments.jobs > 1 and not arguments.list:
        return run_in_parallel(arguments)
    os.environ["RINGWALL_BUILD"] = str(pathlib.Path(arguments.build).resolve())
    os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
    os.environ.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    os.environ.setdefault("TSAN_OPTIONS", "second_deadlock_stack=1:halt_on_error=0")
    passed = failed = skipped = 0
    for module_name in [arguments.module] if arguments.module else MODULES:
        module = importlib.import_module(f"test_{module_name}")
        cases = [(n, f) for n, f in vars(module).items() if n.startswith("case_") and arguments.only in f"{module_name}/{n[5:]}"]
        if arguments.tenth:  # what measures memory or speed tells nothing of a sanitizer build
            plain_only = getattr(module, "PLAIN_ONLY", ())
            cases = [(n, f) for n, f in cases if plain_only is not True and n[5:] not in plain_only]
        if not cases:
            continue
        if arguments.list:
            for name, case in cases:
                print(f"{module_name}/{name[5:]}: {(case.__doc__ or '').strip()}")
            continue
        lab = None
        try:
            lab = module.lab()
        except Exception as error:
            failed += len(cases)
            print(f"FAILED {module_name}: its lab does not start: {error if isinstance(error, LabError) else traceback.format_exc()}", flush=True)
            cases = []
        for name, case in cases:
            began, before = time.monotonic(), manifests(lab)
            try:
                case(lab)
                reports = list(sanitizer_reports(lab))
                if reports:
                    raise LabError("a sanitizer reported:\n" + reports[0])
                passed += 1
                print(f"ok {module_name}/{name[5:]} ({time.monotonic() - began:.1f} s)", flush=True)
            except Skip as reason:
                skipped += 1
                print(f"skipped {module_name}/{name[5:]}: {reason}", flush=True)
            except Exception as error:
                failed += 1
                print(f"FAILED {module_name}/{name[5:]} ({time.monotonic() - began:.1f} s): "
                      f"{error if isinstance(error, LabError) else traceback.format_exc()}", flush=True)
                show_logs(lab)
                for path in manifests(lab) - before:  # its policies are not for the cases after it
                    path.unlink(missing_ok=True)
            finally:
                tasks.kill_all()
        if lab is not None:
            try:
                for node in lab.nodes:
                    if node.daemon is not None and node.daemon.process.poll() is None:
                        code = node.daemon.stop()
                        if code != 0:
                            raise LabError(f"{node.name}'s daemon ended with {code} after SIGTERM:\n{node.daemon.tail()}")
                reports = list(sanitizer_reports(lab))
                if reports:
                    raise LabError("a sanitizer reported at the end:\n" + reports[0])
            except Exception as error:
                failed += 1
                print(f"FAILED {module_name}/end: {error}", flush=True)
            lab.close()
    if not arguments.list:
        print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
