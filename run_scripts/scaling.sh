#!/usr/bin/env bash
# Time and peak memory of cluster, select, ledger and build at 0.1, 1 and 10 million drawn samples (an hour and 10 GB of
# disk on 2 cores). Usage: run_scripts/scaling.sh [OUT] [further options of projects/tldr/scaling/scaling.py]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source run_scripts/_venv.sh
python -W ignore projects/tldr/scaling/scaling.py "${1:-runs/scaling}" "${@:2}"
