# Every command of this repository. CI runs the same targets (.ci/run, .github/workflows/ci.yml).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTEST_ARGS ?=
DRILL_ARGS ?=

.PHONY: help setup vendors test lint format types demo fuzz drill bench lock clean

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## make .venv with what requirements-dev.lock lists

# Written last, so that an interrupted installation is taken up again.
$(INSTALLED): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "Python 3.10 or later is needed, $$($(PYTHON) --version) found; say which: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(INSTALLED)

vendors: setup ## make .venvs with the vendor's clients, which tests compare against
	$(BIN)/python -m tests.fixtures.vendors

test: setup vendors ## run all tests (PYTEST_ARGS="-k part" runs some)
	$(BIN)/python -m pytest -m "not ray" --numprocesses 2 --dist loadfile $(PYTEST_ARGS)
	@# By themselves: Ray gives up on a node that is slow to start on a busy machine.
	$(BIN)/python -m pytest -m ray $(PYTEST_ARGS)

lint: setup ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

types: setup ## check types alone
	$(BIN)/mypy

format: setup ## put the code into the house's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: setup ## check and publish a corpus to a local Files API, on Ray, in two minutes
	$(BIN)/python -m examples.demo

fuzz: setup vendors ## hold many mutated files against the vendor's own checks
	$(BIN)/python -m tests.differential.fuzz

drill: setup ## kill runs at random moments, on both engines, and look at what is left
	$(BIN)/python -m tests.drill --rounds 50 $(DRILL_ARGS)
	$(BIN)/python -m tests.drill --rounds 6 --engine ray $(DRILL_ARGS)

bench: setup vendors ## measure speed and memory on this machine, beside the vendor's clients
	$(BIN)/python -m benchmarks

# The headers are left out since they would repeat this machine's paths and package index.
COMPILE := uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
  --no-emit-index-url --no-header
UV_VENV := .venvs/uv

lock: ## resolve the dependencies anew (LOCK_ARGS="--upgrade-package ray")
	$(PYTHON) -m venv $(UV_VENV)
	$(UV_VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(UV_VENV)/bin/$(COMPILE) $(LOCK_ARGS) pyproject.toml --output-file requirements.lock
	$(UV_VENV)/bin/$(COMPILE) $(LOCK_ARGS) pyproject.toml --group dev \
	  --constraint requirements.lock --output-file requirements-dev.lock

clean: ## remove what these targets made: environments and caches
	rm -rf $(VENV) .venvs .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
