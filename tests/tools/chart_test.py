"""hlwq chart and bench --chart: files, and SVG and PNG as other programs read them."""

import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from xml.etree import ElementTree

from harness import BINARY, DATA, MODEL, SOURCE, CommandTest, main

TEXT = os.path.join(DATA, "wikitext2", "wiki.test.raw")
SVG = "{http://www.w3.org/2000/svg}"


def read(path):
    with open(path, "rb") as file:
        return file.read()


def png_pixels(data):
    """(width, height, rows of RGB bytes) of an 8-bit RGB PNG."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed, size = 8, b"", None
    while at < len(data):
        (length,) = struct.unpack(">I", data[at:at + 4])
        kind, body = data[at + 4:at + 8], data[at + 8:at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0]
        if kind == b"IHDR":
            width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            assert (depth, color, interlaced) == (8, 2, 0)
            size = width, height
        if kind == b"IDAT":
            packed += body
        at += 12 + length
    width, height = size
    raw, rows, above = zlib.decompress(packed), [], bytes(3 * width)
    stride = 1 + 3 * width
    assert len(raw) == stride * height
    for y in range(height):
        method, line = raw[y * stride], bytearray(raw[y * stride + 1:(y + 1) * stride])
        for i in range(3 * width) if method else ():
            left, up = line[i - 3] if i >= 3 else 0, above[i]
            corner = above[i - 3] if i >= 3 else 0
            if method == 4:
                guess = left + up - corner
                near = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
            else:
                near = (0, left, up, (left + up) // 2)[method]
            line[i] = (line[i] + near) & 255
        above = bytes(line)
        rows.append(above)
    return width, height, rows


def ppl_result(bits, kl, label, **more):
    return {"command": "ppl", "model": "/models/<a&b>", "file": "wiki.raw", "kl_against": "original", "label": label,
            "compute": "int8", "k_cache_nbits": 16, "v_cache_nbits": 16, "window": 512, "windows": 128, "ppl": 28.8, "stderr": 0.8,
            "bits_per_weight": bits, "kl_mean": kl, "kl_mean_stderr": 0.001,
            "environment": {"version": "0.1.0", "backend": "a card"}, **more}


class Chart(CommandTest):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="hlwq-chart-")
        self.addCleanup(self.scratch.cleanup)
        self.out = self.path("out")

    def path(self, name):
        return os.path.join(self.scratch.name, name)

    def put(self, name, content):
        """Writes a file: text, bytes, or something as JSON."""
        if not isinstance(content, (str, bytes)):
            content = json.dumps(content)
        with open(self.path(name), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        return self.path(name)

    def check_picture(self, folder, name):
        """Texts of the SVG, which must parse; the PNG must be its size twice, and show something."""
        root = ElementTree.fromstring(read(os.path.join(folder, name + ".svg")))
        self.assertEqual(root.tag, SVG + "svg")
        width, height = float(root.get("width")), float(root.get("height"))
        self.assertEqual(width, 800)
        self.assertEqual(root.get("viewBox"), f"0 0 {root.get('width')} {root.get('height')}")
        self.assertTrue(root.find(SVG + "title").text)
        texts = root.findall(SVG + "text")
        for text in texts:
            self.assertGreater(float(text.get("x")), 0)
            self.assertLess(float(text.get("x")), width)
            self.assertLess(float(text.get("y")), height)
        png_width, png_height, rows = png_pixels(read(os.path.join(folder, name + ".png")))
        self.assertEqual((png_width, png_height), (1600, 2 * height))
        ink = sum(any(byte < 128 for byte in row) for row in rows)
        self.assertGreater(ink, 0.3 * png_height)
        self.assertEqual(rows[0], b"\xff" * 4800, "a white margin")
        return [text.text for text in texts]

    def test_from_results(self):
        results = self.put("r.json", [ppl_result(3.125, 0.3, "ours"), ppl_result(5.125, 0.02, "ours"),
                                      ppl_result(5.125, 0.04, "published <&>")])
        got = self.json("chart", results, "-o", self.out)
        self.assertEqual(got["files"], ["quality.svg", "quality.png"])
        self.assertEqual(sorted(os.listdir(self.out)), ["quality.png", "quality.svg"])
        texts = self.check_picture(self.out, "quality")
        for text in ("ours", "published <&>", "mean KL (nats)", "bits per quantized weight, norms included"):
            self.assertIn(text, texts)
        self.assertTrue(any("<a&b>" in text and "a card" in text and "hlwq 0.1.0" in text for text in texts))
        # The same again, from two files and elsewhere: the same bytes.
        again = [self.put("a.json", ppl_result(3.125, 0.3, "ours")),
                 self.put("b.json", [ppl_result(5.125, 0.02, "ours"), ppl_result(5.125, 0.04, "published <&>")])]
        listed = self.text("chart", *again, "-o", self.path("again")).decode().splitlines()
        self.assertEqual(listed, [self.path("again/quality.svg"), self.path("again/quality.png")])
        for name in got["files"]:
            self.assertEqual(read(os.path.join(self.out, name)), read(self.path("again/" + name)))

    def test_bench_draws_its_own(self):
        trace = self.path("trace")
        folder = self.path("bench")
        run = ["bench", MODEL, "--prompt", 16, "--generate", 4, "--reps", 2, "--batch", 1, "--depth", 0, "--device", "cpu"]
        got = self.json(*run, "--trace", trace, "--chart", folder)
        self.assertEqual(got, json.loads(read(os.path.join(folder, "results.json"))))
        self.assertEqual(got["command"], "bench")
        self.assertEqual((got["attention_layers"], got["kv_heads"], got["head_dim"]), (1, 2, 128))
        self.assertEqual((got["expert_use"]["layers"], got["expert_use"]["experts"]), (4, 32))
        # 16 prompt tokens once more to warm up, 8 steps to warm up, 4 experts a token.
        self.assertEqual([sum(row) for row in got["expert_use"]["uses"]], [4 * (3 * 16 + 8 + 2 * 4)] * 4)
        names = ["memory", "context", "experts"]
        self.assertEqual(sorted(os.listdir(folder)),
                         sorted([n + e for n in names for e in (".svg", ".png")] + ["results.json"]))
        texts = {name: self.check_picture(folder, name) for name in names}
        self.assertIn("35.2 MB", texts["memory"])
        self.assertIn("tiny-nemotron-h", texts["memory"])
        self.assertTrue(any(text.startswith("3 bits: ") for text in texts["context"]))
        self.json("chart", os.path.join(folder, "results.json"), "-o", self.out)
        for name in os.listdir(self.out):
            self.assertEqual(read(os.path.join(self.out, name)), read(os.path.join(folder, name)), name)
        # The trace itself, and a file of experts' use, are data too.
        got = self.json("chart", trace, self.put("use.json", got["expert_use"]), "-o", self.path("t"))
        self.assertEqual(got["files"], ["experts.svg", "experts.png", "experts-2.svg", "experts-2.png"])
        self.check_picture(self.path("t"), "experts")
        self.fails(1, *run, "--chart", "/proc/no", says="/proc/no")

    def test_synthetic_models_have_no_file(self):
        got = self.json("bench", "--synthetic", "tiny:seed=3", "--prompt", 8, "--generate", 0, "--reps", 1, "--device",
                        "cpu", "--chart", self.out)
        self.assertIsNone(got["file_bytes"])
        self.assertIsNone(got["expert_use"])
        self.assertGreater(got["parameters"], 1e6)
        texts = self.check_picture(self.out, "memory")
        self.assertIn("BF16", texts)
        self.assertNotIn("HLWQ file", texts)

    def test_quality_sweep(self):
        run = [sys.executable, os.path.join(SOURCE, "bench", "quality.py"), BINARY, MODEL, TEXT, self.out, "--windows", "2",
               "--bits", "3,5", "--also", f"plain:16:{MODEL}", "--ppl=--window 64"]
        listed = subprocess.run(run, capture_output=True, check=True, timeout=300).stdout.decode().split()
        self.assertEqual([os.path.basename(name) for name in listed], ["quality.svg", "quality.png"])
        self.assertEqual(sorted(os.listdir(self.out)), ["also-0.json", "charts", "default-3.json", "default-5.json",
                                                        "published-3.json", "published-5.json"])
        kl = lambda name: json.loads(read(os.path.join(self.out, name)))["kl_mean"]
        self.assertLess(kl("default-5.json"), kl("default-3.json"))
        texts = self.check_picture(os.path.join(self.out, "charts"), "quality")
        self.assertIn("published codebook, plain norms", texts)
        # What is there is kept.
        times = {name: os.stat(os.path.join(self.out, name)).st_mtime_ns for name in ("default-3.json", "published-5.json")}
        subprocess.run(run, capture_output=True, check=True, timeout=300)
        for name, time in times.items():
            self.assertEqual(os.stat(os.path.join(self.out, name)).st_mtime_ns, time)

    def test_refuses_what_it_does_not_know(self):
        chart = lambda content: ["chart", self.put("x.json", content), "-o", self.out]
        self.fails(2, "chart", "-o", self.out, says="RESULTS")
        self.fails(2, "chart", self.put("x.json", []), says="--out")
        self.fails(1, "chart", "/nowhere.json", "-o", self.out, says="/nowhere.json")
        self.fails(1, *chart([]), says="nothing to draw")
        self.fails(1, *chart({"tensors": 3}), says=["x.json", "command"])
        self.fails(1, *chart([ppl_result(5, 1, "x"), 7]), says=["x.json[1]", "7"])
        self.fails(1, *chart(ppl_result(5, "much", "x")), says=["x.json", "kl_mean", "much"])
        self.fails(1, *chart(ppl_result(5, 1, "x", window=[512])), says=["window", "an array of 1"])
        self.fails(1, *chart([ppl_result(5, 1, f"series {i}") for i in range(15)]), says="15 series")
        self.fails(1, *chart("not JSON"), says="x.json")
        self.fails(1, *chart(b"HLWQROUT" + bytes(10)), says=["x.json", "routing trace"])
        self.fails(1, "chart", self.put("x.json", ppl_result(5, 1, "x")), "-o", "/proc/no", says="/proc/no")
        self.assertFalse(os.path.exists(self.out))

    def test_hostile_json(self):
        deep = "[" * 100000 + "]" * 100000
        huge = '{"command": "ppl", "model": "m", "window": 1e999}'
        values = [1e308, -1.5, 1 << 70, float("nan"), float("-inf"), [], None, True, "x" * 100000]
        contents = [deep, '{"a":' * 5000 + "1" + "}" * 5000, huge, '{"command": "ppl", "command": "plan"}', b"\xff\xfe{}",
                    '{"command":"\\ud800"}', b"\x00" * 1000, ""]
        for field in ("kl_mean", "window", "label", "environment"):
            contents += [ppl_result(5, 1, "x") | {field: value} for value in values]
        for i, content in enumerate(contents):
            done = subprocess.run([BINARY, "chart", self.put("x.json", content), "-o", self.out], capture_output=True, timeout=60)
            self.assertIn(done.returncode, (0, 1), f"{i}: {str(content)[:200]} {done.stderr[-500:]}")
            if done.returncode == 1:
                self.assertEqual(done.stderr.count(b"hlwq: error: "), 1)
            else:
                ElementTree.fromstring(read(os.path.join(self.out, "quality.svg")))


main()
