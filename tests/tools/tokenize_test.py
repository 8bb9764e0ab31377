"""hlwq tokenize."""

import os

from harness import DATA, MODEL, CommandTest, main


class Tokenize(CommandTest):
    def test_ids_and_pieces(self):
        got = self.json("tokenize", MODEL, "The city of")
        self.assertEqual(got["ids"][0], 1)
        self.assertEqual(got["pieces"][0], "<s>")
        self.assertEqual("".join(got["pieces"][1:]), "The city of")
        self.assertEqual(self.json("tokenize", MODEL, "The city of", "--no-special")["ids"], got["ids"][1:])

    def test_there_and_back(self):
        text = "caf\u00e9 \u4e2d\u6587 \U0001f600\n\ttab"
        ids = self.json("tokenize", MODEL, "--no-special", stdin=text)["ids"]
        back = self.json("tokenize", MODEL, "--decode", ",".join(map(str, ids)))
        self.assertEqual(back["text"], text)
        self.assertEqual(self.text("tokenize", MODEL, "--decode", stdin=" ".join(map(str, ids))).decode(), text + "\n")

    def test_json_holds_any_bytes(self):
        # Half characters are single byte tokens: their pieces are not UTF-8 and become U+FFFD.
        got = self.json("tokenize", MODEL, "--no-special", "\U0001f9ff\u4e59")
        self.assertTrue(any("\ufffd" in piece for piece in got["pieces"]))
        self.json("tokenize", MODEL, stdin=b"\xff\x00\xfe")

    def test_first_tokens_of_wikitext(self):
        with open(os.path.join(DATA, "wikitext2", "wiki.test.raw"), "rb") as file:
            got = self.json("tokenize", MODEL, "--no-special", stdin=file.read())
        self.assertEqual(len(got["ids"]), 350356)

    def test_empty_text(self):
        self.assertEqual(self.json("tokenize", MODEL, "")["ids"], [1])
        self.assertEqual(self.json("tokenize", MODEL, "--no-special", stdin=b"")["ids"], [])

    def test_bad_ids(self):
        self.fails(2, "tokenize", MODEL, "--decode", "1,two", says="two")
        self.fails(1, "tokenize", MODEL, "--decode", stdin="1,two", says="two")
        self.fails(1, "tokenize", MODEL, "--decode", "8192", says="8192")


main()
