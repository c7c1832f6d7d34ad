#!/usr/bin/env bash
# Usage: run_scripts/blip_pretrain_tldr_cpu.sh REDUCED [KEY=VALUE ...]
set -euo pipefail
python -m lavis_tldr.train \
  --cfg-path projects/tldr/pretrain/blip_pretrain_tldr_cpu.yaml --options datasets.tldr_reduced.path="$1" "${@:2}"
