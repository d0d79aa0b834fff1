#!/bin/sh
# Runs a folder of CUDA programs straight on the software device and through a pool.
#
# usage: tests/samples.sh DIR [--unordered] [--timeout SECONDS]
#
# Every executable file in DIR is a program that was built beforehand and checks
# itself (exit status 0). Each runs in DIR. Prints a table: seconds each way, calls,
# exposed round trips, and whether both passed with equal output; numbers in the
# output are not compared, because samples print times. Needs a built tree in build/.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
case ${1:-} in
'' | -*) sed -n '4s/^# //p' "$0" >&2; exit 2 ;;
esac
dir=$1
shift
[ -d "$dir" ] || { echo "samples.sh: $dir is no folder" >&2; exit 2; }

options=$*
set --
for f in "$dir"/*; do
    if [ -f "$f" ] && [ -x "$f" ]; then
        set -- "$@" "$f"
    fi
done
[ $# -gt 0 ] || { echo "samples.sh: no program in $dir" >&2; exit 2; }
# shellcheck disable=SC2086
exec python3 "$root/tests/programs/run_both.py" --build "$root/build" --mask-numbers --beside \
    $options --all "$@"
