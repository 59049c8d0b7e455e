# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that run inside a pod: a child process in the pod's cgroup and netns, its result or its error sent back."""

import os
import pickle
import select
import signal
import sys
import time
import traceback

from lab import PATIENCE, LabError, setns_path

_running = []


class Task:
    """A forked child that runs function(*arguments) in the pod; `ready` is the child's way to say "go on"."""

    def __init__(self, pod, function, *arguments):
        self.name = function.__name__
        result_r, result_w = os.pipe()
        ready_r, ready_w = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(result_r)
            os.close(ready_r)
            self._child(pod, function, arguments, result_w, ready_w)
        os.close(result_w)
        os.close(ready_w)
        self._result, self._ready, self._data, self._done = result_r, ready_r, b"", False
        _running.append(self)

    @staticmethod
    def _child(pod, function, arguments, result_w, ready_w):
        status = 1
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            if pod is not None:
                (pod.leaf_cgroup / "cgroup.procs").write_text(str(os.getpid()))
                setns_path(pod.netns)
            value = (True, function(*arguments, ready=lambda: os.write(ready_w, b"r")))
            status = 0
        except BaseException:  # the parent must learn of every end
            value = (False, traceback.format_exc())
        try:
            data = pickle.dumps(value)
            while data:
                data = data[os.write(result_w, data):]
        finally:
            sys.stdout.flush()
            os._exit(status)

    def wait_ready(self, seconds=10):
        if not select.select([self._ready], [], [], seconds * PATIENCE)[0] or not os.read(self._ready, 1):
            raise LabError(f"{self.name} did not get ready: {self._collect(1, quiet=True)}")
        return self

    def result(self, seconds=60):
        ok, value = self._collect(seconds * PATIENCE)
        if not ok:
            raise LabError(f"{self.name} in its pod failed:\n{value}")
        return value

    def _collect(self, seconds, quiet=False):
        deadline = time.monotonic() + seconds
        while not self._done:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._result], [], [], left)[0]:
                if quiet:
                    return "still running"
                self.kill()
                raise LabError(f"{self.name} did not end within {seconds} s")
            piece = os.read(self._result, 65536)
            self._data += piece
            self._done = not piece
        self._reap()
        return pickle.loads(self._data) if self._data else (False, "ended without a word")

    def _reap(self):
        if self in _running:
            _running.remove(self)
            os.waitpid(self.pid, 0)
            os.close(self._result)
            os.close(self._ready)

    def kill(self):
        if self in _running:
            os.kill(self.pid, signal.SIGKILL)
            self._reap()


def kill_all():
    for task in list(_running):
        task.kill()
