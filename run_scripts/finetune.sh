#!/usr/bin/env bash
# Fine-tunes a pretraining's checkpoint for an evaluation, on GPUs or on a CPU; run again, it goes on where it stopped.
# Usage: run_scripts/finetune.sh TASK ARCH CHECKPOINT [NUM_PROCESSES] [KEY=VALUE ...]
#   TASK: vqa nlvr2 retrieval_coco retrieval_flickr30k   ARCH: blip clip vilt   NUM_PROCESSES: 8 by default
#   TLDR_DATA names the folder of the sets (data by default); `lavis-tldr data check` says what belongs there.
set -euo pipefail
if [ $# -lt 3 ]; then sed -n '2,5s/^# //p' "$0" >&2; exit 2; fi
task=$1 arch=$2 checkpoint=$3 processes=${4:-8}
config=projects/tldr/finetune/${task}_$arch.yaml
if [ ! -f "$config" ]; then echo "there is no $config: see projects/tldr/finetune" >&2; exit 2; fi
TLDR_DATA=$(cd "${TLDR_DATA:-data}" && pwd)
export TLDR_DATA
if [ "$arch" = blip ]; then
    # Stock models are given what they load in full; once for each checkpoint.
    case $task in
        vqa) convert=(--for blip_vqa) ;;
        nlvr2) convert=(--for blip_nlvr) ;;
        retrieval_*) convert=(--for blip_retrieval --queue-size 57600) ;;
    esac
    converted=runs/finetune/${task}_$(cksum <"$checkpoint" | tr ' ' _).pth
    if [ ! -f "$converted" ]; then
        mkdir -p runs/finetune
        python -m lavis_tldr convert "$checkpoint" "$converted" "${convert[@]}" --image-size 384
    fi
    checkpoint=$converted
fi
python -m torch.distributed.run --nproc_per_node="$processes" -m lavis_tldr.train --cfg-path "$config" \
    --options "model.pretrained=$checkpoint" "${@:5}"
