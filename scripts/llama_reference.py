#!/usr/bin/env python3
"""Llama in float64 numpy, written from the published formulas alone, to hold the engine against.

    scripts/llama_reference.py check FOLDER HLWQ_BINARY [--ids 1,2,3]
    scripts/llama_reference.py goldens OUT

`check` runs a plain Hugging Face folder of any size that fits and compares every logit of the last
token with `hlwq logits --compute exact`. `goldens` writes what tests/model/llama_test.cc compares
with: three small configurations with what they give; their weights are random numbers that the test
draws again (weights_of). It is packed as tests/data/llama_goldens.tar.xz:

    tar -C OUT --sort=name --owner=0 --group=0 --mtime=@0 -cJf tests/data/llama_goldens.tar.xz .
"""
import argparse
import json
import pathlib
import struct
import subprocess
import sys

import numpy as np

DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def frequencies(config, head_dim):
    """Radians a position adds to each pair of a head (RoFormer; Llama 3.1's scaling)."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    kind = rope.get("rope_type", rope.get("type", "default"))
    f = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    if kind == "linear":
        return f / rope["factor"]
    if kind == "llama3":
        original, low, high = (rope[k] for k in ("original_max_position_embeddings", "low_freq_factor",
                                                 "high_freq_factor"))
        length = 2 * np.pi / f
        smooth = (original / length - low) / (high - low)
        between = (1 - smooth) * f / rope["factor"] + smooth * f
        return np.where(length > original / low, f / rope["factor"], np.where(length < original / high, f, between))
    assert kind == "default", kind
    return f


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def turn(x, cos, sin):
    """x [heads, tokens, d]: the halves are the two coordinates of each pair."""
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def forward(config, weights, ids):
    """(hidden states after the embeddings and each decoder layer, logits), all tokens."""
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    d = config.get("head_dim") or config["hidden_size"] // heads
    eps, tokens = config["rms_norm_eps"], len(ids)

    def linear(x, name):
        y = x @ weights[name + ".weight"].T
        return y + weights[name + ".bias"] if name + ".bias" in weights else y

    angles = np.arange(tokens)[:, None] * frequencies(config, d)[None, :]
    cos, sin = np.cos(angles), np.sin(angles)
    mask = np.triu(np.full((tokens, tokens), -np.inf), 1)
    x = weights["model.embed_tokens.weight"][ids]
    hidden = [x]
    for layer in range(config["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        u = rms_norm(x, weights[p + "input_layernorm.weight"], eps)
        q, k, v = (linear(u, f"{p}self_attn.{n}_proj").reshape(tokens, -1, d).swapaxes(0, 1) for n in "qkv")
        q, k = turn(q, cos, sin), turn(k, cos, sin)
        k, v = (np.repeat(t, heads // kv_heads, axis=0) for t in (k, v))
        scores = q @ k.swapaxes(1, 2) / np.sqrt(d) + mask
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        attended = scores / scores.sum(axis=-1, keepdims=True) @ v
        x = x + linear(attended.swapaxes(0, 1).reshape(tokens, -1), p + "self_attn.o_proj")
        u = rms_norm(x, weights[p + "post_attention_layernorm.weight"], eps)
        gate = linear(u, p + "mlp.gate_proj")
        x = x + linear(gate / (1 + np.exp(-gate)) * linear(u, p + "mlp.up_proj"), p + "mlp.down_proj")
        hidden.append(x)
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    return hidden, rms_norm(x, weights["model.norm.weight"], eps) @ head.T


def read_folder(folder):
    weights = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        for name, entry in json.loads(data[8:8 + length]).items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            values = np.frombuffer(data[8 + length + begin:8 + length + end], DTYPES[entry["dtype"]])
            if entry["dtype"] == "BF16":
                values = (values.astype("<u4") << 16).view("<f4")
            weights[name] = values.astype(np.float64).reshape(entry["shape"])
    return weights


def check(args):
    config = json.loads((args.folder / "config.json").read_text())
    ids = [int(i) for i in args.ids.split(",")]
    theirs = forward(config, read_folder(args.folder), ids)[1][-1]
    out = subprocess.run([args.hlwq, "logits", args.folder, "--ids", args.ids, "--compute", "exact", "--json"],
                         check=True, capture_output=True, text=True).stdout
    ours = np.array(json.loads(out)["last"])
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    print(f"largest difference of the last logits: {error:.2e} of the largest, "
          f"same top token: {ours.argmax() == theirs.argmax()}")
    return 1 if error > 1e-4 else 0


# The configurations of the goldens. Between them: tied and not, every kind of positions in both
# spellings, heads that do not divide the stream, grouped and single key heads, biases.
CONFIGS = {
    "default": {
        "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 6,
        "num_key_value_heads": 2, "vocab_size": 320, "tie_word_embeddings": True, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "rope_scaling": None},
    "llama3": {
        "hidden_size": 64, "intermediate_size": 200, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 257, "tie_word_embeddings": False,
        "rms_norm_eps": 1e-6, "rope_theta": 500000.0, "attention_bias": True, "mlp_bias": True,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 64}},
    "linear": {
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 38, "vocab_size": 128, "tie_word_embeddings": False,
        "rms_norm_eps": 1e-5, "rope_parameters": {"rope_type": "linear", "rope_theta": 10000, "factor": 4}},
}
TOKENS = 130
LOGIT_ROWS = (0, 69, TOKENS - 1)


def shapes_of(config):
    h, w = config["hidden_size"], config["intermediate_size"]
    d = config.get("head_dim") or h // config["num_attention_heads"]
    q, k = config["num_attention_heads"] * d, config["num_key_value_heads"] * d
    yield "model.embed_tokens.weight", (config["vocab_size"], h)
    for layer in range(config["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        yield p + "input_layernorm.weight", (h,)
        yield p + "post_attention_layernorm.weight", (h,)
        for part, rows, cols, bias in (("self_attn.q", q, h, "attention"), ("self_attn.k", k, h, "attention"),
                                       ("self_attn.v", k, h, "attention"), ("self_attn.o", h, q, "attention"),
                                       ("mlp.gate", w, h, "mlp"), ("mlp.up", w, h, "mlp"), ("mlp.down", h, w, "mlp")):
            yield f"{p}{part}_proj.weight", (rows, cols)
            if config.get(bias + "_bias"):
                yield f"{p}{part}_proj.bias", (rows,)
    yield "model.norm.weight", (h,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (config["vocab_size"], h)


def uniform(seed, count):
    """(-1, 1) by SplitMix64, 24 bits (src/base/random.h)."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0


