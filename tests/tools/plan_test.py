"""hlwq plan, and the traces of run and bench that it reads."""

import os
import struct
import tempfile

from harness import MODEL, CommandTest, main

ROW_FIELDS = ["vram_bytes", "slots", "resident_bytes", "predicted_tok_s", "hit_rate", "host_bytes", "belady_hit_rate"]


def read_trace(path):
    """(layers, experts, used), [(prompt, tokens)] of docs/format.md#routing-traces."""
    with open(path, "rb") as file:
        data = file.read()
    magic, version, layers, experts, used, steps = struct.unpack_from("<8sIIIIQ", data)
    assert magic == b"HLWQROUT" and version == 1
    at, found = 32, []
    for _ in range(steps):
        tokens, flags = struct.unpack_from("<II", data, at)
        at += 8 + 2 * layers * tokens * used
        found.append((flags == 1, tokens))
    assert at == len(data)
    return (layers, experts, used), found


class Plan(CommandTest):
    def device(self):
        """Skips the test where there is no GPU."""
        done = self.hlwq("plan", "--synthetic", "tiny", "--device", "cuda", "--json")
        if done.returncode != 0:
            self.assertIn(b"--device cuda: ", done.stderr)
            self.skipTest(done.stderr.decode().strip())

    def test_needs_a_gpu(self):
        for args in [[MODEL], ["--synthetic", "tiny"], [MODEL, "--vram", "8GB,12GB", "--json"]]:
            self.fails(1, "plan", *args, "--device", "cpu", says=["cpu", "no memory of its own"])

    def test_bad_usage(self):
        self.fails(2, "plan", says="MODEL")
        self.fails(2, "plan", MODEL, "--synthetic", "tiny", says="MODEL")
        self.fails(2, "plan", "--synthetic", "huge", says=["--synthetic", "huge"])
        for flag, value in [("--vram", "8GB,much"), ("--vram", "0"), ("--vram", "8GB,"), ("--batch", 0),
                            ("--moe-expert-cache-size", 8), ("--cache-policy", "best"), ("--context", -1)]:
            with self.subTest(flag=flag, value=value):
                self.fails(2, "plan", MODEL, flag, value, says=flag)

    def test_traces(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "trace")
            plain = self.json("run", MODEL, "-p", "The city", "-n", 5, "--temperature", 0, "--device", "cpu")
            traced = self.json("run", MODEL, "-p", "The city", "-n", 5, "--temperature", 0, "--device", "cpu",
                               "--trace", path)
            self.assertEqual(traced["ids"], plain["ids"])
            shape, steps = read_trace(path)
            self.assertEqual(shape[1], 32)
            self.assertEqual(steps, [(True, traced["prompt_tokens"])] + [(False, 1)] * 4)
            self.json("bench", "--synthetic", "tiny", "--prompt", 6, "--generate", 3, "--reps", 1, "--batch", "1,2",
                      "--depth", 0, "--device", "cpu", "--trace", path)
            shape, steps = read_trace(path)
            self.assertEqual(shape, (3, 16, 3))
            self.assertEqual(steps, [(True, 6)] * 2 + [(False, 1)] * 11 + [(False, 2)] * 11)
            self.fails(1, "run", MODEL, "-p", "x", "-n", 1, "--trace", os.path.join(folder, "no", "trace"),
                       says="trace")

    def test_rows(self):
        self.device()
        got = self.json("plan", "--synthetic", "tiny", "--device", "cuda")
        budgets = [row["vram_bytes"] for row in got["rows"]]
        self.assertEqual(budgets, sorted(budgets))
        self.assertTrue(got["rows"][-1]["resident"])
        self.assertEqual(got["command"], "plan")
        for field in ("attention_layers", "kv_heads", "head_dim"):
            self.assertGreater(got[field], 0, field)
        got = self.json("plan", "--synthetic", "tiny", "--device", "cuda", "--vram", ",".join(map(str, budgets)))
        self.assertEqual([row["vram_bytes"] for row in got["rows"]], budgets)
        slots = [row["slots"] for row in got["rows"]]
        self.assertEqual(slots, sorted(slots))
        for row in got["rows"]:
            for field in ROW_FIELDS:
                self.assertIn(field, row)
            self.assertLessEqual(row["resident_bytes"], row["vram_bytes"])
            self.assertGreater(row["predicted_tok_s"], 0)
        self.assertIn("choose ", self.text("plan", MODEL, "--device", "cuda").decode())
        self.fails(1, "plan", "--synthetic", "tiny", "--device", "cuda", "--vram", "1MB", says="1000000 bytes")


main()
