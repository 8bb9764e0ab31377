"""hlwq quantize, dequantize, inspect, compare, demo and scripts/make_checkpoint.py."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

from harness import MODEL, SOURCE, CommandTest, main


SAMPLE = os.path.join(MODEL, "wikitext-sample.txt")


class Convert(CommandTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="hlwq-tools-")
        cls.coded = os.path.join(cls.folder, "coded")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder, ignore_errors=True)

    def quantized(self):
        if not os.path.exists(self.coded):
            self.json("quantize", MODEL, "-o", self.coded)
        return self.coded

    def test_quantize_reports(self):
        out = os.path.join(self.folder, "report")
        got = self.json("quantize", MODEL, "-o", out, "--norms", "least-squares")
        self.assertEqual((got["tensors"], got["quantized"], got["kept"]), (320, 278, 42))
        self.assertGreater(got["cosine_min"], 0.998)
        self.assertGreater(got["ratio"], 2.5)
        self.assertLess(got["peak_rss_bytes"], 500_000_000)
        for field in ("input_bytes", "output_bytes", "cosine_mean", "snr_db", "seconds"):
            self.assertGreater(got[field], 0, field)
        self.fails(1, "quantize", MODEL, "-o", out, says="--force")
        self.json("quantize", MODEL, "-o", out, "--norms", "least-squares", "--force")
        self.assertIn("278 coded", self.text("quantize", MODEL, "-o", out, "--force").decode())

    def test_calibrated(self):
        out = os.path.join(self.folder, "calibrated")
        got = self.json("quantize", MODEL, "-o", out, "--calibrate", SAMPLE, "--calibrate-tokens", "2048")
        self.assertEqual((got["quantized"], got["tensors"]), (278, 320))
        self.assertGreater(got["bits_per_weight"], 5.125)
        # 2,048 tokens reach most experts with 128 tokens or more, not all.
        self.assertTrue(all(".experts." in u["tensor"] and u["tokens"] < 128 for u in got["uncovered"]))
        self.assertLess(len(got["uncovered"]), 200)
        config = open(os.path.join(out, "polar_config.json")).read()
        self.assertIn("calibrated on 2048 tokens of wikitext-sample.txt", config)
        self.fails(1, "quantize", MODEL, "-o", out, "--force", "--calibrate", SAMPLE, "--calibrate-tokens", "2048",
                   "--target-bpw", "3", says="3.000 bits a weight")

    def test_target(self):
        out = os.path.join(self.folder, "target")
        got = self.json("quantize", MODEL, "-o", out, "--calibrate", SAMPLE, "--calibrate-tokens", "2048",
                        "--target-bpw", "5.2")
        self.assertLessEqual(got["bits_per_weight"], 5.2)
        self.assertEqual(got["bits_per_weight"], got["allocation"]["bits_per_weight"])
        kinds = {kind["kind"]: kind["bits"] for kind in got["allocation"]["kinds"]}
        self.assertIn("mixer.experts.up_proj.weight", kinds)
        self.assertGreater(len(set(kinds.values())), 1)
        self.assertTrue(all(3 <= bits <= 8 for bits in kinds.values()))
        said = self.json("inspect", out)
        self.assertEqual(said["problems"], [])
        self.assertAlmostEqual(said["coded_bits_per_weight"], got["bits_per_weight"])

    def test_dry_run(self):
        out = os.path.join(self.folder, "dry")
        got = self.json("quantize", MODEL, "-o", out, "--dry-run")
        self.assertIsNone(got["cosine_min"])
        self.assertFalse(os.path.exists(out))

    def test_usage(self):
        out = os.path.join(self.folder, "usage")
        self.fails(2, "quantize", MODEL, says="--out")
        self.fails(2, "quantize", MODEL, "-o", out, "--bits", "9", says="9")
        self.fails(2, "quantize", MODEL, "-o", out, "--profile", "v6", says="v6")
        self.fails(2, "quantize", MODEL, "-o", out, "--profile", "hlwq-q5", "--codebook", "grid", says="hlwq-q5")
        self.fails(2, "quantize", MODEL, "-o", out, "--profile", "hlwq-q5", "--bits", "4", says="hlwq-q5")
        self.fails(2, "quantize", MODEL, "-o", out, "--shard-bytes", "5 apples", says="5 apples")
        self.fails(2, "quantize", MODEL, "-o", out, "--force", "--resume", says="--resume")
        self.fails(2, "quantize", MODEL, "-o", out, "--device", "cuda", says="--calibrate")
        self.fails(2, "quantize", MODEL, "-o", out, "--target-bpw", "5", says="--calibrate")
        self.fails(2, "quantize", MODEL, "-o", out, "--target-bpw", "5", "--calibrate", SAMPLE, "--profile", "hlwq-q5",
                   says="hlwq-q5")
        self.fails(1, "quantize", MODEL, "-o", out, "--calibrate", "/no/such/text", says="/no/such/text")
        self.fails(1, "quantize", "/no/such/folder", "-o", out, says="/no/such/folder")
        self.fails(1, "quantize", self.quantized(), "-o", out, says="already HLWQ")
        self.assertFalse(os.path.exists(out))

    def test_inspect(self):
        got = self.json("inspect", self.quantized(), "--verify")
        self.assertEqual(got["architecture"], "NemotronHForCausalLM")
        self.assertEqual((got["missing"], got["unknown"], got["problems"]), ([], [], []))
        self.assertEqual(len(got["tensors"]), 320)
        self.assertIn("polar_engine_v5", got["variant"])
        self.assertEqual(got["codebooks"][0]["origin"], "grid")
        self.assertIn("lm_head", self.text("inspect", self.quantized(), "--tensors").decode())
        self.fails(1, "inspect", "/no/such/folder", says="/no/such/folder")

    def test_inspect_finds_damage(self):
        damaged = os.path.join(self.folder, "damaged")
        shutil.copytree(self.quantized(), damaged)
        with open(os.path.join(damaged, "model.safetensors"), "r+b") as file:
            data = bytearray(file.read())
            for i in range(len(data) - 3_000_000, len(data)):  # codes and norms alike
                data[i] = 0xFF
            file.seek(0)
            file.write(data)
        done = self.hlwq("inspect", damaged, "--verify", "--json")
        self.assertEqual(done.returncode, 1)
        self.assertIn("damaged", done.stderr.decode())
        self.assertTrue(json.loads(done.stdout)["problems"])

    def test_compare(self):
        got = self.json("compare", MODEL, self.quantized())
        self.assertGreater(got["cosine_min"], 0.998)
        self.assertEqual(len(got["tensors"]), 320)
        kinds = {kind["name"]: kind for kind in got["kinds"]}
        self.assertEqual(sum(kind["tensors"] for kind in kinds.values()), len(got["tensors"]))
        up = kinds["mixer.experts.up_proj.weight"]
        cosines = [t["cosine"] for t in got["tensors"] if ".experts." in t["name"] and "up_proj" in t["name"]]
        self.assertEqual((up["tensors"], len(cosines)), (4 * 32, 4 * 32))
        self.assertEqual(up["cosine_min"], min(cosines))
        self.assertAlmostEqual(up["cosine_mean"], sum(cosines) / len(cosines), places=12)
        self.assertGreater(up["snr_db"], 20)
        self.assertIsNone(kinds["norm.weight"]["snr_db"], "equal: no noise at all")
        self.assertIn("mixer.experts.up_proj.weight (128)", self.text("compare", MODEL, self.quantized()).decode())
        self.assertIn("320 equal", self.text("compare", MODEL, MODEL).decode())
        self.fails(1, "compare", MODEL, "/no/such/folder", says="/no/such/folder")

    def test_dequantize(self):
        plain = os.path.join(self.folder, "plain")
        got = self.json("dequantize", self.quantized(), "-o", plain)
        self.assertEqual((got["tensors"], got["missing"]), (320, []))
        ids = "1,745,1291,307"
        exact = self.json("logits", self.quantized(), "--ids", ids, "--compute", "exact")["last"]
        decoded = self.json("logits", plain, "--ids", ids)["last"]
        largest = max(abs(x) for x in exact)
        # BF16 rounds each weight by up to 2^-9; over the layers that stays a few percent.
        self.assertLess(max(abs(a - b) for a, b in zip(exact, decoded)) / largest, 0.05)
        self.fails(2, "dequantize", self.quantized(), "-o", plain, "--dtype", "f8", says="f8")

    def test_demo(self):
        got = self.json("demo")
        self.assertEqual(got["windows"], 32)
        self.assertLess(got["kl_mean"], 0.03)
        self.assertLess(got["ppl_after"], 1.03 * got["ppl_before"])
        self.assertEqual(len(got["generated"]), 2)
        self.assertTrue(all(g["generated_tokens"] > 0 for g in got["generated"]))

    def test_synthetic_checkpoints_load(self):
        script = os.path.join(SOURCE, "scripts", "make_checkpoint.py")
        for form in ("bf16", "v5-packed"):
            out = os.path.join(self.folder, "synthetic-" + form)
            subprocess.run([sys.executable, script, MODEL, out, "--format", form], check=True, capture_output=True)
            got = self.json("inspect", out, "--verify")
            self.assertEqual((got["missing"], got["unknown"], got["problems"]), ([], [], []))
            self.assertEqual(len(self.json("logits", out, "--ids", "1,2,3")["last"]), 8192)
        coded = os.path.join(self.folder, "synthetic-coded")
        self.json("quantize", os.path.join(self.folder, "synthetic-bf16"), "-o", coded)


main()
