#!/usr/bin/env bash
# Evaluates checkpoints by all that the data below $TLDR_DATA (or data/) allows, and writes one table of them.
# Usage: run_scripts/evaluate.sh OUT LABEL=CHECKPOINT [LABEL=CHECKPOINT ...]
#   Checkpoints of one LABEL are seeds of one row; the first LABEL is the baseline. NUM_PROCESSES=8 uses 8 GPUs.
set -euo pipefail
if [ $# -lt 2 ]; then sed -n '2,4s/^# //p' "$0" >&2; exit 2; fi
out=$1 baseline=${2%%=*} failed=0
for pair in "${@:2}"; do
    python -m torch.distributed.run --nproc_per_node="${NUM_PROCESSES:-1}" -m lavis_tldr evaluate \
        --checkpoint "${pair#*=}" --name "${pair%%=*}" --out "$out" --baseline "$baseline" || failed=1
done
python -m lavis_tldr evaluations "$out" --baseline "$baseline" --to "$out"
exit $failed
