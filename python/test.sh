#!/usr/bin/env bash
# The tests of the Python package, in an environment of their own: `python/test.sh [PYTEST ARGUMENTS]`.
# The program is $BANKSIA, or target/release/banksia of this checkout; the environment is $VENV, or a temporary one.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${VENV:-}" ]; then
    VENV=$(mktemp -d)
    trap 'rm -rf "$VENV"' EXIT
fi
[ -x "$VENV/bin/python" ] || python3 -m venv "$VENV"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check '.[test]'
"$VENV/bin/python" -m pytest -ra "$@"
