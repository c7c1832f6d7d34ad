#!/usr/bin/env bash
# The whole job on the noisy pool of real photos, on a machine without a GPU (an hour and a half on 2 cores), or with one.
# Usage: run_scripts/flickr8k_web.sh [SHARED]   SHARED holds data/flickr8k-web, data/flickr8k-clean and assets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
shared=$(cd "${1:-../shared}" && pwd)
export FLICKR8K_WEB=$shared/data/flickr8k-web TLDR_ASSETS=$shared/assets NLTK_DATA=$shared/assets/nltk_data
# On a CPU most of a small model's time goes into giving memory back to the system and asking for it again.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=536870912

mkdir -p runs/weights runs/data/flickr8k-clean
[ -f runs/weights/minilm/model.safetensors ] || bash "$TLDR_ASSETS/get_minilm.sh" runs/weights/minilm
tar xf "$shared/data/flickr8k-clean/images.tar" -C runs/data/flickr8k-clean
cp "$shared"/data/flickr8k-clean/*.json runs/data/flickr8k-clean/

# train NAME [OPTIONS]: unless it is done
train() {
    local log=runs/flickr8k_web/$1/log.txt
    if [ -f "$log" ] && [ "$(grep -c '"val_agg_metrics"' "$log")" -ge "$(sed -n 's/^ *max_epoch: //p' "projects/tldr/flickr8k_web/$1_cpu.yaml")" ]; then
        echo "$1: done before"; return
    fi
    lavis-tldr train --cfg-path "projects/tldr/flickr8k_web/$1_cpu.yaml"
}

train captioner1_pretrain
train captioner1_finetune
lavis-tldr reduce --cfg-path projects/tldr/flickr8k_web/score1.yaml
train captioner2_pretrain
train captioner2_finetune
lavis-tldr reduce --cfg-path projects/tldr/flickr8k_web/reduce_paper.yaml
lavis-tldr reduce --cfg-path projects/tldr/flickr8k_web/reduce.yaml
lavis-tldr train --cfg-path projects/tldr/flickr8k_web/proxy.yaml
