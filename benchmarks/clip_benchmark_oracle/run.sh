#!/usr/bin/env bash
# Retrieval and zero-shot figures of this package against clip-benchmark's, which needs an environment of its own: its
# open_clip wants a newer timm than LAVIS pins.
#
#     benchmarks/clip_benchmark_oracle/run.sh [FOLDER]
#
# FOLDER (oracle) gets the environment (some gigabytes) and what the two sides exchange; `python` is this package's.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
folder=${1:-oracle}
mkdir -p "$folder"
if [ ! -x "$folder/venv/bin/python" ]; then
    python -m venv "$folder/venv"
    "$folder/venv/bin/python" -m pip install -q clip-benchmark==1.6.2 open-clip-torch==3.3.0 'numpy<2.3'
fi
PYTHONPATH=$(dirname "$(dirname "$here")") python "$here/ours.py" "$folder"
env -u PYTHONPATH "$folder/venv/bin/python" "$here/theirs.py" "$folder"
