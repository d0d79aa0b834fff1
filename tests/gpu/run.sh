#!/bin/bash
# tests/gpu/run.sh -- what a machine with a GPU shows: programs straight on it and through a pool of its own
#
# usage: tests/gpu/run.sh [--build DIR] [--driver LIBRARY] [--python PYTHON] [--part PART]... [--out FILE]
#                         [--timeout SECONDS] [FOLDER...]
#
# Takes the build in DIR (build), or makes it. FOLDERs hold programs built beforehand, as for
# tests/samples.sh. Needs nothing from a network. Details: tests/gpu/run.py
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
build=$root/build
expect=
for word in "$@"; do
    [ "$expect" != --build ] || build=$word
    case $word in --build=*) build=${word#--build=} ;; esac
    expect=$word
done
if [ ! -e "$build/build.ninja" ] && [ ! -e "$build/backend/gpupoold" ]; then
    (cd "$root" && meson setup --buildtype=release "$build" && ninja -C "$build" all meson-test-prereq) >&2
fi
exec python3 "$here/run.py" --build "$build" "$@"
