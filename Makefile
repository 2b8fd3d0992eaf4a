# The commands a newcomer needs. `make` alone lists them.

VENV ?= .venv
BIN := $(VENV)/bin
# Further options for pip, for instance an index that serves processor-only builds of torch.
PIP_ARGS ?=
# The first interpreter that is new enough; give another with `make env PYTHON=...`.
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
TORCH := $(shell grep "^torch==" constraints.txt)
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -q $(PIP_ARGS)

.DEFAULT_GOAL := help
.PHONY: help env demo test test-slow check fix clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(VENV)/.installed-dev ## make the environment in .venv, with every tool and extra

demo: $(VENV)/.installed-demo ## train a small model on real text, measure it, sample from it, draw it
	$(BIN)/boggers train demo --out runs/demo --resume auto

test: env ## run every test but the slow ones, on all cores
	$(BIN)/python -m pytest -q -n auto

test-slow: env ## run the proofs that take minutes, on the text in BOGGERS_PROOF_TEXT if given
	$(BIN)/python -m pytest -q -m slow

check: env ## formatting, lint, types, layers, generated pages: all without changing anything
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m boggers.cli.document --check
	$(BIN)/python -m boggers.cli.claims --check

fix: env ## format, repair what lint can repair, regenerate docs/cli.md and the README's figures
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -m boggers.cli.document
	$(BIN)/python -m boggers.cli.claims

clean: ## remove caches and builds; the environment and the runs stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes first and alone, so that no other package chooses another build of it.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "boggers needs Python 3.11 or newer; install it, or say where \
	it is: make env PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-torch: constraints.txt | $(BIN)/python
	$(PIP_INSTALL) -c constraints.txt $(TORCH)
	@touch $@

$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(VENV)/.installed-torch
	$(PIP_INSTALL) -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/.installed-torch
	$(PIP_INSTALL) -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed-demo
