# Everything starts here, with python3, git and make and nothing else: each target makes what it needs.
#   make PYTHON=python3.12 test     another interpreter (for a new .venv)
#   make demo ARGS="--help"         more arguments for the command behind demo, test, test-all, bench and lock

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
# Stamps: what is installed in $(VENV), as of which pyproject.toml and constraints.txt.
BASE := $(VENV)/.base-installed
DEV := $(VENV)/.dev-installed
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install -qq

.DEFAULT_GOAL := help
.PHONY: help demo test test-all bench lint format lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(BASE) ## Evaluate a simulated model on the shipped benchmark, offline
	@$(BIN)/safemt demo $(ARGS)

test: $(DEV) ## Run the fast tests; safemt.core and safemt.stats must be covered wholly
	@$(BIN)/pytest -n 2 --cov=safemt.core --cov=safemt.stats --cov-branch --cov-fail-under=100 $(ARGS)

test-all: $(DEV) ## Run every test, the slow ones too
	@$(BIN)/pytest -n 2 -m "" $(ARGS)

bench: $(DEV) ## Measure speed and memory beside peers, and write docs/performance.md (ten minutes)
	@$(BIN)/python -m perf.run_speed --write docs/performance.md $(ARGS)

lint: $(DEV) ## Check style, types and the order of layers; change nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV) ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

# Without arguments it changes only what pyproject.toml asks for; ARGS=--upgrade moves every version.
lock: | $(BIN)/python ## Write uv.lock and constraints.txt anew from pyproject.toml
	@$(PIP_INSTALL) uv
	$(BIN)/uv lock --no-config $(ARGS)
	$(BIN)/uv export --no-config --frozen --quiet --all-extras --no-emit-project --no-hashes --no-annotate \
		--no-header --output-file constraints.txt

clean: ## Remove the environment, caches and build products (never runs/)
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests -type d -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "safemt needs Python 3.11 or newer, and '$(PYTHON)' is not that: $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another interpreter, for example: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
		exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

$(BASE): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing safemt into $(VENV) ..."
	@$(PIP_INSTALL) --constraint constraints.txt --editable .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing safemt and its development tools into $(VENV) ..."
	@$(PIP_INSTALL) --constraint constraints.txt --editable ".[dev]"
	@touch $(BASE) $@
