#!/usr/bin/env bash
# The whole job on the noisy pool of real photos, on a machine without a GPU (an hour and a half on 2 cores), or with one.
# Usage: run_scripts/flickr8k_web.sh [SHARED]   SHARED holds data/flickr8k-web, data/flickr8k-clean and assets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
shared=$(cd "${1:-../shared}" && pwd)
source run_scripts/_photos.sh
tldr_photos "$shared"

mkdir -p runs/weights runs/data/flickr8k-clean
[ -f runs/weights/minilm/model.safetensors ] || bash "$TLDR_ASSETS/get_minilm.sh" runs/weights/minilm
tar xf "$shared/data/flickr8k-clean/images.tar" -C runs/data/flickr8k-clean
cp "$shared"/data/flickr8k-clean/*.json runs/data/flickr8k-clean/

configs=projects/tldr/flickr8k_web

# train NAME JOB [KEY=VALUE ...]: run projects/tldr/flickr8k_web/NAME.yaml as JOB, unless it is done
train() {
    if [ -f "runs/flickr8k_web/$2/finished" ]; then echo "$2: done before"; return; fi
    lavis-tldr train --cfg-path "$configs/$1.yaml" --options run.job_id="$2" "${@:3}"
    touch "runs/flickr8k_web/$2/finished"
}

train captioner1_pretrain_cpu captioner1_pretrain
lavis-tldr reduce --cfg-path $configs/score.yaml
train captioner2_cpu captioner2
lavis-tldr reduce --cfg-path $configs/reduce_paper.yaml
lavis-tldr reduce --cfg-path $configs/reduce.yaml

# The same captioner on patch features, without a codebook, for comparison.
without() { train "$1" "$2" model.quantize=False model.patch_tokens=True model.patch_dropout=0.0 "${@:3}"; }
without captioner2_cpu nocode2

train captioner_dev dev
without captioner_dev nocode_dev model.finetuned=runs/flickr8k_web/nocode2/checkpoint_best.pth
lavis-tldr ablate --cfg-path $configs/proxy.yaml
python $configs/collect_results.py
