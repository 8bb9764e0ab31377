#!/usr/bin/env python3
"""Makes synthetic Nemotron-H checkpoints of real shapes: random weights, exact names and layout.

    scripts/make_checkpoint.py SHAPE OUT [--format bf16|v5-packed] [--bytes N] [--seed N]

SHAPE is a name below or a folder with a config.json. `--bytes 8GB` cuts the number of layers so that
the files come to about that size (the pattern's beginning is kept, at least one layer of each kind).
Only the Python standard library is used. Weights repeat a pool of random values, so writing runs at
the speed of the disk; norms and small parameters are such that activations stay finite.
"""
import argparse
import array
import json
import math
import os
import pathlib
import random
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCK = 128
SHARD_BYTES = 5_000_000_000
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}

NEMOTRON_30B = {
    "architectures": ["NemotronHForCausalLM"], "model_type": "nemotron_h", "vocab_size": 131072,
    "hidden_size": 2688, "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
    "num_attention_heads": 32, "num_key_value_heads": 2, "head_dim": 128, "max_position_embeddings": 262144,
    "attention_bias": False, "intermediate_size": 1856, "mlp_hidden_act": "relu2", "mlp_bias": False,
    "mamba_num_heads": 64, "mamba_head_dim": 64, "ssm_state_size": 128, "n_groups": 8, "conv_kernel": 4,
    "use_conv_bias": True, "use_bias": False, "mamba_hidden_act": "silu", "chunk_size": 128,
    "n_routed_experts": 128, "num_experts_per_tok": 6, "moe_intermediate_size": 1856, "n_shared_experts": 1,
    "moe_shared_expert_intermediate_size": 3712, "n_group": 1, "topk_group": 1, "norm_topk_prob": True,
    "routed_scaling_factor": 2.5, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": False,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "torch_dtype": "bfloat16",
}


def shape_config(name):
    if name == "nemotron-30b-a3b":
        return dict(NEMOTRON_30B)
    folder = ROOT / "models" / name if not os.path.isdir(name) else pathlib.Path(name)
    path = folder / "config.json"
    if not path.exists():
        sys.exit(f"make_checkpoint: no shape '{name}': wanted nemotron-30b-a3b or a folder with a config.json")
    config = json.loads(path.read_text())
    config.pop("time_step_limit", None)  # the default, and JSON has no Infinity
    return config


def layer_tensors(config, layer, kind):
    """(name, shape, dtype) of one layer, in the order NVIDIA's files have."""
    h, p = config["hidden_size"], f"backbone.layers.{layer}."
    yield p + "norm.weight", [h], "BF16"
    m = p + "mixer."
    if kind == "M":
        heads, groups, state = config["mamba_num_heads"], config["n_groups"], config["ssm_state_size"]
        inner = heads * config["mamba_head_dim"]
        conv = inner + 2 * groups * state
        yield m + "A_log", [heads], "F32"
        yield m + "D", [heads], "F32"
        yield m + "conv1d.bias", [conv], "BF16"
        yield m + "conv1d.weight", [conv, 1, config["conv_kernel"]], "BF16"
        yield m + "dt_bias", [heads], "BF16"
        yield m + "in_proj.weight", [inner + conv + heads, h], "BF16"
        yield m + "norm.weight", [inner], "BF16"
        yield m + "out_proj.weight", [h, inner], "BF16"
    elif kind == "*":
        q = config["num_attention_heads"] * config["head_dim"]
        kv = config["num_key_value_heads"] * config["head_dim"]
        for name, shape in (("k", [kv, h]), ("o", [h, q]), ("q", [q, h]), ("v", [kv, h])):
            yield f"{m}{name}_proj.weight", shape, "BF16"
    elif kind == "E":
        width, shared = config["moe_intermediate_size"], config["moe_shared_expert_intermediate_size"]
        for e in range(config["n_routed_experts"]):
            yield f"{m}experts.{e}.down_proj.weight", [h, width], "BF16"
            yield f"{m}experts.{e}.up_proj.weight", [width, h], "BF16"
        yield m + "gate.e_score_correction_bias", [config["n_routed_experts"]], "F32"
        yield m + "gate.weight", [config["n_routed_experts"], h], "BF16"
        yield m + "shared_experts.down_proj.weight", [h, shared], "BF16"
        yield m + "shared_experts.up_proj.weight", [shared, h], "BF16"
    else:
        width = config["intermediate_size"]
        yield m + "down_proj.weight", [h, width], "BF16"
        yield m + "up_proj.weight", [width, h], "BF16"


