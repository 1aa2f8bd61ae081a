# The recipes; CI runs the commands of the README.
PYTHON ?= python3

.PHONY: check test environments attack interop browser browser-short chromium build

check: .venv  ## all tests, with lint, types and import contracts beside them
	.venv/bin/pytest -q -n 2 --dist worksteal --house

test: .venv  ## the tests alone
	.venv/bin/pytest -q -n 2 --dist worksteal

environments:  ## the smoke part on the built wheel, with the lowest and the highest versions allowed
	$(PYTHON) tests/environments.py lowest highest

attack: .venv  ## the whole attack again: seeded, on loopback only, some twenty minutes; SECURITY.md has its table
	.venv/bin/python -m tests.attack --write

interop: .venv  ## every client library and agent framework in an environment of its own; tests/interop/README.md has its table
	.venv/bin/python -m tests.interop --write

browser: chromium  ## the player in Debian's Chromium: all of its tests
	.venv/bin/pytest -q -m browser tests/browser

browser-short: chromium  ## what CI runs of them: a seam, takes, the keyboard, both themes, the drop page
	.venv/bin/pytest -q -m browser tests/browser -k "before_a_seam or same_sample or keyboard or everybody or dropped"

chromium: .venv
	command -v chromium >/dev/null || (apt-get update -q && apt-get install -qy --no-install-recommends chromium) >/dev/null
	.venv/bin/pip install -q --group browser

build: .venv  ## wheel and source distribution in dist/
	.venv/bin/pip install -q build
	.venv/bin/python -m build

.venv: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q -U pip
	.venv/bin/pip install -q -e . --group dev
	touch .venv
