#!/usr/bin/env bash
# Lays hlwq, and any other programs of a build, into a folder that runs on another machine of the
# same processor family: stripped, with the shared libraries they need beside them. Only glibc comes
# from that machine, in the build machine's version or a later one.
#
#   scripts/bundle.sh BUILD OUT [PROGRAM...]    PROGRAM as tests/kernels/kernels_tests, under BUILD
set -euo pipefail
build=${1:?usage: bundle.sh BUILD OUT [PROGRAM...]}
out=${2:?usage: bundle.sh BUILD OUT [PROGRAM...]}
glibc='^(ld-linux.*|lib(c|m|mvec|dl|pthread|rt|resolv|util|anl))\.so'

rm -rf "$out"
mkdir -p "$out/lib"
for program in tools/hlwq/hlwq "${@:3}"; do
  [ -x "$build/$program" ] || { echo "bundle.sh: there is no program $build/$program" >&2; exit 1; }
  # Programs look for libraries in $ORIGIN/lib first (CMAKE_BUILD_RPATH of the root CMakeLists.txt).
  # shellcheck disable=SC2016  # $ORIGIN is the loader's
  if ! readelf -d "$build/$program" | grep -qF '$ORIGIN/lib'; then
    echo "bundle.sh: $build/$program does not look for libraries beside itself" >&2
    exit 1
  fi
  strip -o "$out/$(basename "$program")" "$build/$program"
  while read -r name _ path _; do
    if [[ ! $name =~ $glibc && -f $path ]]; then strip -o "$out/lib/$name" "$path"; fi
  done < <(ldd "$build/$program")
done

# What a program still takes from elsewhere, a library's own needs included, would be missing there.
for program in "$out"/*; do
  [ -f "$program" ] || continue
  while read -r name arrow path _; do
    if [[ $arrow == '=>' && ! $name =~ $glibc && $(readlink -f "$path") != "$(readlink -f "$out")"/* ]]; then
      echo "bundle.sh: $program takes $name from $path" >&2
      exit 1
    fi
  done < <(ldd "$program")
done
printf '%s: %d bytes, %d compressed\n' "$out" "$(du -sb "$out" | cut -f1)" "$(tar -C "$out" -c . | gzip -9 | wc -c)"
