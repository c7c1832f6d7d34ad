# Sourced by the other scripts: finds a Python. LAVIS_TLDR_PYTHON names another interpreter.

# Print "3.11" or the like if the interpreter starts, has a usable venv module, and is of a version that works.
tldr_version() {
    "$1" -c "import sys, venv, ensurepip; v = sys.version_info; print('%d.%d' % v[:2]); sys.exit(not (3, 10) <= v[:2] <= (3, 12))" 2>/dev/null
}

tldr_find_python() {
    local candidate
    for candidate in "${LAVIS_TLDR_PYTHON:-}" python3.11 python3.10 python3 python \
        "$HOME"/.pyenv/versions/3.1[01].*/bin/python python3.12; do
        # A name on PATH may be a stub that only tells which versions exist, so it is tried, not just looked up.
        if [ -n "$candidate" ] && tldr_version "$candidate" >/dev/null; then echo "$candidate"; return; fi
    done
    echo "No Python 3.10, 3.11 or 3.12 with its venv module was found. Install one" \
        "(on Debian: apt install python3-venv), or name one: LAVIS_TLDR_PYTHON=/path/to/python." >&2
    return 1
}
