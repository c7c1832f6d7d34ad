#!/usr/bin/env bash
# The models of flickr8k_web_pretrain.sh through `lavis-tldr evaluate`: retrieval, captions (BLIP) and zero-shot classification
# of 1,000 ImageNet photos; tables in projects/tldr/flickr8k_web/results. What is done is not done again.
# Usage: run_scripts/flickr8k_web_evaluate.sh [--shared SHARED] [ARCH ...]   ARCH: clip blip vilt; all by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
shared=../shared
if [ "${1:-}" = --shared ]; then shared=$2; shift 2; fi
source run_scripts/_photos.sh
tldr_photos "$shared"
if [ $# = 0 ]; then set -- clip blip vilt; fi
if [ ! -d runs/data/imagenet ]; then
    mkdir -p runs/data/imagenet.part
    tar xf "$shared/data/imagenet-sample/val.tar" -C runs/data/imagenet.part
    mv runs/data/imagenet.part runs/data/imagenet
fi
python projects/tldr/flickr8k_web/evaluate.py --arch "$@"
