#!/usr/bin/env bash
# Usage: run_scripts/blip_pretrain_tldr.sh REDUCED [NUM_GPUS] [KEY=VALUE ...]
set -euo pipefail
# shellcheck disable=SC1091
source "$(dirname "${BASH_SOURCE[0]}")/_threads.sh"
tldr_threads "${2:-8}"
python -m torch.distributed.run --nproc_per_node="${2:-8}" -m lavis_tldr.train \
  --cfg-path projects/tldr/pretrain/blip_pretrain_tldr.yaml --options datasets.tldr_reduced.path="$1" "${@:3}"
