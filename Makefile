# Two commands do all set-up on a fresh Linux machine with Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# pytest's options, for example `make test T="tests/unit -x"`.
T ?= tests

# Test processes side by side: three for each core, for tests wait for servers two thirds of their time.
JOBS ?= $(shell expr 3 \* $$(nproc))

# Tests write many small files: in memory, where there is room for them, no disk is waited for.
TESTS_IN ?= $(shell awk '$$2 == "/dev/shm" && $$4 !~ /noexec/ { print $$2 }' /proc/mounts \
    | xargs --no-run-if-empty df --output=target,avail | awk 'NR > 1 && $$2 > 4000000 { print $$1; exit }')

# Compiled files are kept, whatever this shell says: tests, demo and bench start some thousand processes.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check bench lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Issue three certificates on this machine and watch them arrive on a node
	@$(BIN)/python -m rig.provision --quiet PostgreSQL Valkey Pebble
	@$(BIN)/python -m rig.demo

test: $(READY) ## Get the servers the tests need, then run every test
	$(BIN)/python -m rig.provision
	TMPDIR=$(TESTS_IN) $(BIN)/python -m pytest --numprocesses $(JOBS) $(T)

check: $(READY) ## Lint, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## Measure, and print each figure beside its baseline
	@$(BIN)/python -m rig.provision --quiet
	@$(BIN)/python -m bench

lock: $(READY) ## Write the hashed requirement files anew from pyproject.toml
	requirements/lock $(BIN)/uv

clean: ## Remove the virtual environment and every cache in this folder
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
