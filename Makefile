# Commands for working with Muybridge. All live in .venv, which is made when it is first needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help quickstart test lint format clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s%s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

quickstart: $(VENV)/.installed  ## footage, dataset, trained model, samples and report, in about ten minutes
	$(BIN)/muybridge quickstart

test: lint  ## all checks: style, types, tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.installed-dev  ## style and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev  ## put the code in the form that lint asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and all caches; what you trained stays
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests -type d \( -name __pycache__ -o -name .ruff_cache \) -prune -exec rm -rf {} +

# The stamps say what an environment was made of: it is brought up to date when either file changes.
# The package is installed editable, so that a change of the code needs no new installation.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.installed
