# Everything a newcomer needs: `make demo` and `make test` set themselves up in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo serve test quick lint format bench chaos interop test-node nightly clean requirements

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# One environment serves every target. Hash-pinned, so two machines get the same bytes.
$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tandem needs Python 3.11 or later (set PYTHON=…)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## send one message through everything, and watch it
	$(BIN)/tandem demo

serve: $(STAMP) ## keep the demo's world up (see .tandem/demo.json)
	$(BIN)/tandem world

# Most tests wait for sockets and processes more than they compute: three at a time, each with its
# own Postgres, take a third of the time even on two cores.
test: $(STAMP) lint ## lint, then every test
	$(BIN)/python -m pytest --numprocesses=3 --dist=worksteal

quick: $(STAMP) ## the fast tests, within a minute: pure ones, no end-to-end
	$(BIN)/python -m pytest --numprocesses=3 --dist=worksteal -m "not slow" tests/unit tests/property

lint: $(STAMP) ## format, style, types, layering, words
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tests/lint_house.py

format: $(STAMP) ## rewrite the code as `make lint` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

interop: $(STAMP) ## SMPP peers that need fetching: Kannel, node's smpp, tshark
	tests/interop/install.sh .tandem/interop
	TANDEM_INTEROP_DIR=$(CURDIR)/.tandem/interop $(BIN)/python -m pytest tests/interop

nightly: $(STAMP) ## a week of simulated traffic, 100,000 selections, 5,000 pacings, 10,000 odd requests of a kind, every pair of gateways, the suite without caches
	TANDEM_SIMULATED_HOURS=168 TANDEM_SIMULATED_LOAD=0.07 $(BIN)/python -m pytest tests/simulation
	$(BIN)/python -m pytest tests/property/routing --hypothesis-profile=nightly
	$(BIN)/python -m pytest tests/property/pacing --hypothesis-profile=nightly
	TANDEM_FUZZ_EXAMPLES=10000 TANDEM_FUZZ_ROUNDS=200 $(BIN)/python -m pytest tests/contract/test_any_value.py tests/contract/test_openapi.py
	TANDEM_PAIR=all $(BIN)/python -m pytest tests/faults/test_pair.py
	TANDEM_CACHES=false $(BIN)/python -m pytest --numprocesses=3 --dist=worksteal

chaos: $(STAMP) ## faults under load, ROUNDS=20 of them from SEED=1; prints a table
	PYTHONPATH=tests $(BIN)/python -m chaos $(FAULT)

test-node: $(STAMP) ## the official Node SDK, which needs fetching
	tests/node/install.sh .tandem/node
	TANDEM_NODE_DIR=$(CURDIR)/.tandem/node $(BIN)/python -m pytest tests/node

bench: $(STAMP) ## the benchmarks; prints tables
	$(BIN)/python -m bench

requirements: $(STAMP) ## pin the newest allowed versions again
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-annotate --no-header --output-file requirements/runtime.txt pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-annotate --no-header --extra dev --constraint requirements/runtime.txt --output-file requirements/dev.txt pyproject.toml

clean: ## remove what the other targets made
	rm -rf $(VENV) .tandem build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
