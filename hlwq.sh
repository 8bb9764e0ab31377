#!/usr/bin/env bash
# One entry for everything: installs what is missing, builds, runs.
#
#   ./hlwq.sh demo            build and run the demonstration on the shipped tiny model
#   ./hlwq.sh test            build and run all tests
#   ./hlwq.sh <command> ...   build on first use, then run `hlwq <command> ...`
#   ./hlwq.sh --cuda ...      any of these, built with the CUDA back end
#
# Build output goes to stderr, so stdout is the command's own. Debian 12 (or a relative of it);
# packages are installed with apt-get, through sudo when not root. With HLWQ_NO_INSTALL=1 nothing is
# installed and a missing package is only named.
# A CUDA toolkit that is there (CUDACXX, /usr/local/cuda, nvcc on the path) is used in any case;
# --cuda fetches a compiler from the Python index where there is none (scripts/install_cuda.sh).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

packages=(g++ cmake ninja-build ccache pkg-config python3 xz-utils
          nlohmann-json3-dev libfmt-dev libexpected-dev libcli11-dev libpcre2-dev libutf8proc-dev
          libcpp-httplib-dev libssl-dev prometheus-cpp-dev libstb-dev fonts-dejavu-core)
# The server's tests use real clients: OpenAI's Python package and Chromium.
test_packages=(libgtest-dev clang-format chromium openssl python3-venv)

install_missing() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "${HLWQ_NO_INSTALL:-0}" = 1 ] || ! command -v apt-get >/dev/null; then
    echo "hlwq.sh: missing packages: ${missing[*]}" >&2
    exit 1
  fi
  echo "hlwq.sh: installing ${missing[*]}" >&2
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# Python packages of the server's tests, pinned, in an environment of their own.
install_clients() {
  local wanted=$root/tests/server/requirements.txt
  [ "${HLWQ_NO_INSTALL:-0}" = 1 ] && return
  if cmp -s "$wanted" "$root/build/venv/requirements.txt"; then return; fi
  rm -rf "$root/build/venv"
  python3 -m venv "$root/build/venv" >&2
  "$root/build/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted" >&2
  cp "$wanted" "$root/build/venv/requirements.txt"  # last: without it the environment is unfinished
}

# The CUDA compiler that is there, if any.
find_nvcc() {
  local nvcc
  for nvcc in "${CUDACXX:-}" /usr/local/cuda/bin/nvcc nvcc; do
    if [ -n "$nvcc" ] && command -v "$nvcc"; then return; fi
  done
}

# build PRESET: configures once, then brings the build up to date.
build() {
  local dir="$root/build/$1" options=() nvcc
  # A build that is to get the CUDA back end and has none yet is configured anew.
  if [ ! -f "$dir/build.ninja" ] || { [ "$cuda" = 1 ] && ! grep -q '^HLWQ_CUDA:[A-Z]*=ON' "$dir/CMakeCache.txt"; }; then
    nvcc=$(find_nvcc)
    if [ -z "$nvcc" ] && [ "$cuda" = 1 ]; then
      [ "${HLWQ_NO_INSTALL:-0}" = 1 ] && { echo "hlwq.sh: missing: a CUDA compiler" >&2; exit 1; }
      python3 -m pip --version >/dev/null 2>&1 || install_missing python3-pip
      "$root/scripts/install_cuda.sh" "$root/build/cuda"
      nvcc=$root/build/cuda/bin/nvcc
    fi
    if [ -n "$nvcc" ]; then
      options+=("-DCMAKE_CUDA_COMPILER=$nvcc" -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
    else
      echo "hlwq.sh: no CUDA compiler found, building for the CPU alone (--cuda fetches one)" >&2
    fi
    if [ "$cuda" = 1 ]; then options+=(-DHLWQ_CUDA=ON); fi
    cmake -S "$root" --preset "$1" -DCMAKE_CXX_COMPILER_LAUNCHER=ccache "${options[@]}" >&2
  fi
  cmake --build "$dir" >&2
}

cuda=0
if [ "${1:-}" = --cuda ]; then
  cuda=1
  shift
fi
case "${1:-}" in
  test)
    install_missing "${packages[@]}" "${test_packages[@]}"
    install_clients
    python3 "$root/scripts/check_layers.py"
    "$root/scripts/check_format.sh"
    build ci
    ctest --test-dir "$root/build/ci" --output-on-failure -j "$(nproc)" "${@:2}"
    ;;
  '')
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
  *)
    install_missing "${packages[@]}"
    build release
    exec "$root/build/release/tools/hlwq/hlwq" "$@"
    ;;
esac
