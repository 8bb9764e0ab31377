#!/usr/bin/env python3
"""Loads a plain checkpoint in transformers and compares its logits with hlwq's.

    scripts/check_transformers.py FOLDER HLWQ_BINARY [--ids 1,2,3]

For checking `hlwq dequantize` by hand, where torch and transformers are installed. Fails when the
folder lacks a key, holds one too many, or the logits differ by more than 1e-4 of the largest.
Known faults of transformers' slow Mamba path are switched off first: the floor under the time step
(time_step_min is a training value) and, where prompts exceed a chunk, its chunk recurrence.
"""
import argparse
import json
import subprocess
import sys

import torch
import transformers


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("folder")
    ap.add_argument("hlwq")
    ap.add_argument("--ids", default="1,1030,286,345,900,77,4021")
    args = ap.parse_args()
    ids = [int(i) for i in args.ids.split(",")]

    model, info = transformers.NemotronHForCausalLM.from_pretrained(
        args.folder, dtype=torch.float32, output_loading_info=True)
    problems = {k: sorted(v) for k, v in info.items() if v and k != "error_msgs"}
    print("transformers", transformers.__version__, "loading:", problems or "no missing, no unexpected key")
    for module in model.modules():
        if hasattr(module, "time_step_limit"):
            module.time_step_limit, module.time_step_min = (0.0, float("inf")), 0.0
            module.chunk_size = max(module.chunk_size, len(ids))
    with torch.no_grad():
        theirs = model.eval()(torch.tensor([ids]), use_cache=False).logits[0, -1].double()

    out = subprocess.run([args.hlwq, "logits", args.folder, "--ids", args.ids, "--compute", "exact", "--json"],
                         check=True, capture_output=True, text=True).stdout
    ours = torch.tensor(json.loads(out)["last"], dtype=torch.float64)
    error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    print(f"largest difference of the last logits: {error:.2e} of the largest, "
          f"same top token: {int(ours.argmax()) == int(theirs.argmax())}")
    return 1 if problems or error > 1e-4 else 0


if __name__ == "__main__":
    sys.exit(main())
