# Every target sets up what it needs; after that all of them work offline.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
# Competitors of the model are heavy: they live apart, and only `make prove NAME=peers` needs them.
PEERS := .venv-peers
PEERS_LOCK := training/benchmark/requirements.lock

# Without compiled bytecode scikit-learn alone takes many seconds to import.
export UV_COMPILE_BYTECODE = 1
export UV_LINK_MODE = copy

.PHONY: help setup demo test check serve bench prove lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create the environment with the pinned dependencies

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13,<0.14'
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --require-hashes -r requirements.lock
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation -e .
	touch $@

demo: $(READY) ## show what it does, on simulated parcels
	$(VENV)/bin/eta demo

test: $(READY) ## run the tests
	$(VENV)/bin/python -m pytest

check: $(READY) ## lint, types and dependencies
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/deptry src

serve: $(READY) ## start the API on loopback, without keys
	$(VENV)/bin/eta serve --demo

bench: $(READY) ## measure how fast it is, as ratios of CPU time in one run; the figures in JSON come last
	$(VENV)/bin/python training/benchmark/speed.py

prove: $(READY) $(if $(filter peers,$(NAME)),$(PEERS)/.ready) ## run the experiment NAME behind a claim, or all of them; each ends with its verdict in JSON
	for name in $(or $(NAME),hostile swaps memory slowdown scenario); do \
		case $$name in peers) export PYTHONPATH=src OMP_NUM_THREADS=1 python=$(PEERS)/bin/python;; *) python=$(VENV)/bin/python;; esac; \
		$$python training/benchmark/$$name.py || exit 1; \
	done

$(PEERS)/.ready: $(PEERS_LOCK) | $(READY)
	$(PYTHON) -m venv --clear $(PEERS)
	$(VENV)/bin/uv pip install --quiet --python $(PEERS)/bin/python --require-hashes -r $(PEERS_LOCK)
	touch $@

COMPILE := $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

lock: $(READY) ## choose the newest allowed versions of all dependencies
	$(COMPILE) --all-extras --group dev pyproject.toml -o requirements.lock
	$(COMPILE) --group peers -c requirements.lock pyproject.toml -o $(PEERS_LOCK)

clean: ## remove the environments and caches
	rm -rf $(VENV) $(PEERS) .mypy_cache .pytest_cache .ruff_cache .hypothesis
