#!/usr/bin/env bash
# Give each client an environment of its own: LlamaIndex in DIRECTORY/llama-index (it wants an older openai, and has
# a top-level `workflows` as we have), OpenAI's for Node in tests/clients/node. Quick when they are there.
#
# usage: tests/clients/install.sh [DIRECTORY]     PYTHON=... makes LlamaIndex's environment
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${1:-.clients}/llama-index
python=${PYTHON:-.venv/bin/python}
wanted=tests/clients/llama-index/requirements.txt
node=tests/clients/node

major() { node --version 2>/dev/null | sed -n 's/^v\([0-9]*\)\..*/\1/p'; }

if ! command -v node >/dev/null || ! command -v npm >/dev/null || [ "$(major)" -lt 20 ]; then
    echo "make test-clients needs Node 20 or newer with npm on PATH (nodejs.org, or your system's packages);" \
        "here are: node $(node --version 2>/dev/null || echo missing), npm $(npm --version 2>/dev/null || echo missing)" >&2
    exit 3
fi

if [ ! "$venv/.installed" -nt "$wanted" ]; then
    echo "== test-clients: LlamaIndex in $venv (half a minute the first time)"
    rm -rf "$venv"
    if command -v uv >/dev/null; then
        uv venv --quiet --python "$python" "$venv"
        uv pip install --quiet --python "$venv/bin/python" -r "$wanted"
    else
        "$python" -m venv "$venv"
        "$venv/bin/python" -m pip --disable-pip-version-check --no-input --quiet install -r "$wanted"
    fi
    touch "$venv/.installed"
fi

if [ ! "$node/node_modules/.installed" -nt "$node/package.json" ]; then
    echo "== test-clients: OpenAI's client for Node in $node"
    npm install --prefix "$node" --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
    touch "$node/node_modules/.installed"
fi
