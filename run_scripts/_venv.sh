# Sourced by the other scripts: makes .venv in the repository's root and activates it. Once made it is used as it
# is, until pyproject.toml, setup.py or requirements-py312.txt changes. LAVIS_TLDR_PYTHON names another interpreter.

tldr_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# shellcheck disable=SC1091
source "$tldr_root/run_scripts/_python.sh"

tldr_make_venv() {
    local python stamp wanted pip
    stamp=$tldr_root/.venv/installed
    wanted=$(cat "$tldr_root"/{pyproject.toml,setup.py,requirements-py312.txt} | cksum)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return; fi
    python=$(tldr_find_python) || return 1
    echo "Making .venv with Python $(tldr_version "$python"): LAVIS and torch, about 3 minutes and 6 GB ..."
    rm -f "$stamp"
    "$python" -m venv "$tldr_root/.venv" || return 1
    pip=("$tldr_root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check)
    if [ "$(tldr_version "$python")" = 3.12 ]; then
        # pip ends by naming LAVIS's pins that are passed over on 3.12; that is this route's purpose.
        "${pip[@]}" --no-deps salesforce-lavis==1.0.2 &&
            "${pip[@]}" -r "$tldr_root/requirements-py312.txt" &&
            "${pip[@]}" --no-deps -e "$tldr_root" || return 1
    else
        # numpy is named beside the package so that nothing in this install can ask for numpy 2.
        "${pip[@]}" -e "$tldr_root[lavis,test]" 'numpy<2' || return 1
    fi
    echo "$wanted" >"$stamp"
}

tldr_make_venv || exit 1
# shellcheck disable=SC1091
source "$tldr_root/.venv/bin/activate"
