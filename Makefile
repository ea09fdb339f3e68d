.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help install demo test check format book serve chapters bench clean

help: ## Show these commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/pyvenv.cfg:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip

# torch comes first, so that nothing that depends on it brings another version.
.venv/torch: .venv/pyvenv.cfg constraints.txt
	$(PIP) torch
	@touch $@

.venv/demo: .venv/torch pyproject.toml
	$(PIP) --editable '.[book,offline]'
	@touch $@

.venv/dev: .venv/torch pyproject.toml
	$(PIP) --editable '.[dev]'
	@touch $@ .venv/demo

install: .venv/dev ## Make .venv with everything a developer needs

demo: .venv/demo ## Train, explain and measure a plain and a REGEX classifier; write an executed notebook
	$(BIN)/regex-lib demo

test: .venv/dev ## Run all tests (set REGEX_DATA for those on real data)
	$(BIN)/python -m pytest --numprocesses 2

check: .venv/dev ## Lint, types, spelling, import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/lint-imports

format: .venv/dev ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

book: .venv/dev ## Build the book from the executed chapters, into _build/html
	$(BIN)/regex-lib book build

serve: .venv/dev ## Show the built book at http://localhost:8000
	$(BIN)/regex-lib book serve

chapters: .venv/dev ## Execute the chapters again, two at a time
	$(BIN)/regex-lib book execute --jobs 2

bench: .venv/dev ## Measure speed, as ratios within one run
	for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

clean: ## Remove everything that was made
	rm -rf .venv _build book/api book/_assets/vendor demo runs
