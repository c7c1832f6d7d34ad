#!/usr/bin/env bash
# The paper's ablations on the noisy pool of real photos, with the captioner of run_scripts/flickr8k_web.sh, which comes
# first. An hour and a half on a core; what is done is not done again.
# Usage: run_scripts/ablations.sh [SHARED]   SHARED holds data/flickr8k-web, data/flickr8k-clean and assets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
shared=$(cd "${1:-../shared}" && pwd)
source run_scripts/_photos.sh
tldr_photos "$shared"

configs=projects/tldr/ablations
names="table2a table2b table2d table2e table2f figure1 figure3 recipe table2c"
# One process for all: model, features and sentence embeddings are loaded and computed once. An arm that fails ends it
# with status 1, after the others. BLIP_WEIGHTS: BLIP's, for the arms that are skipped without.
failed=0
lavis-tldr ablate --cfg-path $(printf "$configs/%s.yaml " $names) || failed=$?
# Figure 7: how well captions fit before and after the paper's refining.
lavis-tldr reduce --cfg-path $configs/base/reduce.yaml --options run.name=figure7 run.representation=index \
    run.selection=uniform run.recipe=original_generated run.caption_all=True run.score_refined=True run.images=in_place
lavis-tldr captions runs/ablations/flickr8k_web --name figure7 --plot $configs/results/figure7.png > $configs/results/figure7.txt
for name in $names; do
    for suffix in .md .csv _seeds.csv .png; do
        if [ -f "runs/ablations/$name/$name$suffix" ]; then cp "runs/ablations/$name/$name$suffix" $configs/results/; fi
    done
done
exit $failed
