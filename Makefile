# Every target sets up what it needs; after that all of them work offline.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
# Competitors of the model are heavy: they live apart, and only `make prove NAME=peers` needs them.
PEERS := .venv-peers
PEERS_LOCK := training/benchmarks/requirements.lock
# What writes the clients in src/eta/client from the contract: Node and two generators. Only `make client` and `make check` need it.
CLIENTS := .venv-clients
CLIENTS_LOCK := tests/clients/requirements.lock
NODE_LOCK := tests/clients/package-lock.json

# What the targets write stays in the checkout.
export ETA_HOME ?= $(CURDIR)
# Without compiled bytecode scikit-learn alone takes many seconds to import.
export UV_COMPILE_BYTECODE = 1
export UV_LINK_MODE = copy
# Behind a proxy that opens TLS, downloads need the certificates of the system.
export UV_SYSTEM_CERTS ?= true
BUNDLES := $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem)
CERTS := $(firstword $(PIP_CERT) $(REQUESTS_CA_BUNDLE) $(CURL_CA_BUNDLE) $(SSL_CERT_FILE) $(BUNDLES))
ifneq ($(CERTS),)
export PIP_CERT := $(CERTS)
endif

.PHONY: help setup demo test check audit client serve bench prove lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) $(CLIENTS)/.ready ## create the environments with the pinned dependencies

$(READY): requirements.lock pyproject.toml
	@echo '1/4 creating a Python environment in $(VENV)'
	@$(PYTHON) -m venv $(VENV)
	@echo '2/4 installing uv, which installs the rest (40 MB)'
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13,<0.14'
	@echo '3/4 installing and compiling the pinned libraries: about 1.2 GB on disk; this takes one to five minutes'
	@$(VENV)/bin/uv pip install --python $(VENV)/bin/python --require-hashes -r requirements.lock
	@echo '4/4 installing eta itself'
	@$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation -e .
	@touch $@
	@echo 'ready: from now on this takes no time and no network; make clean removes the 1.2 GB'

demo: $(READY) ## show what it does, on simulated parcels
	@echo 'simulating parcels (10 MB), training and replaying a week: about two minutes, the next time less than one'
	@$(VENV)/bin/eta demo

test: $(READY) ## run the tests
	$(VENV)/bin/python -m pytest

check: $(READY) $(CLIENTS)/.ready ## lint, types, dependencies, licences, and whether the clients are those of the contract
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/deptry src
	$(VENV)/bin/python tests/audit/audit.py --licences
	$(VENV)/bin/python tests/clients/generate.py --check

audit: $(READY) $(CLIENTS)/.ready ## licences, known advisories, and a software bill of materials of the dependencies
	$(VENV)/bin/python tests/audit/audit.py

client: $(READY) $(CLIENTS)/.ready ## write the clients of the HTTP interface anew from its contract
	$(VENV)/bin/python tests/clients/generate.py

$(CLIENTS)/.ready: $(CLIENTS_LOCK) $(NODE_LOCK) | $(READY)
	$(PYTHON) -m venv --clear $(CLIENTS)
	$(VENV)/bin/uv pip install --quiet --python $(CLIENTS)/bin/python --require-hashes -r $(CLIENTS_LOCK)
	cp tests/clients/package.json $(NODE_LOCK) $(CLIENTS)
	$(CLIENTS)/bin/npm ci --prefix $(CLIENTS) --ignore-scripts --no-audit --no-fund --silent
	touch $@

serve: $(READY) ## start the API on loopback, without keys
	$(VENV)/bin/eta serve --demo

bench: $(READY) ## measure how fast it is, as ratios of CPU time in one run; the figures in JSON come last
	$(VENV)/bin/python training/benchmarks/speed.py

prove: $(READY) $(if $(filter peers,$(NAME)),$(PEERS)/.ready) ## run the experiment NAME behind a claim, or all of them; each ends with its verdict in JSON
	failed=0; for name in $(or $(NAME),hostile overload swaps memory clocks slowdown scenario delay_flags checkout split_orders files planted models); do \
		case $$name in \
			peers) export PYTHONPATH=src OMP_NUM_THREADS=1; $(PEERS)/bin/python training/benchmarks/peers.py;; \
			*) $(VENV)/bin/python training/experiments/$$name.py;; \
		esac || failed=1; \
	done; exit $$failed

$(PEERS)/.ready: $(PEERS_LOCK) | $(READY)
	$(PYTHON) -m venv --clear $(PEERS)
	$(VENV)/bin/uv pip install --quiet --python $(PEERS)/bin/python --require-hashes -r $(PEERS_LOCK)
	touch $@

COMPILE := $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

lock: $(READY) $(CLIENTS)/.ready ## choose the newest allowed versions of all dependencies
	$(COMPILE) --all-extras --group dev pyproject.toml -o requirements.lock
	$(COMPILE) --group peers -c requirements.lock pyproject.toml -o $(PEERS_LOCK)
	$(COMPILE) --group clients -c requirements.lock -o $(CLIENTS_LOCK)
	cd tests/clients && ../../$(CLIENTS)/bin/npm update --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund --silent

clean: ## remove the environments and caches
	rm -rf $(VENV) $(CLIENTS) $(PEERS) .mypy_cache .pytest_cache .ruff_cache .hypothesis
