# Sourced by the other scripts: makes .venv in the repository's root and activates it. Once made it is used as it
# is, until setup.py changes. LAVIS_TLDR_PYTHON names another interpreter.

tldr_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

tldr_works() { "$1" -c "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))" >/dev/null 2>&1; }

tldr_find_python() {
    local candidate
    for candidate in "${LAVIS_TLDR_PYTHON:-}" python3.11 python3.10 python3 python "$HOME"/.pyenv/versions/3.1[01]*/bin/python; do
        # A name on PATH may be a stub that only says which versions exist, so it is tried, not just found.
        if [ -n "$candidate" ] && tldr_works "$candidate"; then echo "$candidate"; return; fi
    done
    echo "No Python 3.10 or 3.11 (with its venv module) found. Install one, or name it: LAVIS_TLDR_PYTHON=/path/to/python." >&2
    echo "For Python 3.12 see requirements-py312.txt." >&2
    return 1
}

tldr_make_venv() {
    local python stamp wanted
    stamp=$tldr_root/.venv/installed
    wanted=$(cksum <"$tldr_root/setup.py")
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return; fi
    python=$(tldr_find_python) || return 1
    echo "Making .venv with $("$python" --version) (LAVIS and torch: some minutes and 6 GB) ..."
    rm -f "$stamp"
    "$python" -m venv "$tldr_root/.venv" || return 1
    # numpy is named beside the package so that nothing in this install can ask for numpy 2.
    "$tldr_root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -e "$tldr_root[test]" 'numpy<2' || return 1
    echo "$wanted" >"$stamp"
}

tldr_make_venv || exit 1
# shellcheck disable=SC1091
source "$tldr_root/.venv/bin/activate"
