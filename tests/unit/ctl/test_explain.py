# SPDX-License-Identifier: GPL-3.0-or-later
"""Goal: `authz check` says in words that a reader follows which policy, rule and clause decided. Method: a table of questions to
the small mesh explain/mesh, each with the whole text that must come out, in explain/NN-name.txt: the command line, the
output, the exit code. `test_explain.py PROGRAM --write` writes the table again from what the program says."""

import pathlib
import re
import shutil
import sys

import cli

TABLE = pathlib.Path(__file__).resolve().parent / "explain"


class Explain(cli.Cli):
    def test_table(self):
        shutil.copytree(TABLE / "mesh", self.dir / "mesh")
        rows = sorted(TABLE.glob("*.txt"))
        self.assertGreaterEqual(len(rows), 10)
        for row in rows:
            with self.subTest(row.stem):
                expected = row.read_text()
                command = re.match(r"\$ ringwallctl (.*)\n", expected).group(1)
                done = self.run_ctl(*command.split())
                got = f"$ ringwallctl {command}\n{done.stdout}exit {done.returncode}\n"
                self.assertEqual(done.stderr, "")
                if WRITE:
                    row.write_text(got)
                else:
                    self.assertEqual(got, expected)

    def test_same_story_in_json(self):
        """The arrow of the text is the step that decides in the JSON; with none, no policy is named"""
        shutil.copytree(TABLE / "mesh", self.dir / "mesh")
        for row in sorted(TABLE.glob("*.txt")):
            with self.subTest(row.stem):
                text = row.read_text()
                command = re.match(r"\$ ringwallctl (.*)\n", text).group(1)
                answer = self.expect_json(int(text.split()[-1]), *command.split())
                deciding = [step for step in answer["walk"] if step["decides"]]
                arrows = re.findall(r"^  =>   (?:rule|mode) *\d* +(\S+) ", text, re.M)
                self.assertEqual([step["at"] for step in deciding], arrows)
                self.assertEqual([(step["policy"], step["rule"], step["at"]) for step in deciding],
                                 [(answer["policy"], answer["rule"], answer["at"])] if answer["policy"] else [])
                self.assertEqual(text.count("\n  => "), 1)
                for step in answer["walk"]:
                    self.assertEqual("parts" in step, "missed" in step)
                    self.assertLessEqual(step.get("missed", 0), step.get("parts", 0))
                    if "missed" in step:
                        self.assertEqual(step["matched"], step["missed"] == 0, step)
                self.assertEqual("\nwhat would let it in:\n" in text, answer["verdict"] == "deny")

    def test_tls(self):
        """The mode, what it means to a peer outside the mesh, the ports that differ, and that nobody enforces it where so"""
        shutil.copytree(TABLE / "mesh", self.dir / "mesh")
        ask = lambda *more: self.expect(0, "authn", "tls-check", "--mesh", "mesh", "--to", *more).stdout
        self.assertEqual(ask("bank/ledger"), "STRICT by PeerAuthentication bank/ledger-metrics at mesh/bank.yaml:18\n"
                         "  plaintext is refused\n"
                         "  except port 9102, PERMISSIVE at mesh/bank.yaml:20: tunnels and plaintext are both accepted\n")
        self.assertEqual(ask("bank/ledger", "--port", "9102"),
                         "PERMISSIVE by PeerAuthentication bank/ledger-metrics at mesh/bank.yaml:20\n  tunnels and plaintext are both accepted\n")
        question = re.search(r"--to (\S+)", (TABLE / "10-no-policy-for-it.txt").read_text()).group(1)
        self.assertIn("  not enrolled: nothing enforces this, and peers send plaintext to it\n", ask(question))

        self.assertIn("  note: 80 is the port of Service shop/cart; shop/cart itself listens on 8080, and policies mean that one: ask with --port 8080\n",
                      ask("shop/cart", "--port", "80"))

    def test_words_of_dry_run(self):
        """Those that Istio reads switch a policy off or on, every other one is refused"""
        policy = ("apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: w, namespace: a}\nspec: {address: 10.0.0.1}\n---\n"
                  "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: a, annotations: "
                  "{istio.io/dry-run: '%s'}}\nspec: {action: DENY, rules: [{}]}\n")
        for words, code in (("1 t T true TRUE True", 0), ("0 f F false FALSE False", 3), ("yes no tRUE on", 1)):
            for word in words.split():
                self.mesh(a=policy % word)
                self.expect(code, "authz", "check", "--mesh", "mesh.d", "--source", "none", "--source-ip", "10.0.0.2", "--to", "a/w", "--port", "80")

    def test_mesh_is_clean(self):
        """The example mesh has no error, and warns only about what it shows on purpose"""
        shutil.copytree(TABLE / "mesh", self.dir / "mesh")
        lines = self.expect(0, "lint", "mesh").stdout.splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("methods is an HTTP field", lines[0])


WRITE = "--write" in sys.argv
if __name__ == "__main__":
    sys.argv = [a for a in sys.argv if a != "--write"]
    cli.main()
