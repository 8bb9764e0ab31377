"""hlwq card."""

import json
import os
import re
import shutil
import tempfile

from harness import MODEL, CommandTest, main


def ppl_result(model, label, **more):
    return {"command": "ppl", "model": model, "file": "texts/wiki.raw", "kl_against": "original", "label": label,
            "compute": "int8", "k_cache_nbits": 16, "v_cache_nbits": 16, "window": 512, "windows": 128, "ppl": 28.8234, "stderr": 0.8541,
            "ppl_reference": 28.4546, "bits_per_weight": 5.125, "kl_mean": 0.023864, "kl_mean_stderr": 0.000731,
            "kl_p99": 0.17778, "top1": 0.90836, "top1_stderr": 0.0021,
            "environment": {"version": "9.8.7", "backend": "a card", "cpu": "a processor"}, **more}


def bench_result(model, **more):
    return {"command": "bench", "model": model, "parameters": 17624800, "file_bytes": 13554608, "bits_per_weight": 6.0,
            "options": {"vram": "7.6GB"},
            "environment": {"version": "9.8.7", "backend": "a card", "prefill_chunk": 512, "repetitions": 3, "k_cache_nbits": 16, "v_cache_nbits": 16},
            "rows": [{"name": "decode", "tok_s": 160.25, "tok_s_least": 150.0, "tok_s_most": 170.5, "hit_rate": 0.36,
                      "vram_peak_bytes": 7400000000, "host_bytes": 20000000000}], **more}


