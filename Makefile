# Two commands do the work: `make demo` and `make test`. Each sets up what it needs first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Side by side in several processes on one Kafka; a file's tests stay together.
ABREAST := -n auto --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-core test-search test-secure chaos unit lint check format bench bench-peers up down clean lock

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with everything headrace needs

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; ok = (3, 11) <= v < (3, 14); sys.exit(0 if ok else f"headrace needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}: try make PYTHON=python3.13")'
	@echo "setting up $(VENV) (about a minute the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY) ## Run a year of New York flights through a real Kafka, end to end
	@$(BIN)/headrace demo flights

test: $(READY) ## Run every test, on a real Kafka
	@$(BIN)/python -m pytest $(ABREAST)

test-core: $(READY) ## Run all but the tests of search engines and of forwarding to them
	@$(BIN)/python -m pytest $(ABREAST) -m "not search"

test-search: $(READY) ## Run the tests of search engines and of forwarding to them
	@$(BIN)/python -m pytest $(ABREAST) -m search

test-secure: $(READY) ## Run the tests that need Kafka on one with TLS, passwords and ACLs
	@$(BIN)/python -m pytest tests/contract tests/integration --stack secure $(ABREAST)

chaos: $(READY) ## Hurt a running pipeline 200 times and audit what came of it (about 30 minutes)
	@$(BIN)/python -m tests.chaos

unit: $(READY) ## Run the tests that need no Kafka
	@$(BIN)/python -m pytest tests/unit tests/contract -m "not kafka"

lint: $(READY) ## Format, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

check: lint ## The same, and the quick unit tests
	@$(BIN)/python -m pytest tests/unit -m "not slow"

format: $(READY) ## Put the code in its format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(READY) ## Measure the stream against a plain passthrough
	@$(BIN)/python -m bench

bench-peers: $(READY) ## Measure other tools on the same job (sets up an environment for each)
	@$(BIN)/python -m bench.peers

up: $(READY) ## Start Kafka and a schema registry here
	@$(BIN)/headrace up

down: $(READY) ## Stop them; the data stays
	@$(BIN)/headrace down

lock: ## Resolve requirements.txt anew (needs uv)
	@uv pip compile --quiet --universal --generate-hashes --no-strip-extras --no-emit-index-url --no-header \
		--python-version 3.11 --extra train --extra data --extra embedded --extra forward --extra console --extra dev pyproject.toml -o requirements.txt
	@# With hashes, pip wants a package that has extras pinned a second time without them.
	@awk '/^[^ ]/ {printf "%s", extra; extra = ""} /^[a-z0-9-]+\[/ {begun = 1} \
		begun || extra {extra = extra $$0 "\n"; begun = 0; sub(/\[[a-z,]+\]/, "")} {print} END {printf "%s", extra}' \
		requirements.txt > requirements.new && mv requirements.new requirements.txt

clean: ## Remove what setup, demo and tests made here
	rm -rf $(VENV) .headrace build dist .mypy_cache .ruff_cache .hypothesis
