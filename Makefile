# The recipes; `make check` is what CI runs.
PYTHON ?= python3

.PHONY: check test build lock

check: .venv  ## lint, types, import contracts and all tests
	.venv/bin/pytest -q -n 2

test: .venv  ## the tests alone
	.venv/bin/pytest -q -n 2 --ignore tests/test_house.py

build: .venv  ## wheel and source distribution in dist/
	.venv/bin/pip install -q build
	.venv/bin/python -m build

.venv: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q -U pip
	.venv/bin/pip install -q -e . --group dev
	touch .venv