def name_seed(name):
    """FNV-1a, 64 bits."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    return seed


def weights_of(config):
    """Uniform weights with FP32 factors: norms 1 +- 1/4, biases +- 1/4, embeddings +- 2, matrices
    +- 2 / sqrt(columns)."""
    weights = {}
    for name, shape in shapes_of(config):
        values = uniform(name_seed(name), int(np.prod(shape))).astype(np.float32)
        if name.endswith("norm.weight"):
            values = np.float32(1) + np.float32(0.25) * values
        elif name.endswith("bias"):
            values *= np.float32(0.25)
        elif name.endswith("embed_tokens.weight"):
            values *= np.float32(2)
        else:
            values *= np.float32(2) / np.sqrt(np.float32(shape[-1]))
        weights[name] = values.astype(np.float64).reshape(shape)
    return weights


def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name, values in tensors.items():
        kind = {"float32": "F32", "int32": "I32"}[str(values.dtype)]
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(v.tobytes() for v in tensors.values()))


def goldens(args):
    for name, shape in CONFIGS.items():
        config = dict({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
                       "max_position_embeddings": 512}, **shape)
        ids = np.floor((uniform(7, TOKENS) + 1) / 2 * config["vocab_size"]).astype(np.int32)
        hidden, logits = forward(config, weights_of(config), ids)
        folder = args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        rows = np.array(LOGIT_ROWS, dtype=np.int32)
        write_safetensors(folder / "goldens.safetensors", {
            "ids": ids, "rows": rows, "logits": logits[rows].astype(np.float32),
            "hidden_last": np.stack([h[-1] for h in hidden]).astype(np.float32)})
    return 0


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = ap.add_subparsers(required=True)
    one = commands.add_parser("check")
    one.add_argument("folder", type=pathlib.Path)
    one.add_argument("hlwq")
    one.add_argument("--ids", default="1,1030,286,345,900,77,4021")
    one.set_defaults(run=check)
    two = commands.add_parser("goldens")
    two.add_argument("out", type=pathlib.Path)
    two.set_defaults(run=goldens)
    args = ap.parse_args()
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
