#!/bin/bash
# tests/samples.sh -- a folder of built programs, each straight on the device and through a pool
#
# usage: tests/samples.sh DIR [--direct|--pooled] [--timeout SECONDS] [--build BUILD] [NAME...]
# Details: tests/programs/samples.py
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$here/../build
exec python3 "$here/programs/samples.py" --build "$build" "$@"
