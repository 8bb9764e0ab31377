"""hlwq chat through a pipe, and what hlwq serve refuses before it loads anything."""

import os
import socket
import tempfile

from harness import MODEL, CommandTest, main


class Chat(CommandTest):
    def chat(self, text, *flags):
        return self.text("chat", MODEL, "-n", 20, "--temperature", 0, *flags, stdin=text).decode()

    def test_answers_line_by_line(self):
        out = self.chat("What is a volcano?\n")
        self.assertIn("The eruption is the caldera of the Russian Empire", out)
        twice = self.chat("What is a volcano?\n/clear\nWhat is a volcano?\n")
        self.assertEqual(twice.count("The eruption is the caldera"), 2, "a cleared conversation begins anew")

    def test_a_turn_sees_the_one_before(self):
        both = self.chat("What is a volcano?\nWhat is a volcano?\n")
        self.assertEqual(both.count("The eruption is the caldera"), 1)

    def test_commands(self):
        out = self.chat("/help\n/stats\n/system Be brief.\n/retry\n/quit\nnever asked\n")
        for word in ["/clear", "KV cache", "nothing was said"]:
            self.assertIn(word, out)
        self.assertNotIn("[length]", out)

    def test_retry_answers_again(self):
        out = self.chat("What is a volcano?\n/retry\n")
        self.assertEqual(out.count("The eruption is the caldera"), 2)

    def test_lines_go_on_after_a_backslash(self):
        self.assertEqual(self.chat("one \\\ntwo\n").count("[length]"), 1)

    def test_a_model_without_a_template_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in os.listdir(MODEL):
                if name != "tokenizer_config.json":
                    os.symlink(os.path.join(MODEL, name), os.path.join(folder, name))
            self.fails(1, "chat", folder, stdin="hello\n", says="chat template")


class Serve(CommandTest):
    def test_other_addresses_want_keys(self):
        self.fails(1, "serve", "/no/such/model", "--host", "0.0.0.0", says=["--host", "--api-key-file"])

    def test_a_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            self.fails(1, "serve", "/no/such/model", "--port", taken.getsockname()[1], says="cannot listen")

    def test_half_of_tls(self):
        self.fails(1, "serve", "/no/such/model", "--port", 0, "--tls-cert", "x", says="--tls-key")

    def test_usage(self):
        self.fails(2, "serve")
        self.fails(2, "serve", MODEL, "--port", "70000", says="--port")
        self.fails(2, "serve", MODEL, "--max-batch", "-1", says="--max-batch")
        self.fails(1, "serve", "/no/such/model", "--port", 0, says="/no/such/model")
        self.fails(2, "demo", "--serve", "--json", says="--json")


main()