class Card(CommandTest):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="hlwq-card-")
        cls.folder = os.path.join(cls.scratch.name, "tiny-q4")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def setUp(self):
        if not os.path.exists(self.folder):
            self.json("quantize", MODEL, "-o", self.folder, "--bits", 4, "--norms", "plain")
        for name in ("README.md", "charts"):
            path = os.path.join(self.folder, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.path.exists(path) and os.remove(path)

    def put(self, name, content):
        path = os.path.join(self.scratch.name, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))
        return path

    def card(self, *args):
        """Fields of the front matter, and the rest."""
        self.json("card", self.folder, *args)
        with open(os.path.join(self.folder, "README.md"), encoding="utf-8") as file:
            text = file.read()
        found = re.fullmatch(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL)
        fields, tags = {}, []
        for line in found[1].split("\n"):
            if line.startswith("- "):
                tags.append(line[2:])
            else:
                key, value = re.fullmatch(r"([a-z_]+):(?: (.*))?", line).groups()
                self.assertNotIn(key, fields)
                fields[key] = json.loads(value) if value and value[0] == '"' else value
        fields["tags"] = tags
        return fields, found[2]

    def test_without_results(self):
        fields, text = self.card()
        self.assertEqual(fields, {"library_name": "hlwq", "pipeline_tag": "text-generation",
                                  "tags": ["hlwq", "quantized", "nemotron-h"]})
        for words in ["# tiny-q4\n", "The quality of this checkpoint was not measured", "The speed of this checkpoint was not measured",
                      "| parameters | 17,624,800 |", "278 of 4 bits", "| codebook | 4 bits: grid |",
                      "| quantized with | HLWQ Q4: grid codebook, plain norms |", "hlwq run ", "hlwq serve", "**tiny-nemotron-h**"]:
            self.assertIn(words, text)
        self.assertNotIn("charts/", text)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "charts")))

    def test_with_results(self):
        results = self.put("r.json", [ppl_result("/m/other", "published"), ppl_result("/m/tiny-q4/", "ours"),
                                      ppl_result("plain", "", kl_mean=None, kl_mean_stderr=None, kl_p99=None, top1=None,
                                                 top1_stderr=None, ppl_reference=None, bits_per_weight=None)])
        got = self.json("card", self.folder, "--results", results, self.put("b.json", bench_result("tiny-q4")))
        self.assertEqual(got["files"], ["README.md", "charts/memory.svg", "charts/memory.png", "charts/speed.svg",
                                        "charts/speed.png", "charts/quality.svg", "charts/quality.png"])
        fields, text = self.card("--force", "--results", results, self.put("b.json", bench_result("tiny-q4")))
        rows = [line for line in text.splitlines() if line.startswith("| **tiny-q4**")]
        self.assertEqual(rows[0], "| **tiny-q4**, ours | 5.125 | 28.823 ± 0.854 | 28.455 | 0.02386 ± 0.00073 | 0.1778 | 90.84 ± 0.21 |")
        self.assertEqual(rows[1], "| **tiny-q4**, 7.6GB | decode | 160.2 | 150.0 to 170.5 | 36.0 % | 7.40 GB | 20.0 GB |")
        self.assertLess(text.index("**tiny-q4**, ours"), text.index("| other, published"), "its own comes first")
        self.assertIn("| plain | – | 28.823 ± 0.854 | – | – | – | – |", text)
        for words in ["128 windows of 512 tokens of wiki.raw", "KL from original with exact compute", "a card; a processor; hlwq 9.8.7",
                      "median of 3", "--vram 7.6GB", "prompts in chunks of 512", "one standard error"]:
            self.assertIn(words, text)
        for link in re.findall(r"\((charts/[^)]*)\)", text):
            self.assertTrue(os.path.exists(os.path.join(self.folder, link)), link)
        self.assertEqual(len(re.findall(r"!\[", text)), 3)
        self.assertNotIn("was not measured", text)
        _, other = self.card("--force", "--results", self.put("o.json", [ppl_result("/m/other", "published")]))
        self.assertIn("The quality of this checkpoint was not measured", other)
        self.assertIn("| other, published |", other)

    def test_same_results_same_card(self):
        results = self.put("r.json", [ppl_result("tiny-q4", "ours"), bench_result("tiny-q4")])
        first = self.card("--results", results)
        self.assertEqual(self.card("--force", "--results", results), first)

    def test_does_not_overwrite(self):
        self.card()
        self.fails(1, "card", self.folder, says=["README.md", "--force"])
        self.card("--force")
        self.assertFalse([name for name in os.listdir(self.folder) if "tmp" in name or "partial" in name])

    def test_license_of_the_original(self):
        base = os.path.dirname(self.put("base/README.md", "---\nlicense: other\nlicense_name: 'toy license'\n"
                                        "license_link: LICENSE\ntags:\n- a\n---\nlicense: mit\n"))
        fields, _ = self.card("--base", base)
        self.assertEqual((fields["license"], fields["license_name"], fields["license_link"]), ("other", "toy license", "LICENSE"))
        for card in ["no front matter\nlicense: mit\n", "---\nlicense: " + "x" * 1000 + "\n---\n", "---\nlicense:\n- a\n---\n", "", "---"]:
            self.put("base/README.md", card)
            fields, _ = self.card("--force", "--base", base)
            self.assertNotIn("license", fields)
        self.put("base/README.md", '---\nlicense: "a\\nb: c"\n---\n')
        fields, _ = self.card("--force", "--base", base)
        self.assertEqual(fields["license"], "a\\nb: c")

    def test_text_from_outside_is_escaped(self):
        folder = os.path.join(self.scratch.name, "1. x|<b>`[a](x)`*y*")
        shutil.copytree(self.folder, folder)
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "polar_config.json")
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        config.update(quantization="evil\n---\n# | <script>alert(1)</script> www.x.y http://x.y a@b.c", base_model="owner/name")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        results = self.put("e.json", [ppl_result("a|b", "c\n\n# d <img src=x>", file="f]()`"), bench_result("- g\x00h")])
        self.json("card", folder, "--results", results)
        with open(os.path.join(folder, "README.md"), encoding="utf-8") as file:
            text = file.read()
        self.assertIn('base_model: "owner/name"\nbase_model_relation: quantized\n', text)
        self.assertIn("\n# 1\\. x\\|&lt;b&gt;\\`\\[a\\](x)\\`\\*y\\*\n", text)
        self.assertIn("evil --- \\# \\| &lt;script&gt;alert(1)&lt;/script&gt; www\\.x.y http\\://x.y a\\@b.c", text)
        for raw in ["<script", "<img", "<b>", "\n# d", "[a](", "`[a"]:
            self.assertNotIn(raw, text)
        for line in text.splitlines():
            if line.startswith("| "):
                bars = len(re.findall(r"(?<!\\)\|", line))
                self.assertIn(bars, (3, 8), line)
        config["base_model"] = "../../etc/passwd"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        self.json("card", folder, "--force")
        with open(os.path.join(folder, "README.md"), encoding="utf-8") as file:
            self.assertNotIn("base_model", file.read())

    def test_what_cannot_be(self):
        self.fails(2, "card", says="OUT")
        self.fails(1, "card", "/nowhere", says="/nowhere")
        self.fails(1, "card", self.folder, "--results", "/nowhere.json", says="/nowhere.json")
        self.fails(1, "card", self.folder, "--results", self.put("x.json", {"a": 1}), says=["x.json", "command"])
        self.assertFalse(os.path.exists(os.path.join(self.folder, "README.md")), "nothing half done")


main()
