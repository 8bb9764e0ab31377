"""hlwq ppl."""

import math
import os
import tempfile

from harness import DATA, MODEL, CommandTest, main

TEXT = os.path.join(DATA, "wikitext2", "wiki.test.raw")


def read_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def read_lines(path):
    """Lines of tab-separated text."""
    return [line.split("\t") for line in read_bytes(path).decode().splitlines()]


class Ppl(CommandTest):
    def test_fields(self):
        got = self.json("ppl", MODEL, TEXT, "--window", 128, "--windows", 4)
        self.assertEqual(got["windows"], 4)
        self.assertEqual(got["tokens"], 4 * 127)
        self.assertGreater(got["ppl"], 5)
        self.assertLess(got["ppl"], 200)
        self.assertGreater(got["stderr"], 0)
        for field in ("kl_mean", "kl_mean_stderr", "kl_median", "kl_p99", "kl_p999", "top1", "top1_stderr",
                      "ppl_reference", "ln_ppl_ratio", "ln_ppl_ratio_stderr", "kl_against"):
            self.assertIsNone(got[field], field)
        self.assertEqual((got["command"], got["model"], got["file"], got["window"]), ("ppl", MODEL, TEXT, 128))
        self.assertEqual((got["device"], got["compute"], got["parameters"]), ("cpu", "f32", 17624800))
        self.assertIsNone(got["bits_per_weight"], "nothing is coded")
        self.assertIsNone(got["label"])
        self.assertIn(got["k_cache_nbits"], (16, 32))
        self.assertEqual(got["k_cache_nbits"], got["v_cache_nbits"])
        self.assertGreater(got["file_bytes"], 2 * got["parameters"])
        self.assertRegex(got["environment"]["version"], r"^\d+\.\d+")

    def test_what_is_measured_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            coded = os.path.join(folder, "coded")
            self.json("quantize", MODEL, "-o", coded, "--bits", 3, "--norms", "plain")
            args = ["ppl", coded, TEXT, "--window", 64, "--windows", 2]
            got = self.json(*args)
            self.assertEqual(got["quantization"], "HLWQ Q3: grid codebook, plain norms")
            self.assertEqual(got["label"], "grid codebook, plain norms")
            # 3 bits and a norm's 16 / 128, plus what padding 160 to 256 columns adds to a third of the weights; not
            # the byte in which this profile stores a code.
            self.assertGreater(got["bits_per_weight"], 3.125)
            self.assertLess(got["bits_per_weight"], 4)
            inspected = self.json("inspect", coded)
            self.assertEqual(inspected["coded_bits_per_weight"], got["bits_per_weight"])
            self.assertEqual(inspected["quantization"], got["quantization"])
            self.assertEqual(inspected["base_model"], "tiny-nemotron-h")
            own = self.json(*args, "--label", "ours", "--bits-per-weight", 4.25)
            self.assertEqual((own["label"], own["bits_per_weight"]), ("ours", 4.25))

    def test_scores_of_every_token(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "scores.tsv")
            args = ["ppl", MODEL, TEXT, "--window", 32, "--windows", 5, "--per-token", path]
            got = self.json(*args)
            lines = read_lines(path)
            self.assertEqual(lines[0], ["window", "position", "id", "nll"])
            self.assertEqual([line[:2] for line in lines[1:]], [[str(w), str(p)] for w in range(5) for p in range(1, 32)])
            self.assertAlmostEqual(sum(float(line[3]) for line in lines[1:]) / (5 * 31), got["nll"], places=6)
            ids = self.json("tokenize", MODEL, stdin=read_bytes(TEXT)[:4096])["ids"][1:]  # without <s>
            self.assertEqual([int(line[2]) for line in lines[1:32]], ids[1:32])

            coded = os.path.join(folder, "coded")
            self.json("quantize", MODEL, "-o", coded, "--bits", 4, "--norms", "plain")
            got = self.json("ppl", coded, *args[2:], "--kl-against", MODEL)
            lines = read_lines(path)
            self.assertEqual(lines[0], ["window", "position", "id", "nll", "kl", "same_top"])
            mean = lambda column: sum(float(line[column]) for line in lines[1:]) / (5 * 31)
            for column, field in ((3, "nll"), (4, "kl_mean"), (5, "top1")):
                self.assertAlmostEqual(mean(column), got[field], places=6)
            by_window = [sum(float(line[4]) for line in lines[1:] if line[0] == str(w)) / 31 for w in range(5)]
            spread = sum((x - mean(4)) ** 2 for x in by_window) / 4
            self.assertAlmostEqual(got["kl_mean_stderr"], (spread / 5) ** 0.5, places=6)
            self.assertAlmostEqual(got["ln_ppl_ratio"], got["nll"] - math.log(got["ppl_reference"]), places=9)
            self.assertEqual(sorted(os.listdir(folder)), ["coded", "scores.tsv"], "nothing temporary is left")

            self.fails(1, *args[:-1], os.path.join(folder, "none", "scores.tsv"), says="scores.tsv")
            self.fails(1, "ppl", MODEL, TEXT, "--windows", 10**6, "--per-token", os.path.join(folder, "no.tsv"), says="windows")
            self.assertNotIn("no.tsv", os.listdir(folder))

    def test_against_itself(self):
        got = self.json("ppl", MODEL, TEXT, "--window", 128, "--windows", 4, "--kl-against", MODEL)
        self.assertEqual(got["kl_mean"], 0)
        self.assertEqual(got["kl_p99"], 0)
        self.assertEqual(got["top1"], 1)
        self.assertEqual((got["kl_median"], got["kl_p999"], got["kl_mean_stderr"], got["top1_stderr"]), (0, 0, 0, 0))
        self.assertAlmostEqual(got["ppl_reference"], got["ppl"], places=9)
        self.assertAlmostEqual(got["ln_ppl_ratio"], 0, places=12)

    def test_text_output(self):
        out = self.text("ppl", MODEL, TEXT, "--window", 64, "--windows", 2, "--kl-against", MODEL).decode()
        self.assertRegex(out, r"^perplexity \d+\.\d{4} \+- ")
        for word in ("mean KL", "median", "99.9th", "same top token", "ln ratio"):
            self.assertIn(word, out)

    def test_what_cannot_be(self):
        self.fails(2, "ppl", MODEL, TEXT, "--window", 1, says="--window")
        self.fails(2, "ppl", MODEL, TEXT, "--bits-per-weight", 0, says="--bits-per-weight")
        self.fails(1, "ppl", MODEL, "/nowhere/text", says="/nowhere/text")
        self.fails(1, "ppl", MODEL, TEXT, "--windows", 10**6, says=["wiki.test.raw", "windows"])
        with tempfile.NamedTemporaryFile() as empty:
            self.fails(1, "ppl", MODEL, empty.name, says=[empty.name, "0 tokens"])
        self.fails(1, "ppl", MODEL, TEXT, "--windows", 1, "--kl-against", "/nowhere/model", says="/nowhere/model")


main()
