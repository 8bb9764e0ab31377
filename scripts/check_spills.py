#!/usr/bin/env python3
"""Checks that no CUDA kernel spills registers or keeps an array in local memory.

    scripts/check_spills.py CUOBJDUMP LIBRARY

Both show as a stack frame in cuobjdump's resource usage. Exit code 1 and one line per offending
kernel and architecture; 77 (skipped) when CUOBJDUMP is no program.
"""
import re
import shutil
import subprocess
import sys

SKIPPED = 77
ARCHITECTURE = re.compile(r"^arch = (\S+)")
FUNCTION = re.compile(r"^ *Function (\S+):")
USAGE = re.compile(r"\b(REG|STACK|LOCAL):(\d+)")


def kernels(text):
    """(architecture, mangled name, {REG, STACK, LOCAL}) of each compiled kernel."""
    architecture = name = None
    for line in text.splitlines():
        if found := ARCHITECTURE.match(line):
            architecture = found[1]
        elif found := FUNCTION.match(line):
            name = found[1]
        elif name is not None and (found := USAGE.findall(line)):
            yield architecture, name, {key: int(value) for key, value in found}
            name = None


def demangled(name):
    if shutil.which("c++filt") is None:
        return name
    return subprocess.run(["c++filt", name], capture_output=True, text=True).stdout.strip() or name


def main():
    cuobjdump, library = sys.argv[1:]
    if shutil.which(cuobjdump) is None:
        print("skipped: there is no cuobjdump (the toolkit of scripts/install_cuda.sh has one)")
        return SKIPPED
    text = subprocess.run([cuobjdump, "--dump-resource-usage", library], check=True, capture_output=True,
                          text=True).stdout
    found = list(kernels(text))
    if not found:
        print(f"{library}: holds no kernels", file=sys.stderr)
        return 1
    spilled = [k for k in found if k[2]["STACK"] > 0 or k[2]["LOCAL"] > 0]
    for architecture, name, usage in spilled:
        print(f"{architecture}: {usage['STACK'] + usage['LOCAL']} bytes of local memory, "
              f"{usage['REG']} registers: {demangled(name)}", file=sys.stderr)
    print(f"{len(found)} kernels, {len(spilled)} with local memory")
    return 1 if spilled else 0


if __name__ == "__main__":
    sys.exit(main())
