# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that cannot: each missing thing is named at start-up with its fix, and the daemon ends with 1."""

import os
import subprocess
import sys

from common import expect, expect_equal, standard_lab
from lab import PATIENCE, eventually, setns_path, sh


def lab():
    return standard_lab("starting", start=False)


def fails(lab, *words, prefix=(), config=None, env=None):
    """`ringwall run` must end by itself with 1 and say each of the words."""
    node = lab.nodes[0]

    def enter():
        (node.daemon_cgroup / "cgroup.procs").write_text(str(os.getpid()))
        setns_path(node.netns)

    done = subprocess.run([str(c) for c in (*prefix, lab.program("ringwall"), "run", "-c", config or node.config)], text=True, capture_output=True,
                          preexec_fn=enter, timeout=30 * PATIENCE, env={**os.environ, **(env or {})})
    text = done.stdout + done.stderr
    expect_equal(done.returncode, 1, f"exit code, with output\n{text}")
    for word in words:
        expect(word in text, f"'{word}' is not said:\n{text}")


def changed(lab, **lines):
    node = lab.nodes[0]
    node.write_config(**lines)
    path = node.dir / "changed.yaml"
    node.config.rename(path)
    node.write_config()
    return path


def case_capabilities(lab):
    """Without CAP_SYS_ADMIN, CAP_NET_ADMIN or CAP_BPF"""
    for names in (("sys_admin",), ("net_admin",), ("sys_admin", "bpf")):
        drop = ",".join(f"-{name}" for name in names)
        fails(lab, *(f"CAP_{name.upper()}" for name in names), prefix=("setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}", "--"))


def case_io_uring(lab):
    """io_uring forbidden by seccomp, as container runtimes do by default"""
    fails(lab, "io_uring", "seccomp", prefix=("python3", "-B", __file__, "forbid-io-uring"), env={"PYTHONPATH": os.pathsep.join(sys.path)})


def case_cgroup(lab):
    """capture.cgroup does not exist, or is no cgroup v2"""
    for path in ("/nowhere/at/all", "/tmp"):
        fails(lab, path, "cgroup", config=changed(lab, capture=f"{{cgroup: {path}, kubeletCgroup: \"\", bpffs: {lab.bpffs}}}"))


def case_bpffs(lab):
    """bpffs path that cannot be made"""
    node = lab.nodes[0]
    fails(lab, "/proc/nowhere", config=changed(lab, capture=f"{{cgroup: {node.pods_cgroup}, kubeletCgroup: \"\", bpffs: /proc/nowhere}}"))


def case_ca_directory(lab):
    """The CA's files are missing, or the key is another's"""
    node = lab.nodes[0]
    fails(lab, "ca-cert.pem", "issue-node", config=changed(lab, ca=f"{{provider: files, dir: {lab.dir}/none}}"))
    broken = lab.dir / "broken-ca"
    sh("cp", "-r", node.ca_dir, broken)
    sh("cp", lab.dir / "root-ca" / "ca-key.pem", broken / "ca-key.pem")
    fails(lab, "ca-key.pem", "not the key", config=changed(lab, ca=f"{{provider: files, dir: {broken}}}"))


def case_node_file(lab):
    """Unknown keys, wrong types, with file:line:column and a proposal"""
    path = lab.dir / "bad.yaml"
    for text, words in (("node: a\nworkerz: 2\n", ("bad.yaml:2:1", "workers")),
                        ("workers: many\n", ("bad.yaml:1:", "workers")),
                        ("log: {level: loud}\n", ("bad.yaml:1:", "level")),
                        ("capture: {mode: iptables}\n", ("bad.yaml:1:", "ebpf")),
                        ("node: [\n", ("bad.yaml:",))):
        path.write_text(text)
        fails(lab, *words, config=path)
    fails(lab, "/nowhere.yaml", config="/nowhere.yaml")


def case_port_taken(lab):
    """The admin socket's directory cannot be made, a port is in use"""
    fails(lab, "/proc/nowhere", config=changed(lab, admin="{socket: /proc/nowhere/admin.sock}"))
    with subprocess.Popen(["nsenter", f"--net={lab.nodes[0].netns}", "python3", "-c",
                           "import socket\ns=socket.create_server(('127.0.0.1',15000))\nprint('up',flush=True)\ninput()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        holder.stdout.readline()
        fails(lab, "15000")
        holder.communicate("\n")


def case_checks_agree(lab):
    """`ringwall check` and `ringwallctl lint` say what the daemon would, without one"""
    node = lab.nodes[0]
    done = sh(lab.program("ringwall"), "check", "-c", node.config)
    expect("5 workloads" in done.stdout, done.stdout)
    done = sh(lab.program("ringwall"), "check", check=False)
    expect(os.path.exists("/etc/ringwall/ringwall.yaml") or "there is no node file" in done.stdout, done.stdout)
    bad = node.mesh_dir / "bad.yaml"
    bad.write_text("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: x}\nspec: {acton: DENY}\n")
    for command in ([lab.program("ringwall"), "check", "-c", node.config], [lab.program("ringwallctl"), "lint", node.mesh_dir]):
        done = sh(*command, check=False)
        expect_equal(done.returncode, 1, f"exit code of {command[1]}: {done.stdout}{done.stderr}")
        expect("bad.yaml:4:" in done.stdout and "action" in done.stdout, done.stdout)
    bad.unlink()


def case_mesh_too_large(lab):
    """More manifests than limits.meshBytes: refused whole with the key's name, by the daemon and by the check"""
    node = lab.nodes[0]
    small = changed(lab, limits="{meshBytes: 64KiB}")
    large = node.mesh_dir / "large.yaml"
    large.write_text("# " + "x" * 65536 + "\n")
    done = sh(lab.program("ringwall"), "check", "-c", small, check=False)
    expect_equal(done.returncode, 1, f"exit code: {done.stdout}{done.stderr}")
    expect("limits.meshBytes" in done.stdout, done.stdout)
    node.write_config(limits="{meshBytes: 64KiB}")
    node.start(wait=False)
    eventually("the daemon names the limit", lambda: "limits.meshBytes" in node.ctl("status", check=False).stdout)
    expect(node.ctl_json("status")["ready"] is False, "ready with a set that was refused")
    large.unlink()
    node.daemon.wait_ready()
    expect_equal(node.daemon.stop(), 0, "exit after SIGTERM")
    node.write_config()


def forbid_io_uring(command):
    """Runs the command with a seccomp filter that answers io_uring_setup with EPERM."""
    import ctypes
    import struct

    libc = ctypes.CDLL(None, use_errno=True)
    program = b"".join(struct.pack("HBBI", *i) for i in (
        (0x20, 0, 0, 0),             # load the number of the system call
        (0x15, 0, 1, 425),           # io_uring_setup?
        (0x06, 0, 0, 0x00050001),    # errno EPERM
        (0x06, 0, 0, 0x7FFF0000)))   # allow
    buffer = ctypes.create_string_buffer(program)
    filter_ = struct.pack("HxxxxxxQ", 4, ctypes.addressof(buffer))
    holder = ctypes.create_string_buffer(filter_)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, holder, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    os.execv(command[0], command)


if __name__ == "__main__":
    if sys.argv[1] == "forbid-io-uring":
        forbid_io_uring(sys.argv[2:])
