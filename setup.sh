#!/bin/sh
# Set up a virtual environment: setup.sh PYTHON VENV REQUIREMENTS. Every package must have the hash that is committed.
# uv does it several times as fast as pip, which is used where uv cannot be had or does not reach the packages.
set -eu
python=$1 venv=$2 requirements=$3

"$python" -c 'import sys; v = sys.version_info; ok = (3, 11) <= v < (3, 14); sys.exit(0 if ok else f"headrace needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}: try make PYTHON=python3.13")'
echo "setting up $venv from $requirements (half a minute to two, the first time)"
test -x "$venv/bin/python" || "$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
uv="$venv/uv/bin/uv"
test -x "$uv" || pip install --target "$venv/uv" --require-hashes -r requirements-uv.txt 2>/dev/null || true

if test -x "$uv" && "$uv" pip install --quiet --python "$venv/bin/python" --compile-bytecode --require-hashes -r "$requirements"; then
    :
else
    echo "uv did not do it: installing with pip, which takes longer"
    pip install --require-hashes -r "$requirements"
fi
pip install --no-deps --no-build-isolation --editable .
