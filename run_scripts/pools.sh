#!/usr/bin/env bash
# All criteria and recipes, unchanged, on four pools: scenes with 20% and with 60% wrong captions, the photos of
# run_scripts/flickr8k_web.sh, which comes first, and these with a further 20% of the captions swapped. Two hours on 2 cores;
# what is done is not done again. Tables go to projects/tldr/pools/results.
# On a processor without bfloat16: BF16=False run_scripts/pools.sh
# Usage: run_scripts/pools.sh [--shared SHARED] [POOL ...]   POOL: scenes20 scenes60 photos photos_swapped; all by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
shared=../shared
if [ "${1:-}" = --shared ]; then shared=$2; shift 2; fi
shared=$(cd "$shared" && pwd)
source run_scripts/_photos.sh
tldr_photos "$shared"
configs=projects/tldr/pools bf16=${BF16:-True}

# once FILE COMMAND...: run the command unless it ended well before
once() {
    if [ -f "$1.finished" ]; then echo "$1: done before"; return; fi
    "${@:2}"
    touch "$1.finished"
}

# compare POOL [KEY=VALUE ...]: both comparisons on a pool
compare() {
    local failed=0
    for name in criteria recipes; do
        lavis-tldr ablate --cfg-path $configs/$name.yaml --options "output_dir=runs/pools/$1/$name" "${@:2}" || failed=1
        for suffix in .md .csv _seeds.csv; do
            cp "runs/pools/$1/$name/$name$suffix" "$configs/results/$1_$name$suffix"
        done
    done
    return $failed
}

# scenes POOL SHARE: draw scenes of which a share has the caption of another, train the captioner, compare
scenes() {
    export POOL=runs/pools/$1
    local clean=$POOL/clean quickstart=projects/tldr/quickstart
    mkdir -p "$POOL"
    once "$POOL/drawn" lavis-tldr draw-scenes "$POOL/scenes" --num-samples 6000 --clean "$clean" --num-clean 2000 \
        --image-size 64 --variety 0.1 --max-things 2 --misaligned "$2"
    local val=(datasets.tldr_captions.val.annotations="$clean/dev.json" datasets.tldr_captions.val.image_root="$clean/images")
    once "$POOL/captioner_pretrain" lavis-tldr train --cfg-path $quickstart/captioner_pretrain.yaml --options \
        datasets.tldr_captions.train.tars="$POOL/scenes/*.tar" run.output_dir="$POOL" "${val[@]}"
    once "$POOL/captioner_finetune" lavis-tldr train --cfg-path $quickstart/captioner_finetune.yaml --options \
        datasets.tldr_captions.train.annotations="$clean/finetune.json" model.pretrained="$POOL/captioner_pretrain/checkpoint_last.pth" \
        datasets.tldr_captions.train.image_root="$clean/images" run.output_dir="$POOL" "${val[@]}"
    compare "$1" base=$configs/scenes_reduce.yaml proxy.val.annotations="$clean/dev.json" \
        proxy.val.image_root="$clean/images" proxy.feature_cache=
}

photos() { compare photos overrides.run.bf16="$bf16" overrides.run.output_dir=runs/flickr8k_web/reduction; }

photos_swapped() {
    local pool=runs/pools/photos_swapped reduction=runs/pools/photos_swapped/reduction
    mkdir -p $pool
    once $pool/swapped python $configs/swap_captions.py "$FLICKR8K_WEB" $pool/tars --share 0.2
    export FLICKR8K_WEB=$pool/tars
    lavis-tldr reduce --cfg-path projects/tldr/flickr8k_web/score.yaml --options run.output_dir=$reduction \
        run.bf16="$bf16"
    once $pool/captioner lavis-tldr train --cfg-path projects/tldr/flickr8k_web/captioner2_cpu.yaml --options \
        datasets.tldr_captions.only.table="$reduction/score/contrastive/*.parquet" run.output_dir=$pool run.job_id=captioner \
        run.bf16="$bf16" run.bf16_eval="$bf16"
    compare photos_swapped overrides.run.bf16="$bf16" overrides.run.output_dir=$pool/reduction2 \
        overrides.model.finetuned=$pool/captioner/checkpoint_best.pth
}

mkdir -p $configs/results
if [ $# = 0 ]; then set -- scenes20 scenes60 photos photos_swapped; fi
for pool in "$@"; do
    case $pool in
        scenes20) (scenes scenes20 0.2) ;;
        scenes60) (scenes scenes60 0.6) ;;
        photos | photos_swapped) ("$pool") ;;
        *) echo "unknown pool $pool: scenes20, scenes60, photos or photos_swapped" >&2; exit 2 ;;
    esac
done
