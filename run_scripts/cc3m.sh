#!/usr/bin/env bash
# CC3M: trains the captioner, reduces the set. Usage: run_scripts/cc3m.sh [NUM_GPUS]
set -euo pipefail
# shellcheck disable=SC1091
source "$(dirname "${BASH_SOURCE[0]}")/_threads.sh"
tldr_threads "${1:-8}"
run() { python -m torch.distributed.run --nproc_per_node="$1" -m lavis_tldr.train "${@:2}"; }
run "${1:-8}" --cfg-path projects/tldr/cc3m/captioner_pretrain.yaml
run "${1:-8}" --cfg-path projects/tldr/cc3m/captioner_finetune.yaml
run "${1:-8}" --cfg-path projects/tldr/cc3m/reduce.yaml
