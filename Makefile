# make install: everything the project needs, into .venv and (Debian packages) onto this machine
# make demo:    a three-node cluster on this machine, a real guest, hooks; then takes it all down
# make test:    everything that CI runs
PYTHON ?= python3
V := .venv/bin
export PYTHONDONTWRITEBYTECODE :=
# How many files of tests run side by side; 0: one after the other. Most of them wait most of the time.
TOGETHER := 0

.PHONY: install demo test lint unit format clean
install: .venv/.installed

.venv/.installed: requirements-dev.lock pyproject.toml packaging/debian-packages
	packaging/install-debian-packages
	$(PYTHON) -m venv .venv
	$(V)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(V)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: install
	$(V)/gantry local demo

lint: install
	$(V)/ruff format --check .
	$(V)/ruff check .
	$(V)/mypy
	$(V)/lint-imports --no-cache

unit: install
	$(V)/pytest -q -m "not e2e and not qemu and not namespaces and not root and not long"

test: lint
	$(V)/pytest -m "not long" -n $(TOGETHER)

format: install
	$(V)/ruff format .
	$(V)/ruff check --fix .

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
