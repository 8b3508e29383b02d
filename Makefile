# Two commands: `make demo` and `make test`. Each sets up what it needs; a second time that takes no time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := 0.13.9
UV_CACHE_DIR ?= $(CURDIR)/$(VENV)/cache
export UV_CACHE_DIR

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench faults pack clean

help:
	@echo "make demo    set up, play the recording through Kafka, Spark and Delta, show the agents' status"
	@echo "make test    set up and run every test"
	@echo "make check   lint, types, imports      make bench   measure      make faults   break things"
	@echo "make setup   only set up               make clean   undo set-up"
	@echo "make pack    artifacts/agentmon-env.tar.gz: what a Spark cluster's executors need (docs/cluster.md)"

setup: $(VENV)/.classes

$(VENV)/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "agentmon: $(PYTHON) is missing or older than Python 3.11: install it, or say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "agentmon: $(PYTHON) has no venv module: install it (Debian: apt install python3-venv)" >&2; exit 1; }
	@PYTHONPATH=src $(PYTHON) -m agentmon.stack.java
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-cache-dir uv==$(UV)
	@touch $@

$(VENV)/.packages: $(VENV)/.uv requirements.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.project: $(VENV)/.packages pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q src cli
	@touch $@

$(VENV)/.jars: $(VENV)/.project src/agentmon/stack/jars.py src/agentmon/stack/broker.py
	$(BIN)/python -m agentmon.stack.jars
	$(BIN)/python -m agentmon.stack.broker
	@touch $@

$(VENV)/.classes: $(VENV)/.jars src/agentmon/stack/classes.py cli/agentmon_cli/classes.py spark-submit.sh
	$(BIN)/python -m agentmon_cli.classes
	@touch $@

demo: setup
	@$(BIN)/agentmon demo

# DSPy, LangChain, LangGraph and OpenAI Agents, which only their tests need: 300 MB.
$(VENV)/.integrations: $(VENV)/.packages requirements-integrations.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-integrations.lock
	@touch $@

test: setup $(VENV)/.integrations
	$(BIN)/pytest

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m bench

faults: setup
	$(BIN)/python -m bench.faults
	$(BIN)/python -m bench.publisher_faults

# For executors on machines without agentmon: the project and its libraries, but for Spark, which they have, and for
# what only the command line, the gateway and publishers import.
PACK ?= artifacts/agentmon-env.tar.gz
NOT_PACKED := pyspark delta-spark duckdb-extension-delta fastapi kafka-python opentelemetry-proto rich typer uvicorn

pack: setup
	@set -e; mkdir -p $(dir $(PACK)); work=$$(mktemp -d $(dir $(PACK))pack.XXXXXX); trap 'rm -rf $$work' EXIT; \
	$(BIN)/uv venv --quiet --relocatable --python $(BIN)/python $$work/environment; \
	printf '%s\n' $(NOT_PACKED) | $(BIN)/uv pip install --quiet --python $$work/environment \
		--require-hashes --constraints requirements.lock --excludes - -r pyproject.toml; \
	$(BIN)/uv build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir $$work .; \
	$(BIN)/uv pip install --quiet --python $$work/environment --no-deps $$work/*.whl; \
	tar -C $$work/environment -cf $$work/packed .; gzip -1 $$work/packed; mv $$work/packed.gz $(PACK); \
	echo "agentmon: made $(PACK), for executors whose machines have $$($(BIN)/python -c 'import os; print(os.path.realpath(".venv/bin/python"))')"

clean:
	@if [ -x $(BIN)/agentmon ]; then $(BIN)/agentmon down; fi
	rm -rf $(VENV) .jars .ivy .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -d .agentmon ]; then echo "agentmon: .agentmon, your data, is kept: rm -r .agentmon deletes it"; fi
