#!/usr/bin/env bash
# Pretrains on a set by the paper's settings, on GPUs or on a CPU; run again, it goes on where it stopped.
# Usage: run_scripts/pretrain.sh ARCH SET WHICH [NUM_PROCESSES] [KEY=VALUE ...]
#   ARCH: blip clip vilt   SET: cc3m cc12m yfcc15m laion40m   WHICH: full random reduced   NUM_PROCESSES: 8 by default
set -euo pipefail
if [ $# -lt 3 ]; then sed -n '2,4s/^# //p' "$0" >&2; exit 2; fi
config=projects/tldr/pretrain/$2/$1_$3.yaml processes=${4:-8}
if [ ! -f "$config" ]; then echo "there is no $config: see projects/tldr/pretrain" >&2; exit 2; fi
# The paper's batch of 1260 as near as so many processes can share it, and BLIP's queue a multiple of it.
batch=$(((1260 + processes / 2) / processes * processes))
queue=()
if [ "$1" = blip ]; then queue=("model.queue_size=$((45 * batch))"); fi
python -m torch.distributed.run --nproc_per_node="$processes" -m lavis_tldr.train --cfg-path "$config" \
    --options "run.global_batch_size=$batch" "${queue[@]}" "${@:5}"
