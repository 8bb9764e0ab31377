"""hlwq run."""

import os
import signal
import subprocess

from harness import BINARY, MODEL, CommandTest, main

GREEDY = ["--temperature", 0, "-n", 12]


class Run(CommandTest):
    def test_fields(self):
        got = self.json("run", MODEL, "-p", "The city of", *GREEDY)
        self.assertEqual(len(got["ids"]), 12)
        self.assertEqual(got["generated_tokens"], 12)
        self.assertEqual(got["prompt_tokens"], len(got["prompt_ids"]))
        self.assertEqual(got["finish_reason"], "length")
        self.assertGreater(got["prompt_tok_s"], 0)
        self.assertGreater(got["decode_tok_s"], 0)
        # transformers' greedy continuation of this prompt.
        self.assertTrue(" Bermuda was a small town in the country, and the seat".startswith(got["text"]), got["text"])
        self.assertEqual(got["sampling"]["temperature"], 0)
        self.assertEqual(got["sampling"]["top-p"], 0.95)

    def test_streamed_text_is_the_json_text(self):
        text = self.json("run", MODEL, "-p", "The city of", *GREEDY)["text"]
        self.assertEqual(self.text("run", MODEL, "-p", "The city of", *GREEDY).decode(), text + "\n")

    def test_prompt_from_standard_input(self):
        given = self.json("run", MODEL, "-p", "The city of", *GREEDY)
        self.assertEqual(self.json("run", MODEL, *GREEDY, stdin="The city of\n")["ids"], given["ids"])
        self.assertEqual(self.json("run", MODEL, *GREEDY, stdin="The city of")["prompt_ids"], given["prompt_ids"])

    def test_chat(self):
        got = self.json("run", MODEL, "--chat", "-p", "What is a volcano?", "--temperature", 0, "-n", 8)
        self.assertEqual(got["prompt_ids"][:2], [1, 10])
        self.assertTrue(got["text"].startswith("The eruption is"), got["text"])

    def test_seeds(self):
        args = ["run", MODEL, "-p", "The", "-n", 16]
        first = self.json(*args)
        again = self.json(*args, "--seed", first["sampling"]["seed"], "--threads", 1)
        self.assertEqual(first["ids"], again["ids"])
        self.assertNotEqual(self.json(*args, "--seed", 1)["ids"], self.json(*args, "--seed", 2)["ids"])

    def test_stop(self):
        text = self.json("run", MODEL, "-p", "The city of", *GREEDY)["text"]
        got = self.json("run", MODEL, "-p", "The city of", *GREEDY, "--stop", text[5:9], "--stop", "zzz")
        self.assertEqual(got["text"], text[:5])
        self.assertEqual(got["finish_reason"], "stop")

    def test_text_of_any_kind(self):
        for prompt in ["", "\u00e9\u4e2d\U0001f600", "a\tb\r\n\x01", "<|im_end|>"]:
            with self.subTest(prompt=prompt):
                self.json("run", MODEL, "-p", prompt, "-n", 4, "--temperature", 3)
        self.json("run", MODEL, "-n", 4, stdin=b"\xff\xfe\x80 broken \xc3")
        self.json("run", MODEL, "-n", 4, stdin=b"zero \x00 byte")

    def test_amounts(self):
        self.assertEqual(self.json("run", MODEL, "-p", "x", "-n", 0)["ids"], [])
        full = self.json("run", MODEL, "-p", "The city of", "-n", 10**12, "--context", 24, "--temperature", 0)
        self.assertEqual(full["finish_reason"], "context")
        # The last token is chosen but need not fit.
        self.assertEqual(full["prompt_tokens"] + full["generated_tokens"], 25)

    def test_prompt_beyond_the_context(self):
        self.fails(1, "run", MODEL, "-p", "word " * 40, "--context", 16, says=["--context", "16"])

    def test_interrupt_ends_cleanly(self):
        running = subprocess.Popen([BINARY, "run", MODEL, "-p", "The city of", "-n", "1000000", "--temperature", "0",
                                    "--context", "1000000", "--stop", "never in there"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertTrue(os.read(running.stdout.fileno(), 1))
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
        self.assertEqual(running.returncode, 1, err)
        self.assertIn(b"hlwq: error: interrupted", err)
        self.assertTrue(out.endswith(b"\n"))


main()
