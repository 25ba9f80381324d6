# Every target sets up what it needs first; the second time that takes no time and no network.
SHELL := /bin/bash
BIN := .venv/bin
SCENARIO ?= errors

.PHONY: help setup demo test test-cluster faults soak unit lint format check lock clean
.DEFAULT_GOAL := help

help: ## Say what each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: ## Make .venv with the locked packages; install what the tests run (Debian packages) where missing
	@scripts/setup prometheus=prometheus kubectl=kubernetes-client openssl=openssl \
	  faketime=faketime prometheus-alertmanager=prometheus-alertmanager

demo: ## See a bad version being rolled back, on an embedded cluster and a real Prometheus (SCENARIO=errors)
	@scripts/setup prometheus=prometheus \
	  $(if $(filter alert all,$(SCENARIO)),prometheus-alertmanager=prometheus-alertmanager)
	@$(BIN)/watcher demo --scenario $(SCENARIO)

test: setup ## Lint, types, layers, and all tests of tiers 1 and 2
	@scripts/check
	@scripts/test

test-cluster: ## Tier 3: the image in a real Kubernetes, built and started here (root; 20 minutes the first time)
	@scripts/test-cluster

faults: ## Strike each request that the daemon makes and each of its surroundings; walk at random (11 minutes)
	@scripts/faults $(if $(ONLY),--only "$(ONLY)")

soak: setup ## 200 Releases one after another: what the daemon holds afterwards that it did not before (2 minutes)
	@$(BIN)/python -m tests.soak

unit: setup ## The tests of the pure core only (seconds)
	@$(BIN)/pytest -q tests/core

lint: setup ## ruff, mypy (strict), import-linter
	@scripts/check

format: setup ## Format the code in place
	@$(BIN)/ruff format watcher tests cluster bench action && $(BIN)/ruff check --fix-only -q watcher tests cluster bench action

lock: setup ## Resolve the locked packages anew (hashes only)
	@scripts/lock

clean: ## Remove what the targets above made
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* dist
	find watcher tests -name __pycache__ -type d -prune -exec rm -rf {} +
