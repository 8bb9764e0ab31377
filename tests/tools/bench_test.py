"""hlwq bench."""

import os

from harness import MODEL, CommandTest, main

SMALL = ["--prompt", "24,40", "--generate", 4, "--reps", 3, "--batch", "1,3", "--depth", "0,17"]
ROW_FIELDS = ["name", "tok_s", "gb_s", "roof_share", "vram_peak_bytes", "host_bytes", "hit_rate"]


class Bench(CommandTest):
    def check(self, got, device):
        self.assertEqual(got["device"], device)
        self.assertEqual([row["name"] for row in got["rows"]],
                         ["prompt 24", "prompt 40", "decode", "decode at 17", "decode batch 3"])
        self.assertGreater(got["environment"]["read_gb_s"], 0)
        for row in got["rows"]:
            with self.subTest(row=row["name"]):
                for field in ROW_FIELDS:
                    self.assertIn(field, row)
                self.assertGreater(row["tok_s_least"], 0)
                self.assertLessEqual(row["tok_s_least"], row["tok_s"])
                self.assertLessEqual(row["tok_s"], row["tok_s_most"])
                self.assertGreater(row["host_bytes"], 1 << 20)
                if row["name"].startswith("prompt"):
                    self.assertIsNone(row["gb_s"])
                else:
                    self.assertGreater(row["gb_s"], 0)
                    self.assertAlmostEqual(row["roof_share"], row["gb_s"] / got["environment"]["read_gb_s"])

    def test_cpu(self):
        got = self.json("bench", MODEL, *SMALL, "--device", "cpu")
        self.check(got, "cpu")
        self.assertTrue(all(row["vram_peak_bytes"] is None for row in got["rows"]))
        # A step of three sequences reads more than a step of one, and less than three times that.
        step = {row["name"]: row["gb_s"] / row["tok_s"] for row in got["rows"] if row["gb_s"]}
        self.assertLess(step["decode"], step["decode batch 3"] * 3)
        self.assertLess(step["decode batch 3"], step["decode"])

    def test_cuda(self):
        done = self.hlwq("bench", MODEL, *SMALL, "--device", "cuda", "--json")
        if done.returncode != 0 and b"cuda" in done.stderr.lower():
            if os.path.exists("/dev/nvidia0"):
                self.assertIn(b"built without CUDA", done.stderr)
            self.skipTest(done.stderr.decode().strip())
        got = self.json("bench", MODEL, *SMALL, "--device", "cuda")
        self.check(got, "cuda")
        self.assertTrue(all(row["vram_peak_bytes"] > 1 << 20 for row in got["rows"]))

    def test_synthetic(self):
        got = self.json("bench", "--synthetic", "tiny:seed=3", *SMALL, "--device", "cpu")
        self.check(got, "cpu")
        self.assertEqual(got["environment"]["compute"], "int8")
        self.fails(2, "bench", "--synthetic", "huge", says=["--synthetic", "huge"])

    def test_kinds_of_rows_can_be_left_out(self):
        names = lambda *args: [row["name"] for row in self.json("bench", MODEL, "--reps", 1, *args)["rows"]]
        self.assertEqual(names("--prompt", 0, "--generate", 2, "--batch", 2, "--depth", 3), ["decode at 3 batch 2"])
        self.assertEqual(names("--prompt", 5, "--generate", 0), ["prompt 5"])

    def test_text_output(self):
        out = self.text("bench", MODEL, "--prompt", 8, "--generate", 2, "--reps", 1, "--batch", 1, "--depth", 0).decode()
        for word in ["prompt 8", "decode", "tok/s", "of roof", "GB/s"]:
            self.assertIn(word, out)

    def test_bad_usage(self):
        self.fails(2, "bench", says="MODEL")
        self.fails(2, "bench", MODEL, "--synthetic", "nemotron-30b-a3b", says="MODEL")
        self.fails(2, "bench", MODEL, "--prompt", 0, "--generate", 0, says="--generate")
        self.fails(2, "bench", MODEL, "--prompt", 512, "--context", 100, says="--context")
        for flag, value in [("--prompt", -1), ("--prompt", "8,x"), ("--reps", 0), ("--batch", 0), ("--depth", -1)]:
            with self.subTest(flag=flag, value=value):
                self.fails(2, "bench", MODEL, flag, value, says=flag)
        self.fails(1, "bench", "/nowhere", *SMALL, says="/nowhere")


main()
