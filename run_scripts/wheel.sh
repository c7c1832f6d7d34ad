#!/usr/bin/env bash
# Builds the wheel, looks what is in it, and tries it in a new environment without LAVIS and torch (without_lavis.sh).
# About two minutes; needs a package registry. Usage: bash run_scripts/wheel.sh [OUT]   (default: dist, for the wheel)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck disable=SC1091
source run_scripts/_python.sh
out=${1:-dist}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python=$(tldr_find_python)
"$python" -m venv "$scratch/venv"
mkdir "$scratch/source"
cp -r lavis_tldr pyproject.toml setup.py README.md LICENSE "$scratch/source"
"$scratch/venv/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps -w "$out" "$scratch/source"
wheel=$(ls -t "$out"/lavis_tldr-*.whl | head -n 1)
echo "built $wheel"

"$python" - "$wheel" <<'PYTHON'
import pathlib, sys, zipfile

names = zipfile.ZipFile(sys.argv[1]).namelist()
# LAVIS's wheel installs top-level packages app, docs, projects and tests; ours must add none to them.
strays = sorted({name.split("/")[0] for name in names if not name.startswith(("lavis_tldr/", "lavis_tldr-"))})
source = pathlib.Path("lavis_tldr")
wanted = [path.as_posix() for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
missing = sorted(set(wanted) - set(names))
if strays or missing:
    sys.exit(f"the wheel holds more than lavis_tldr: {strays}; it lacks: {missing}")
configs = sum(name.startswith("lavis_tldr/configs/") for name in names)
print(f"{len(names)} files, {configs} of them packaged configs; nothing but lavis_tldr")
PYTHON
bash run_scripts/without_lavis.sh "$wheel"
