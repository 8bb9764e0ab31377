"""What every command shares: help, version, exit codes, messages."""

import os
import tempfile

from harness import BINARY, MODEL, CommandTest, main

ENGINE_FLAGS = ["--device", "--threads", "--vram", "--moe-expert-cache-size", "--cache-policy", "--cpu-experts",
                "--kv-cache-nbits", "--context", "--compute", "--base"]
COMMANDS = {
    "run": ENGINE_FLAGS + ["--chat", "--temperature", "--top-p", "--top-k", "--min-p", "--seed", "--repeat-penalty",
                           "--stop", "--json", "-n", "--trace"],
    "logits": ENGINE_FLAGS + ["--ids", "--ids-file", "--top", "--all", "--prefill", "--chunk", "--batch", "--json"],
    "tokenize": ["--decode", "--json"],
    "ppl": ENGINE_FLAGS + ["--window", "--windows", "--kl-against", "--per-token", "--label", "--bits-per-weight", "--json"],
    "chat": ENGINE_FLAGS + ["--system", "-n", "--temperature", "--prefix-cache"],
    "serve": ENGINE_FLAGS + ["--host", "--port", "--port-file", "--api-key-file", "--max-batch", "--max-queue",
                             "--max-connections", "--prefix-cache", "--tls-cert", "--cors-origin", "--drain-timeout"],
    "bench": ENGINE_FLAGS + ["--prompt", "--generate", "--batch", "--depth", "--reps", "--trace", "--chart", "--json"],
    "chart": ["--out", "--json"],
    "card": ["--results", "--base", "--force", "--json"],
    "plan": ENGINE_FLAGS + ["--synthetic", "--batch", "--trace", "--json"],
}


class Usage(CommandTest):
    def test_help_names_the_commands(self):
        out = self.text("--help").decode()
        for name in COMMANDS:
            self.assertIn("\n  " + name, out)

    def test_help_of_each_command_shows_flags_and_defaults(self):
        for name, flags in COMMANDS.items():
            out = self.text(name, "--help").decode()
            for flag in flags:
                self.assertIn(flag, out, name)
        self.assertIn("-n,--max-tokens N=128", self.text("run", "--help").decode())
        self.assertIn("--window N=512", self.text("ppl", "--help").decode())

    def test_version(self):
        self.assertRegex(self.text("--version").decode(), r"^hlwq \d+\.\d+\.\d+\n$")

    def test_bad_usage_is_2(self):
        self.fails(2)
        self.fails(2, "sing")
        self.fails(2, "run")
        self.fails(2, "ppl", MODEL)
        for flags, says in [
            (["--loud"], "--loud"),
            (["-n", "many"], "--max-tokens"),
            (["-n", "-1"], "--max-tokens"),
            (["--temperature", "warm"], "--temperature"),
            (["--temperature", "-1"], "--temperature"),
            (["--temperature", "nan"], "--temperature"),
            (["--top-p", "1.01"], "--top-p"),
            (["--seed", "-3"], "--seed"),
            (["--seed", "99999999999999999999"], "--seed"),
            (["--device", "tpu"], ["--device", "tpu", "reference"]),
            (["--compute", "int3"], "--compute"),
            (["--threads", "-1"], "--threads"),
            (["--context", "-5"], "--context"),
            (["--kv-cache-nbits", "1"], "--kv-cache-nbits"),
            (["--kv-cache-nbits", "5"], "--kv-cache-nbits"),
            (["--v-cache-nbits", "1"], "--v-cache-nbits"),
            (["--kv-check", "maybe"], "--kv-check"),
            (["--stop", ""], "--stop"),
        ]:
            with self.subTest(flags=flags):
                self.fails(2, "run", MODEL, "-p", "x", *flags, says=says)

    def test_what_this_build_cannot_do_is_1(self):
        for flags, says in [
            (["--device", "cpu", "--vram", "8GB"], ["--vram", "no memory of its own"]),
            (["--device", "cpu", "--moe-expert-cache-size", "4"], "--moe-expert-cache-size"),
            (["--cache-policy", "lfru"], ["--cache-policy lfru", "nothing is cached"]),
            (["--cpu-experts", "0.5"], "--cpu-experts"),
        ]:
            with self.subTest(flags=flags):
                self.fails(1, "run", MODEL, "-p", "x", *flags, says=says)
        self.text("run", MODEL, "-p", "x", "-n", 1, "--moe-expert-cache-size", "all")

    def test_missing_model_is_1_and_named(self):
        for command in [["run", "-p", "x"], ["logits", "--ids", "1"], ["tokenize"]]:
            with self.subTest(command=command):
                self.fails(1, command[0], "/nowhere/model", *command[1:], says="/nowhere/model", stdin="x")

    def test_broken_model_is_1(self):
        with tempfile.TemporaryDirectory() as folder:
            self.fails(1, "logits", folder, "--ids", "1", says="config.json")
            with open(os.path.join(folder, "config.json"), "w") as file:
                file.write('{"architectures": ["SomethingElse"], "model_type": "something_else"}')
            self.fails(1, "logits", folder, "--ids", "1", says="config.json")
            with open(os.path.join(folder, "config.json"), "w") as file:
                file.write("{")
            self.fails(1, "logits", folder, "--ids", "1", says="config.json")

    def test_a_device_that_is_not_there_is_1(self):
        done = self.hlwq("logits", MODEL, "--ids", "1", "--device", "cuda")
        if done.returncode == 0:
            self.skipTest("there is a CUDA device")
        self.fails(1, "logits", MODEL, "--ids", "1", "--device", "cuda", says="--device cuda: ")

    def test_choice_of_device_is_logged_once(self):
        done = self.hlwq("logits", MODEL, "--ids", "1")
        lines = [line for line in done.stderr.decode().splitlines() if "device: " in line]
        self.assertEqual(len(lines), 1)
        if "device: cpu" in lines[0]:
            self.assertIn("because CUDA cannot be used", lines[0])
        self.assertNotIn(b"\r", done.stderr, "progress lines are for terminals")

    def test_full_disk_is_1(self):
        import subprocess

        with open("/dev/full", "wb") as full:
            done = subprocess.run([BINARY, "logits", MODEL, "--ids", "1", "--json"], stdout=full,
                                  stderr=subprocess.PIPE, timeout=300)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)


main()
