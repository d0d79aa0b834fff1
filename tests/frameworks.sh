#!/bin/bash
# tests/frameworks.sh -- frameworks from PyPI as users install them, straight and through a pool
#
# usage: tests/frameworks.sh DIR [NAME...]     NAME: cupy numba torch taichi cuda-python cudnn pycuda pynvml jax nccl
#
# Without a name all but nccl, which runs under a limit of memory.
# DIR gets virtual environments (about 7 GB); packages that are there stay as they are. The programs
# are tests/frameworks/*.py. What is skipped is named with the reason. BUILD names another build folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { sed -n 's/^# usage: /usage: /p' "$0"; exit 2; }
exec python3 "$here/frameworks/run.py" --build "${BUILD:-$here/../build}" "$@"
