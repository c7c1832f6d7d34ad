#!/usr/bin/env bash
# Tries what works without LAVIS and torch in a new environment with the base dependencies alone, which is deleted
# afterwards: --version, keep-lists, ledgers, inspect, why, captions, export. A minute; needs a package registry.
# Usage: bash run_scripts/without_lavis.sh [WHEEL]   (default: the checkout is installed)
set -euo pipefail
what=$(realpath "${1:-$(dirname "${BASH_SOURCE[0]}")/..}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck disable=SC1091
source run_scripts/_python.sh
unset PYTHONPATH

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python=$(tldr_find_python)
"$python" -m venv "$scratch/venv"
# Installed from a copy: setuptools would take up what it finds in a build/ of before.
if [ -d "$what" ]; then
    mkdir "$scratch/source"
    cp -r "$what"/{lavis_tldr,pyproject.toml,setup.py,README.md,LICENSE} "$scratch/source"
    what=$scratch/source
fi
"$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$what"
PATH=$scratch/venv/bin:$PATH
tests=$PWD/tests

cd "$scratch" # away from the checkout's lavis_tldr
lavis-tldr --version
lavis-tldr --help >help.txt
PYTHONPATH=$tests/exports:$tests/report python "$tests/helpers/without_lavis.py" "$scratch/runs"
