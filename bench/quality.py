#!/usr/bin/env python3
"""Measures what quantizing a model costs, over widths and ways, and draws the chart.

    bench/quality.py build/release/tools/hlwq/hlwq MODEL TEXT OUT [--windows 128] [--bits 3,4,5,6,7,8]
                     [--calibrate FILE [--calibrate-tokens N]] [--also LABEL:BITS:FOLDER]... [--ppl=ARGUMENTS]

Each width is quantized as published (published codebook, plain norms), by default, and with --calibrate also
calibrated; each checkpoint's `ppl --kl-against MODEL --json` goes to OUT/WAY-BITS.json, and the checkpoint away again.
A result that is there is kept: a run that was interrupted goes on. --also measures a folder that is there already,
such as a round-to-nearest one whose values were expanded, as so many bits a weight.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys

WAYS = {
    "published": ("published codebook, plain norms", ["--codebook", "published", "--norms", "plain"]),
    "default": ("default", []),
    "calibrated": ("calibrated", None),
}


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(command):
    """Standard output of a command, which must succeed."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def measure(options, folder, label, name, more=()):
    """The result's file; made when it is missing."""
    path = os.path.join(options.out, name + ".json")
    result = run([options.hlwq, "ppl", folder, options.text, "--windows", str(options.windows), "--kl-against",
                  options.model, "--label", label, "--json", *more, *options.ppl])
    with open(path + ".part", "wb") as file:
        file.write(result)
    os.replace(path + ".part", path)
    got = json.loads(result)
    say(f"{name}: {got['bits_per_weight']:.3f} bits, KL {got['kl_mean']:.5f} +- {got['kl_mean_stderr']:.5f}, "
        f"perplexity {got['ppl']:.3f}")
    return path


def quantized(options, way, bits):
    name = f"{way}-{bits}"
    path = os.path.join(options.out, name + ".json")
    if os.path.exists(path):
        return path
    label, flags = WAYS[way]
    if way == "calibrated":
        flags = ["--calibrate", options.calibrate]
        if options.calibrate_tokens:
            flags += ["--calibrate-tokens", str(options.calibrate_tokens)]
    folder = os.path.join(options.out, name)
    run([options.hlwq, "quantize", options.model, "-o", folder, "--bits", str(bits), "--force", "--json", *flags])
    measure(options, folder, label, name)
    shutil.rmtree(folder)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("hlwq", "model", "text", "out"):
        parser.add_argument(name)
    parser.add_argument("--windows", type=int, default=128)
    parser.add_argument("--bits", default="3,4,5,6,7,8")
    parser.add_argument("--calibrate", metavar="FILE", help="text for quantize --calibrate")
    parser.add_argument("--calibrate-tokens", type=int, metavar="N")
    parser.add_argument("--also", action="append", default=[], metavar="LABEL:BITS:FOLDER")
    parser.add_argument("--ppl", type=shlex.split, default=[], metavar="ARGUMENTS", help="further ones, --ppl='--window 256'")
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)

    results = []
    for bits in map(int, options.bits.split(",")):
        for way in WAYS:
            if way != "calibrated" or options.calibrate:
                results.append(quantized(options, way, bits))
    for number, also in enumerate(options.also):
        label, bits, folder = also.split(":", 2)
        results.append(measure(options, folder, label, f"also-{number}", ["--bits-per-weight", bits]))
    sys.stdout.buffer.write(run([options.hlwq, "chart", *results, "-o", os.path.join(options.out, "charts")]))


if __name__ == "__main__":
    main()
