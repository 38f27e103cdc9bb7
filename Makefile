# Everything a contributor runs; `make setup` is what each of the others starts from.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup quickstart check test test-all test-kubernetes test-hosts bench promises reference lock clean

setup: .venv/.ready

.venv/.ready: requirements/dev.txt pyproject.toml scripts/setup.sh
	PYTHON=$(PYTHON) bash scripts/setup.sh

quickstart: setup
	@bash scripts/quickstart.sh

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/ansible-lint --offline -q roles

test: setup
	$(BIN)/python -m tests.lanes person

test-all: setup
	$(BIN)/python -m tests.lanes all

test-kubernetes: setup
	$(BIN)/python -m tests.lanes kubernetes

test-hosts: setup
	$(BIN)/python -m tests.lanes hosts

bench: setup
	$(BIN)/python -m bench

promises: setup
	$(BIN)/python -m tests.promises

reference: setup
	$(BIN)/python -m scripts.reference

lock:
	bash scripts/lock.sh

clean:
	rm -rf .venv build dist
