"""hlwq logits."""

import hashlib
import struct
import tempfile

from harness import MODEL, CommandTest, main

IDS = "1,464,1748,286,17,4,99"


class Logits(CommandTest):
    def test_fields(self):
        got = self.json("logits", MODEL, "--ids", IDS)
        self.assertEqual(got["ids"], [int(i) for i in IDS.split(",")])
        self.assertEqual(len(got["last"]), 8192)
        self.assertEqual(len(got["positions"]), 1)
        top = got["positions"][0]
        self.assertEqual(len(top["top_ids"]), 20)
        self.assertEqual(top["top_logits"], sorted(top["top_logits"], reverse=True))
        self.assertEqual([got["last"][i] for i in top["top_ids"]], top["top_logits"])
        # The numbers are exact: their FP32 bytes have the hash.
        raw = struct.pack("<8192f", *got["last"])
        self.assertEqual(hashlib.sha256(raw).hexdigest(), got["sha256"])

    def test_all_positions_and_top(self):
        got = self.json("logits", MODEL, "--ids", IDS, "--all", "--top", 3)
        self.assertEqual([p["position"] for p in got["positions"]], list(range(7)))
        self.assertTrue(all(len(p["top_ids"]) == 3 for p in got["positions"]))
        self.assertEqual(self.json("logits", MODEL, "--ids", IDS, "--top", 0)["positions"][0]["top_ids"], [])
        self.assertEqual(len(self.json("logits", MODEL, "--ids", "5", "--top", 10**9)["positions"][0]["top_ids"]), 8192)

    def test_same_cuts_same_bits(self):
        one = self.json("logits", MODEL, "--ids", IDS, "--prefill", 5, "--chunk", 2)
        many = self.json("logits", MODEL, "--ids", IDS, "--prefill", 5, "--chunk", 2, "--batch", 5, "--threads", 1)
        self.assertEqual(one["sha256"], many["sha256"])
        self.assertTrue(many["copies_equal"])
        whole = self.json("logits", MODEL, "--ids", IDS)
        scale = max(map(abs, whole["last"]))
        self.assertLess(max(abs(a - b) for a, b in zip(one["last"], whole["last"])), 1e-4 * scale)

    def test_ids_from_a_file(self):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("1 464,1748\n286\t17,\n4 99\n")
            file.flush()
            self.assertEqual(self.json("logits", MODEL, "--ids-file", file.name)["sha256"],
                             self.json("logits", MODEL, "--ids", IDS)["sha256"])
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("1 2 three")
            file.flush()
            self.fails(1, "logits", MODEL, "--ids-file", file.name, says=[file.name, "three"])
        self.fails(1, "logits", MODEL, "--ids-file", "/nowhere/ids", says="/nowhere/ids")

    def test_bad_ids(self):
        for ids in ["", " , ", "1,x", "1,-2", "1;2", "1.5", "4294967296", "0x10", "\xff\x00"[:1]]:
            with self.subTest(ids=ids):
                self.fails(2, "logits", MODEL, "--ids", ids, says="--ids")
        self.fails(1, "logits", MODEL, "--ids", "1,8192", says=["8192", "position 1"])
        self.fails(1, "logits", MODEL, "--ids", "2147483647", says="2147483647")
        self.fails(2, "logits", MODEL)
        self.fails(2, "logits", MODEL, "--ids", "1", "--ids-file", "x")

    def test_bad_cuts(self):
        self.fails(2, "logits", MODEL, "--ids", IDS, "--prefill", 8, says="--prefill")
        self.fails(2, "logits", MODEL, "--ids", IDS, "--prefill", -1, says="--prefill")
        self.fails(2, "logits", MODEL, "--ids", IDS, "--chunk", 0, says="--chunk")
        self.fails(2, "logits", MODEL, "--ids", IDS, "--batch", 0, says="--batch")
        self.fails(2, "logits", MODEL, "--ids", IDS, "--batch", 10**6, says="--batch")

    def test_context_overflow(self):
        self.fails(1, "logits", MODEL, "--ids", IDS, "--context", 6, says="--context")

    def test_text_output(self):
        out = self.text("logits", MODEL, "--ids", IDS, "--top", 2).decode()
        self.assertIn("position 6", out)
        self.assertIn("sha256", out)


main()
