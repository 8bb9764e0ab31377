#!/usr/bin/env python3
"""Rounds the matrices of a Hugging Face folder as llama.cpp's simple formats do, for comparison.

    scripts/rtn_checkpoint.py FOLDER OUT --format q4_0|q4_1|q5_0|q5_1|q8_0

What comes out is a plain F32 checkpoint of the rounded weights, so that one program measures every
format in the same way: `hlwq ppl OUT TEXT --kl-against FOLDER`. Rounded are the matrices that
`hlwq quantize` codes (src/quant/policy.h), embedding and head included, fused experts too;
everything else stays as it is, in its own type. llama.cpp keeps some of these at other widths by
default; this does not.

The formats, by the public description of GGUF's block types. A block is 32 neighbours of a row:
  q4_0, q5_0   scale d (F16) = value of the largest magnitude / -8 or -16; w = d (q - 8) or d (q - 16)
  q4_1, q5_1   scale d (F16) = (max - min) / 15 or 31, minimum m (F16); w = d q + m
  q8_0         scale d (F16) = largest magnitude / 127; w = d q
q is the nearest integer that fits, found with the scale before it is rounded to F16, as the
reference quantizers do. Bits a weight: 4.5, 5.0, 5.5, 6.0, 8.5.
"""
import argparse
import json
import pathlib
import shutil
import struct
import sys

import numpy as np

BLOCK = 32
DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
FEWEST_ELEMENTS = 256


def half(x):
    return x.astype(np.float16).astype(np.float32)


def inverse(scale):
    return np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)


def symmetric(w, bits):
    """Blocks [n, 32]; the value of largest magnitude lies on the end of the range that has one more."""
    middle = 1 << (bits - 1)
    largest = np.take_along_axis(w, np.abs(w).argmax(axis=1)[:, None], axis=1)
    scale = largest / np.float32(-middle)
    q = np.clip(np.floor(w * inverse(scale) + np.float32(middle + 0.5)), 0, 2 * middle - 1)
    return (q - np.float32(middle)) * half(scale)


def with_minimum(w, bits):
    low, high = w.min(axis=1, keepdims=True), w.max(axis=1, keepdims=True)
    most = (1 << bits) - 1
    scale = (high - low) / np.float32(most)
    q = np.clip(np.floor((w - low) * inverse(scale) + np.float32(0.5)), 0, most)
    return q * half(scale) + half(low)


def eight(w):
    scale = np.abs(w).max(axis=1, keepdims=True) / np.float32(127)
    return np.rint(w * inverse(scale)) * half(scale)


FORMATS = {"q4_0": lambda w: symmetric(w, 4), "q5_0": lambda w: symmetric(w, 5), "q8_0": eight,
           "q4_1": lambda w: with_minimum(w, 4), "q5_1": lambda w: with_minimum(w, 5)}


def rounded(matrix, rule):
    """Rows of any length: a last short block is rounded by itself."""
    rows, cols = matrix.shape
    whole = cols // BLOCK * BLOCK
    out = np.empty_like(matrix)
    if whole > 0:
        out[:, :whole] = rule(np.ascontiguousarray(matrix[:, :whole]).reshape(-1, BLOCK)).reshape(rows, whole)
    if whole < cols:
        out[:, whole:] = rule(np.ascontiguousarray(matrix[:, whole:]))
    return out


def is_coded(name, shape):
    """As keeps_precision in src/quant/policy.cc, the other way round; a fused 3-D tensor is experts."""
    if len(shape) == 3 and name.rsplit(".", 1)[0].endswith(".experts"):
        shape = shape[1:]
    if len(shape) != 2 or np.prod(shape) < FEWEST_ELEMENTS:
        return False
    lower = name.lower()
    return not (any(part in lower for part in ("norm", "a_log", "dt_bias", "dt_proj", "conv1d"))
                or any(part in name for part in (".D", "router")) or name.endswith(".gate.weight"))


def convert_file(source, out, rule):
    """One safetensors file; (weights rounded, sum of squared errors, sum of squares, bytes written)."""
    data = np.memmap(source, dtype=np.uint8, mode="r")
    length = struct.unpack("<Q", data[:8].tobytes())[0]
    entries = {k: v for k, v in json.loads(data[8:8 + length].tobytes()).items() if k != "__metadata__"}
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, entry in entries.items():
        count = int(np.prod(entry["shape"], dtype=np.int64))
        coded = entry["dtype"] in DTYPES and is_coded(name, entry["shape"])
        size = 4 * count if coded else entry["data_offsets"][1] - entry["data_offsets"][0]
        header[name] = {"dtype": "F32" if coded else entry["dtype"], "shape": entry["shape"],
                        "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    weights, error, squares = 0, 0.0, 0.0
    with open(out, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, entry in entries.items():
            begin, end = entry["data_offsets"]
            raw = data[8 + length + begin:8 + length + end]
            if not (entry["dtype"] in DTYPES and is_coded(name, entry["shape"])):
                file.write(raw.tobytes())
                continue
            values = np.frombuffer(raw.tobytes(), DTYPES[entry["dtype"]])
            if entry["dtype"] == "BF16":
                values = (values.astype("<u4") << 16).view("<f4")
            before = values.astype(np.float32).reshape(-1, entry["shape"][-1])
            after = rounded(before, rule)
            weights += before.size
            error += float(np.sum((after - before).astype(np.float64) ** 2))
            squares += float(np.sum(before.astype(np.float64) ** 2))
            file.write(after.astype("<f4").tobytes())
    return weights, error, squares, offset


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("folder", type=pathlib.Path)
    ap.add_argument("out", type=pathlib.Path)
    ap.add_argument("--format", choices=sorted(FORMATS), required=True)
    args = ap.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    files = sorted(args.folder.glob("*.safetensors"))
    if not files:
        sys.exit(f"rtn_checkpoint: no safetensors in {args.folder}")
    totals = np.sum([convert_file(f, args.out / f.name, FORMATS[args.format]) for f in files], axis=0)
    for path in args.folder.iterdir():
        if path.name.endswith(".index.json"):
            index = json.loads(path.read_text())
            index["metadata"] = {"total_size": int(totals[3])}
            (args.out / path.name).write_text(json.dumps(index, indent=2) + "\n")
        elif path.suffix == ".json":
            shutil.copyfile(path, args.out / path.name)
    print(f"{args.out}: {totals[0] / 1e6:.1f} million weights as {args.format}, signal to noise "
          f"{10 * np.log10(totals[2] / totals[1]):.2f} dB")


if __name__ == "__main__":
    main()
