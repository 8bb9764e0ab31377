"""Runs the hlwq binary for the tests beside this file.

Each test file is called as `NAME_test.py BINARY SOURCE_DIR TEST_DATA`.
"""

import json
import os
import subprocess
import sys
import unittest

BINARY, SOURCE, DATA = (os.path.abspath(path) for path in sys.argv[1:4])
MODEL = os.path.join(SOURCE, "models", "tiny-nemotron-h")


class CommandTest(unittest.TestCase):
    def hlwq(self, *args, stdin=b"", env=None):
        """The finished process; standard output and error as bytes."""
        if isinstance(stdin, str):
            stdin = stdin.encode()
        return subprocess.run([BINARY, *map(str, args)], input=stdin, capture_output=True, timeout=300, env=env)

    def text(self, *args, **options):
        """Standard output of a run that must succeed."""
        done = self.hlwq(*args, **options)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return done.stdout

    def json(self, *args, **options):
        """The one JSON object on standard output of a run that must succeed. Bare NaN is refused."""

        def refuse(name):
            raise ValueError("not JSON: " + name)

        out = self.text(*args, "--json", **options).decode("utf-8")
        self.assertEqual(out.count("\n"), 1, "one object on one line")
        return json.loads(out, parse_constant=refuse)

    def fails(self, code, *args, says=(), **options):
        """A run that must end with `code`, nothing on standard output, and one error line that names `says`."""
        done = self.hlwq(*args, **options)
        error = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, code, error)
        self.assertEqual(done.stdout, b"")
        lines = [line for line in error.splitlines() if line.startswith("hlwq: error: ")]
        self.assertEqual(len(lines), 1, error)
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, lines[0])


def main():
    unittest.main(argv=sys.argv[:1])
