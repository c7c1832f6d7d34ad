#!/usr/bin/env bash
# Small CLIP, BLIP and ViLT on the noisy pool of real photos, on a random quarter and on ours, then the tables and curves in
# projects/tldr/flickr8k_web/results. run_scripts/flickr8k_web.sh comes first; what is done is not done again.
# Usage: run_scripts/flickr8k_web_pretrain.sh [--shared SHARED] [ARCH ...]   ARCH: clip blip vilt; all by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
shared=../shared
if [ "${1:-}" = --shared ]; then shared=$2; shift 2; fi
source run_scripts/_photos.sh
tldr_photos "$shared"
if [ $# = 0 ]; then set -- clip blip vilt; fi
# One thread a process: the same weights on every number of cores.
export OMP_NUM_THREADS=1
processes=$(nproc) running=()
for part in $(seq 0 $((processes - 1))); do
    python projects/tldr/flickr8k_web/pretrain.py --arch "$@" --part "$part/$processes" &
    running+=($!)
done
for process in "${running[@]}"; do wait "$process"; done
python projects/tldr/flickr8k_web/pretrain.py --arch "$@" --tables
