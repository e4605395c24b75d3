#!/bin/sh
# Installs salus_verify into a virtual environment (.venv at the repository's root, or $SALUS_VENV) and
# runs its lints, type check and tests. With SALUS_BIN set, compares verdicts with that program too.
set -eu
cd "$(dirname "$0")"
venv=${SALUS_VENV:-../.venv}
if [ ! -x "$venv/bin/python" ]; then
    "${PYTHON:-python3}" -m venv "$venv"
fi
# Installed again only when what it needs has changed; the sources are used in place.
stamp=$venv/.salus_verify
if ! cmp -s pyproject.toml "$stamp"; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[test]'
    cp pyproject.toml "$stamp"
fi
"$venv/bin/ruff" format --quiet --no-cache --check .
"$venv/bin/ruff" check --quiet --no-cache .
"$venv/bin/mypy"
exec "$venv/bin/python" -B -m pytest "$@"
