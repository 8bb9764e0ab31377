"""hlwq ppl."""

import os
import tempfile

from harness import DATA, MODEL, CommandTest, main

TEXT = os.path.join(DATA, "wikitext2", "wiki.test.raw")


class Ppl(CommandTest):
    def test_fields(self):
        got = self.json("ppl", MODEL, TEXT, "--window", 128, "--windows", 4)
        self.assertEqual(got["windows"], 4)
        self.assertEqual(got["tokens"], 4 * 127)
        self.assertGreater(got["ppl"], 5)
        self.assertLess(got["ppl"], 200)
        self.assertGreater(got["stderr"], 0)
        self.assertIsNone(got["kl_mean"])

    def test_against_itself(self):
        got = self.json("ppl", MODEL, TEXT, "--window", 128, "--windows", 4, "--kl-against", MODEL)
        self.assertEqual(got["kl_mean"], 0)
        self.assertEqual(got["kl_p99"], 0)
        self.assertEqual(got["top1"], 1)

    def test_text_output(self):
        out = self.text("ppl", MODEL, TEXT, "--window", 64, "--windows", 2, "--kl-against", MODEL).decode()
        self.assertRegex(out, r"^perplexity \d+\.\d{4} \+- ")
        self.assertIn("mean KL", out)

    def test_what_cannot_be(self):
        self.fails(2, "ppl", MODEL, TEXT, "--window", 1, says="--window")
        self.fails(1, "ppl", MODEL, "/nowhere/text", says="/nowhere/text")
        self.fails(1, "ppl", MODEL, TEXT, "--windows", 10**6, says=["wiki.test.raw", "windows"])
        with tempfile.NamedTemporaryFile() as empty:
            self.fails(1, "ppl", MODEL, empty.name, says=[empty.name, "0 tokens"])
        self.fails(1, "ppl", MODEL, TEXT, "--windows", 1, "--kl-against", "/nowhere/model", says="/nowhere/model")


main()
