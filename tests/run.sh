#!/usr/bin/env bash
# Set up what is missing, then run every check: format, lint, types, tests.
# Arguments go to pytest:  bash tests/run.sh -k archive -x
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash examples/setup.sh --tests

.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
exec .venv/bin/python -m pytest "$@"
