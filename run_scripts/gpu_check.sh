#!/usr/bin/env bash
# What one GPU settles in less than 10 minutes: the tests of tests/gpu (stages, trainers, two ranks on one GPU, numbers
# against the CPU) and rates (images/s, captions/s, training pairs/s, peak memory), in one JSON and a summary.
# Usage: bash run_scripts/gpu_check.sh [OUT.json] [--device cpu] [--model-type small]
#   OUT.json      default gpu_check.json
#   --device      cpu: try the check itself, with small batches (use --model-type tiny)
#   --model-type  size of the captioner that is measured: base (default), small, tiny
# Ends with status 1 if a test failed, or tests or rates did not come to their end. LAVIS_TLDR_VENV=0 uses the Python at
# hand and not .venv (made if needed).
set -euo pipefail
if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit; fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck disable=SC1091
[ "${LAVIS_TLDR_VENV:-1}" = 0 ] || source run_scripts/_venv.sh
export PYTHONWARNINGS=ignore
python benchmarks/gpu_check.py "$@"
