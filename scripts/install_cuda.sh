#!/usr/bin/env bash
# Makes a CUDA toolkit of the pinned wheels of the Python index (cuda_wheels.txt), for machines
# without one: no driver, no GPU and no root needed. About 100 MB are fetched, 300 MB kept.
#
#   scripts/install_cuda.sh PREFIX     then: CUDACXX=PREFIX/bin/nvcc cmake ... -DHLWQ_CUDA=ON
set -euo pipefail
prefix=${1:?usage: install_cuda.sh PREFIX}
wheels=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/cuda_wheels.txt

cmp -s "$wheels" "$prefix/wheels.txt" && exit 0
if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo "install_cuda.sh: the wheels are for Linux on x86-64; install NVIDIA's toolkit and set CUDACXX" >&2
  exit 1
fi
echo "install_cuda.sh: fetching the CUDA compiler into $prefix" >&2
parts=$prefix.parts
rm -rf "$prefix" "$parts"
PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check \
  --no-deps --only-binary=:all: --require-hashes --target "$parts" -r "$wheels" >&2
mkdir -p "$(dirname "$prefix")"
mv "$parts/nvidia/cu13" "$prefix"
rm -rf "$parts"
# The wheels leave out the names that nvcc and CMake look for in a toolkit.
ln -s lib "$prefix/lib64"
ln -s libcudart.so.13 "$prefix/lib/libcudart.so"
cp "$wheels" "$prefix/wheels.txt"  # last: a prefix without it is unfinished
