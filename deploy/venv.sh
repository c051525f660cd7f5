#!/usr/bin/env bash
# Make a virtual environment with exactly what requirements.lock names, every hash checked, and curb
# itself in place (editable). With uv where it is there, else with venv and pip.
#
# usage: deploy/venv.sh [DIRECTORY]     PYTHON=python3.12 chooses the interpreter
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv}

supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; }

interpreter() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if command -v "$candidate" >/dev/null && supported "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

if [ -e "$venv" ] && ! supported "$venv/bin/python"; then
    echo "== install: $venv does not work any more; making it anew"
    rm -rf "$venv"
fi

if command -v uv >/dev/null; then
    if [ ! -e "$venv" ]; then
        echo "== install: $venv (uv)"
        uv venv --quiet --python "${PYTHON:->=3.11,<3.15}" "$venv"
    fi
    echo "== install: requirements.lock, hashes checked (a minute the first time)"
    VIRTUAL_ENV=$venv uv pip install --python "$venv/bin/python" --require-hashes -r requirements.lock
    uv pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
    exit
fi

if [ ! -e "$venv" ]; then
    if ! python=$(interpreter); then
        echo "curb needs Python 3.11 to 3.14; none of them is on PATH. Install one, or uv (docs.astral.sh/uv)." >&2
        exit 3
    fi
    echo "== install: $venv ($("$python" --version), venv and pip)"
    "$python" -m venv "$venv"
fi
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null
pip=("$venv/bin/python" -m pip --disable-pip-version-check --no-input install)
echo "== install: requirements.lock, hashes checked (a few minutes the first time)"
"${pip[@]}" --quiet --progress-bar off --require-hashes -r requirements.lock
"${pip[@]}" --quiet --no-deps --no-build-isolation --editable .
