# Everything by hand or by machine goes through here; `make` alone lists the targets.
# `make test ARGS="tests/unit -k money"` passes arguments on to pytest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
LOCK := uv pip compile --universal --python-version 3.11 pyproject.toml --generate-hashes \
        --no-emit-index-url --custom-compile-command "make lock" --quiet
CLIENTS := .clients
LLAMA_INDEX := tests/clients/llama-index/requirements
ARGS ?=
# Tests mostly wait for servers, so more of them run than there are CPUs. `make test PARALLEL=` runs one by one.
PARALLEL ?= -n 3 --dist loadscope

.PHONY: help install demo dev test test-ui test-clients test-metrics lint bench dashboards lock clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv from requirements.lock, hashes checked; have the Temporal dev server
	@$(PYTHON) -m worker.stack install

demo: install ## the whole story on the embedded stack, in about a minute
	@echo "== demo: supervised runs on real servers"
	@$(VENV)/bin/curb demo $(ARGS)

dev: install ## the embedded stack, a worker and the simulated provider, until Ctrl-C
	@$(VENV)/bin/curb dev $(ARGS)

test: install ## all tests, on servers of their own
	@echo "== test: pytest"
	@$(VENV)/bin/pytest --ignore=tests/ui --ignore=tests/clients --ignore=tests/metrics $(PARALLEL) $(ARGS)

test-ui: install ## the console in headless Chromium, which apt-get brings where it is missing
	@command -v chromium >/dev/null || { echo "== test-ui: installing chromium with apt-get"; \
	  apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; }
	@echo "== test-ui: pytest tests/ui"
	@$(VENV)/bin/pytest tests/ui $(ARGS)

test-clients: install ## LlamaIndex and OpenAI's client for Node, in environments of their own
	@tests/clients/install.sh $(CLIENTS)
	@echo "== test-clients: pytest tests/clients"
	@$(VENV)/bin/pytest tests/clients $(ARGS)

test-metrics: install ## metrics, dashboards, rules and alerts in a real Prometheus and Alertmanager, from apt-get
	@tests/metrics/servers.sh $(CURDIR)/$(VENV)/prometheus
	@echo "== test-metrics: pytest tests/metrics"
	@PATH="$(CURDIR)/$(VENV)/prometheus/usr/bin:$$PATH" $(VENV)/bin/pytest tests/metrics $(ARGS)

lint: $(INSTALLED) ## style, types, import contracts, the compose file and the Dockerfile
	@echo "== lint: ruff"
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@echo "== lint: mypy"
	@$(VENV)/bin/mypy
	@echo "== lint: import contracts"
	@$(VENV)/bin/lint-imports
	@echo "== lint: docker-compose.yml, Dockerfile"
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@$(VENV)/bin/hadolint Dockerfile

bench: install ## measure: decisions, steps, kills, memory; JSON and a table
	@echo "== bench"
	@$(PYTHON) -m bench $(ARGS)

dashboards: install ## write Grafana's dashboards from their code
	@$(PYTHON) -m deploy.grafana

lock: ## resolve pyproject.toml, and LlamaIndex for test-clients, into the lock files (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv (docs.astral.sh/uv)" >&2; exit 3; }
	@echo "== lock: requirements.lock (everything), deploy/requirements.lock (what runs in production)"
	@$(LOCK) --group dev --output-file requirements.lock $(ARGS)
	@$(LOCK) --constraint requirements.lock --no-annotate --output-file deploy/requirements.lock
	@uv pip compile --universal --python-version 3.11 --no-emit-index-url --no-annotate --quiet \
	  --custom-compile-command "make lock" $(LLAMA_INDEX).in --output-file $(LLAMA_INDEX).txt

clean: ## remove data, logs and caches; what a killed `curb dev` left behind is stopped first
	@if [ -x $(PYTHON) ] && [ -d .curb ]; then $(PYTHON) -m worker.stack clean .curb; fi
	@echo "== clean: .curb, caches"
	@rm -rf .curb .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -not -path './$(CLIENTS)/*' -prune -exec rm -rf {} +

distclean: clean ## clean, and remove .venv and the clients' environments too
	@rm -rf $(VENV) $(CLIENTS) tests/clients/node/node_modules

# The virtual environment. Its stamp is newer than what it was made from, so a second call does nothing.
$(INSTALLED): requirements.lock pyproject.toml deploy/venv.sh
	@deploy/venv.sh $(VENV)
	@touch $@
