#!/usr/bin/env bash
# One entry for everything: installs what is missing, builds, runs.
#
#   ./hlwq.sh demo            build and run the demonstration on the shipped tiny model
#   ./hlwq.sh test            build and run all tests
#   ./hlwq.sh <command> ...   build on first use, then run `hlwq <command> ...`
#
# Build output goes to stderr, so stdout is the command's own. Debian 12 (or a relative of it);
# packages are installed with apt-get, through sudo when not root. With HLWQ_NO_INSTALL=1 nothing is
# installed and a missing package is only named.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

packages=(g++ cmake ninja-build ccache pkg-config python3 xz-utils
          nlohmann-json3-dev libfmt-dev libexpected-dev libcli11-dev libpcre2-dev libutf8proc-dev)
test_packages=(libgtest-dev clang-format)

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

# build PRESET: configures once, then brings the build up to date.
build() {
  local dir="$root/build/$1"
  if [ ! -f "$dir/build.ninja" ]; then
    cmake -S "$root" --preset "$1" -DCMAKE_CXX_COMPILER_LAUNCHER=ccache >&2
  fi
  cmake --build "$dir" >&2
}

case "${1:-}" in
  test)
    install_missing "${packages[@]}" "${test_packages[@]}"
    python3 "$root/scripts/check_layers.py"
    "$root/scripts/check_format.sh"
    build ci
    ctest --test-dir "$root/build/ci" --output-on-failure -j "$(nproc)" "${@:2}"
    ;;
  '')
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
  *)
    install_missing "${packages[@]}"
    build release
    exec "$root/build/release/tools/hlwq/hlwq" "$@"
    ;;
esac
