# Two commands do the work: `make demo` and `make test`. Each sets up what it needs first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The demo needs half of the packages: it begins sooner on a fresh machine.
READY_DEMO := $(if $(wildcard $(READY)),$(READY),$(VENV)/.ready-demo)
# Whoever has told Python to keep no compiled code would compile all of it again in each of the processes started here.
export PYTHONDONTWRITEBYTECODE :=
# Side by side in several processes on one Kafka; a file's tests stay together.
ABREAST := -n auto --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-core test-search test-secure chaos unit lint check format bench bench-peers up down clean lock

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with everything headrace needs

$(READY): requirements.txt pyproject.toml
	@./setup.sh $(PYTHON) $(VENV) requirements.txt
	@touch $(READY)

$(VENV)/.ready-demo: requirements-demo.txt pyproject.toml
	@./setup.sh $(PYTHON) $(VENV) requirements-demo.txt
	@touch $(VENV)/.ready-demo

demo: $(READY_DEMO) ## Run a year of New York flights through a real Kafka, end to end (DEMO=--quick: two months)
	@$(BIN)/headrace demo flights $(DEMO)

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
	@$(BIN)/python -m pytest tests/unit -m "not slow" $(ABREAST)

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

LOCK := uv pip compile --quiet --universal --generate-hashes --no-strip-extras --no-emit-index-url --no-header --python-version 3.11

lock: ## Resolve the requirements anew (needs uv)
	@$(LOCK) --extra platform --extra checkout --extra dev pyproject.toml -o requirements.txt
	@$(LOCK) --extra embedded --extra train --extra demo --extra files --extra checkout --constraint requirements.txt pyproject.toml -o requirements-demo.txt
	@echo uv | $(LOCK) - -o requirements-uv.txt
	@# With hashes, pip wants a package that has extras pinned a second time without them.
	@for file in requirements.txt requirements-demo.txt; do \
		awk '/^[^ ]/ {printf "%s", extra; extra = ""} /^[a-z0-9-]+\[/ {begun = 1} \
		begun || extra {extra = extra $$0 "\n"; begun = 0; sub(/\[[a-z,]+\]/, "")} {print} END {printf "%s", extra}' \
		$$file > requirements.new && mv requirements.new $$file; done

clean: ## Remove what setup, demo and tests made here
	rm -rf $(VENV) .headrace build dist .mypy_cache .ruff_cache .hypothesis