def model_tensors(config):
    yield "backbone.embeddings.weight", [config["vocab_size"], config["hidden_size"]], "BF16"
    for layer, kind in enumerate(config["hybrid_override_pattern"]):
        yield from layer_tensors(config, layer, kind)
    yield "backbone.norm_f.weight", [config["hidden_size"]], "BF16"
    if not config.get("tie_word_embeddings"):
        yield "lm_head.weight", [config["vocab_size"], config["hidden_size"]], "BF16"


def is_coded(name, shape):
    return len(shape) == 2 and not name.endswith(".gate.weight")


def stored(tensors, coded):
    """(name, shape, dtype, source name, part) of what the files hold."""
    for name, shape, dtype in tensors:
        if coded and is_coded(name, shape):
            rows, blocks = shape[0], -(-shape[1] // BLOCK)
            prefix = name[: -len(".weight")]
            yield prefix + ".codes", [rows, blocks * BLOCK * 5 // 8], "U8", name, "codes"
            yield prefix + ".norms", [rows, blocks], "F16", name, "norms"
            yield prefix + ".ct", [32], "F32", name, "ct"
        else:
            yield name, shape, dtype, name, "plain"


def size(shape, dtype):
    return math.prod(shape) * {"U8": 1, "F16": 2, "BF16": 2, "F32": 4}[dtype]


def cut_layers(config, coded, most_bytes):
    """Shortens the pattern until the files fit `most_bytes`."""
    full = config["hybrid_override_pattern"]
    fewest = max(full.index(kind) for kind in set(full)) + 1  # one layer of each kind
    for layers in range(len(full), fewest - 1, -1):
        config["hybrid_override_pattern"] = full[:layers]
        if sum(size(s, d) for _, s, d, _, _ in stored(model_tensors(config), coded)) <= most_bytes:
            break
    config["num_hidden_layers"] = len(config["hybrid_override_pattern"])


class Pool:
    """A few MB of random BF16 weights, and random 5-bit codes, repeated with changing offsets."""

    def __init__(self, seed):
        rng = random.Random(seed)
        values = array.array("f", (rng.gauss(0.0, 1.0) for _ in range(1 << 19)))
        raw = values.tobytes()
        self.unit = b"".join(raw[i + 2 : i + 4] for i in range(0, len(raw), 4))  # BF16 by truncation
        self.codes = rng.randbytes(1 << 22)
        self.rng = rng

    def scaled(self, scale):
        """The pool times a power of two near `scale`: only exponents change."""
        shift = round(math.log2(scale))
        units = array.array("H", self.unit)
        out = array.array("H", ((u + (shift << 7)) & 0xFFFF if (u >> 7) & 0xFF > -shift else u & 0x8000 for u in units))
        return out.tobytes()

    def write(self, f, block, count):
        start = self.rng.randrange(0, len(block) // 2) & ~1
        while count > 0:
            piece = block[start : start + count]
            f.write(piece)
            count -= len(piece)
            start = 0


def small_values(name, shape, rng):
    """FP32 values of the parameters that are not matrices; activations stay finite with these."""
    n = math.prod(shape)
    if name.endswith("A_log"):
        return [math.log(rng.uniform(1.0, 16.0)) for _ in range(n)]
    if name.endswith("dt_bias"):
        return [rng.uniform(-6.0, -2.0) for _ in range(n)]
    if name.endswith("conv1d.weight"):
        return [rng.gauss(0.0, 0.3) for _ in range(n)]
    if name.endswith("bias"):
        return [rng.gauss(0.0, 0.01) for _ in range(n)]
    return [1.0 + rng.gauss(0.0, 0.05) for _ in range(n)]  # norms and D


def encode(values, dtype):
    raw = array.array("f", values).tobytes()
    return raw if dtype == "F32" else b"".join(raw[i + 2 : i + 4] for i in range(0, len(raw), 4))


def write_tensor(f, pool, cache, entry, table, source_shape):
    name, shape, dtype, _, part = entry
    count = size(shape, dtype)
    if part == "codes":
        return pool.write(f, pool.codes, count)
    scale = 1.0 / math.sqrt(source_shape[-1]) if len(source_shape) > 1 else 1.0
    if part == "norms":  # the length of a block of 128 weights of this scale, and a little spread
        unit = struct.pack("<256e", *(scale * math.sqrt(BLOCK) * (1 + 0.1 * math.sin(i)) for i in range(256)))
        return pool.write(f, unit * 64, count)
    if part == "ct":
        return f.write(table)
    if len(shape) == 2:
        if scale not in cache:
            cache[scale] = pool.scaled(scale)
        return pool.write(f, cache[scale], count)
    return f.write(encode(small_values(name, shape, pool.rng), dtype))


def write_shard(path, entries, pool, cache, table, shapes):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, dtype, _, _ in entries:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size(shape, dtype)]}
        offset += size(shape, dtype)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    temporary = path.with_name("." + path.name + ".tmp-make")
    with open(temporary, "wb", buffering=1 << 20) as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for entry in entries:
            write_tensor(f, pool, cache, entry, table, shapes[entry[3]])
    os.replace(temporary, path)


def grid_table():
    """A 5-bit table on the half-offset int8 grid, near the optimum; ascending and antisymmetric."""
    half = [2, 7, 12, 18, 23, 28, 34, 40, 47, 53, 61, 69, 78, 90, 104, 126]
    step = 0.0258
    step = struct.unpack("<f", struct.pack("<I", struct.unpack("<I", struct.pack("<f", step))[0] & 0xFFFFFF00))[0]
    levels = [(v + 0.5) * step for v in half]
    return struct.pack("<32f", *([-x for x in reversed(levels)] + levels))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("shape")
    ap.add_argument("out", type=pathlib.Path)
    ap.add_argument("--format", choices=("bf16", "v5-packed"), default="bf16")
    ap.add_argument("--bytes", default="", help="about this many, e.g. 8GB (default: the whole model)")
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    config, coded = shape_config(args.shape), args.format == "v5-packed"
    if args.bytes:
        number = args.bytes.rstrip("BKMGiIbkmg ")
        unit = args.bytes[len(number):].strip().upper()
        if unit not in UNITS:
            sys.exit(f"make_checkpoint: --bytes {args.bytes}: wanted a number with B, KB, MB, GB, KiB, MiB or GiB")
        cut_layers(config, coded, float(number) * UNITS[unit])

    tensors = list(model_tensors(config))
    shapes = {name: shape for name, shape, _ in tensors}
    shards, filled = [[]], 0
    for entry in stored(tensors, coded):
        bytes_ = size(entry[1], entry[2])
        if shards[-1] and filled + bytes_ > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(entry)
        filled += bytes_

    args.out.mkdir(parents=True, exist_ok=True)
    if any(args.out.iterdir()):
        sys.exit(f"make_checkpoint: {args.out} is not empty")
    pool, cache, table = Pool(args.seed), {}, grid_table()
    names = ["model.safetensors"] if len(shards) == 1 else [
        f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    for name, entries in zip(names, shards):
        write_shard(args.out / name, entries, pool, cache, table, shapes)
        print(f"{name}: {sum(size(s, d) for _, s, d, _, _ in entries) / 1e9:.2f} GB", file=sys.stderr)
    if len(shards) > 1:
        weight_map = {e[0]: n for n, entries in zip(names, shards) for e in entries}
        total = sum(size(e[1], e[2]) for entries in shards for e in entries)
        (args.out / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=1))
    if coded:
        config["quantization_config"] = {"quant_method": "polarengine", "format": "polar_engine_v5", "bits": 5,
                                         "block_size": BLOCK}
        rows = {n[: -len(".weight")]: {"in_features": s[1], "out_features": s[0], "bits": 5, "block_size": BLOCK,
                                       "in_features_padded": -(-s[1] // BLOCK) * BLOCK, "n_blocks": -(-s[1] // BLOCK),
                                       "packed": False, "packed_q5": True} for n, s, _ in tensors if is_coded(n, s)}
        (args.out / "polar_config.json").write_text(json.dumps(
            {"format": "polar_engine_v5", "block_size": BLOCK, "bits": 5, "base_model": "synthetic", "layers": rows}))
    (args.out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
