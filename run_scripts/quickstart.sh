#!/usr/bin/env bash
# The whole main job on a set of scenes that the project draws itself: draw, train the captioner, reduce by two recipes,
# pretrain a few steps on the result, and say by the truth what became of the set. About 10 minutes on 2 CPU cores,
# installation included. Needs a package registry, no GPU and no model hub. Run again, it goes on where it stopped.
# Usage: bash run_scripts/quickstart.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source run_scripts/_venv.sh

out=quickstart_output # the configs name it too
configs=projects/tldr/quickstart
mkdir -p "$out"
export PYTHONWARNINGS=ignore OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

say() { printf '== %s (%d min %02d s) ==\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

# once NAME FILE... -- COMMAND...: run the command unless it ended well before, with the same command line and files.
once() {
    local stamp=$out/.done_$1 wanted
    shift
    local files=()
    while [ "$1" != -- ]; do files+=("$1"); shift; done
    shift
    wanted=$( (printf '%s\n' "$@"; cat "${files[@]}") | cksum)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then echo "done before"; return; fi
    rm -f "$stamp"
    "$@"
    echo "$wanted" >"$stamp"
}

# Every step's loss goes to a file; the terminal gets a line an epoch.
train() {
    python -m torch.distributed.run --standalone --nproc_per_node=1 -m lavis_tldr.train --cfg-path "$@" >>"$out/steps.txt"
}

draw() { rm -rf "$out/scenes" "$out/clean"; lavis-tldr draw-scenes "$out/scenes" "$@"; }

# A new captioner makes new codes: what an older one made is not gone on with.
finetune() { rm -rf "$out/reduction"; train "$@"; }

# Stock LAVIS blip_pretrain, with small images and a small text encoder, on 32 pairs: 8 steps.
pretrain() {
    eval "$(lavis-tldr offline --dir "$out/offline")"
    python - "$1" "$out/pretrain/annotations.json" <<'PYTHON'
import json, pathlib, sys
source, target = map(pathlib.Path, sys.argv[1:])
target.parent.mkdir(parents=True, exist_ok=True)
target.write_text(json.dumps(json.loads(source.read_text())[:32]))
PYTHON
    python -m lavis_tldr.train --cfg-path projects/tldr/pretrain/blip_pretrain_tldr_cpu.yaml --options \
        datasets.tldr_reduced.path="$out/pretrain" datasets.tldr_reduced.image_root="$(dirname "$1")/images" \
        datasets.tldr_reduced.vis_processor.train.image_size=64 model.image_size=64 \
        model.med_config_path="$PWD/$configs/bert_small.json" model.queue_size=8 model.max_txt_len=80 run.bf16=False \
        run.batch_size_train=4 run.warmup_steps=4 run.log_freq=1 run.num_workers=0 run.output_dir="$out/pretrain" \
        >>"$out/steps.txt"
    rm -f "$out"/pretrain/*/*.pth # a gigabyte, of no use after so few steps
}

say "drawing a noisy set of scenes, and a small clean one"
once draw -- draw --num-samples 6000 --clean "$out/clean" --num-clean 2000 --image-size 64 --variety 0.1 --max-things 2

say "training the captioner on the noisy pairs (its steps: $out/steps.txt)"
once captioner_pretrain "$configs/captioner_pretrain.yaml" "$out/.done_draw" -- train "$configs/captioner_pretrain.yaml"

say "fine-tuning it on the clean captions"
once captioner_finetune "$configs/captioner_finetune.yaml" "$out/.done_captioner_pretrain" -- \
    finetune "$configs/captioner_finetune.yaml"

say "reducing the set to a quarter by the best recipe"
lavis-tldr reduce --cfg-path "$configs/reduce.yaml"

say "reducing it by the paper's recipe, quietly; lavis-tldr inspect $out/reduction tells what came of both"
lavis-tldr reduce --quiet --cfg-path "$configs/reduce_paper.yaml"

say "stock LAVIS blip_pretrain on the reduced set, 8 steps"
once pretrain "$out/reduction/best/build/annotations.json" -- pretrain "$out/reduction/best/build/annotations.json"

say "what the truth kept beside the set says"
lavis-tldr truth "$out/scenes/truth.json" "$out"/reduction/{best,paper} --examples 2

say "done"
cat <<TEXT
The reduced sets:   $out/reduction/best/build and $out/reduction/paper/build: annotations.json (LAVIS), images/,
                    keys.txt; ../ledger/ beside it has every pair of the source, and what became of it
How it was made:    lavis-tldr inspect $out/reduction      What became of a pair: lavis-tldr why $out/reduction 000000001
The captioner:      $out/captioner_finetune/checkpoint_best.pth
Your own set next:  copy $configs/reduce.yaml and the captioner configs, name your tars or annotations under datasets,
                    your model type (base, small) under model, then: lavis-tldr reduce --cfg-path YOURS
Pretrain on it:     bash run_scripts/blip_pretrain_tldr.sh $out/reduction/best/build NUM_GPUS
TEXT
