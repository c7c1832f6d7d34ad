#!/usr/bin/env bash
# Lint and tests, in .venv (made if needed). Arguments go to pytest: bash run_scripts/test.sh tests/codebook -k nearest
# Without any, the whole suite runs in two processes, file by file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source run_scripts/_venv.sh

ruff check .
ruff format --check .
if [ $# = 0 ]; then set -- -n 2 --dist loadfile; fi
# Small tensors: more threads than that cost more than they bring.
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} python -m pytest -q "$@"
