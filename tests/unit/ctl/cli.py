# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of ringwallctl share: runs the program in a directory of its own; main() takes its path first."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM = None


class Cli(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="rw-ctl-")
        self.addCleanup(temporary.cleanup)
        self.dir = pathlib.Path(temporary.name)

    def run_ctl(self, *arguments, timeout=60):
        return subprocess.run([PROGRAM, *map(str, arguments)], text=True, capture_output=True, cwd=self.dir, timeout=timeout)

    def expect(self, code, *arguments):
        done = self.run_ctl(*arguments)
        self.assertEqual(done.returncode, code, f"{arguments}\nstdout: {done.stdout}\nstderr: {done.stderr}")
        return done

    def expect_json(self, code, *arguments):
        return json.loads(self.expect(code, *arguments, "-o", "json").stdout)

    def mesh(self, name="mesh.d", **files):
        directory = self.dir / name
        directory.mkdir(exist_ok=True)
        for file, text in files.items():
            (directory / f"{file}.yaml").write_text(text)
        return name


def main():
    global PROGRAM
    PROGRAM = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main(verbosity=1)
