#!/usr/bin/env python3
"""Checks that every folder under src/ includes only the folders left of it.

The order is docs/architecture.md's. A folder's CMakeLists.txt states the same links; this script
reads the #include lines, so that a header cannot slip past the link line. Exit code 1 and one line
per offence.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# folder -> folders it may include (besides itself)
LAYERS = {
    "base": ["hlwq"],  # include/hlwq/result.h: the public error type is the project's
    "tensor": ["base"],
    "io": ["base", "tensor"],
    "quant": ["base", "tensor"],
    "format": ["base", "tensor", "io", "quant"],
    "ops": ["base", "tensor", "quant"],
    "kernels": ["base", "tensor", "quant", "ops"],
    "text": ["base", "io"],
    "model": ["base", "tensor", "io", "quant", "format", "ops"],
    "convert": ["base", "tensor", "io", "quant", "format", "model"],
    "runtime": ["base", "tensor", "io", "quant", "format", "ops", "model", "text"],
    "calibrate": ["base", "tensor", "io", "quant", "format", "ops", "model", "convert", "runtime"],
    "api": ["base", "tensor", "io", "quant", "format", "ops", "kernels", "text", "model", "convert",
            "runtime", "calibrate", "hlwq"],
    "server": ["base", "io", "text", "hlwq"],
}
# CUDA headers, and ours that include them, stay inside these
CUDA_FOLDERS = ("kernels/cuda/", "dist/")
CUDA_HEADER = re.compile(r"^(cuda|cub/|thrust/|nv/|nvtx|cooperative_groups|mma\.h|vector_types\.h|kernels/cuda/)")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def offences():
    src = ROOT / "src"
    for path in sorted(src.rglob("*")):
        if path.suffix not in (".h", ".cc", ".cu", ".cuh"):
            continue
        relative = path.relative_to(src)
        folder = relative.parts[0]
        if folder not in LAYERS:
            yield f"src/{relative}: folder '{folder}' is not in the layer list of {pathlib.Path(__file__).name}"
            continue
        for kind, name in INCLUDE.findall(path.read_text(encoding="utf-8")):
            if CUDA_HEADER.match(name) and not str(relative).startswith(CUDA_FOLDERS):
                yield f"src/{relative}: includes CUDA header {name}"
            if kind != '"':
                continue
            target = name.split("/")[0]
            if "/" not in name or not ((src / name).exists() or (ROOT / "include" / name).exists()):
                yield f"src/{relative}: \"{name}\" is not a path from src/ or include/"
            elif target != folder and target not in LAYERS[folder]:
                yield f"src/{relative}: {folder} may not include {name}"


def main():
    found = list(offences())
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        print("layers: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
