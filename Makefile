# `make demo` and `make test` are all that a fresh clone needs; both set it up first.
PYTHON ?= python3
BIN := .venv/bin
CODE := services shared deploy tests bench

.DEFAULT_GOAL := help
.PHONY: help setup lock check format documents test chaos demo bench clean

help:  ## This list
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null || grep '##' $(MAKEFILE_LIST)

setup:  ## Environment, packages, data sets, Kafka; a second call has nothing to do
	@$(PYTHON) -m deploy.setup

lock: setup  ## Renew the lock of versions and hashes
	$(BIN)/python -m deploy.setup.lock

check: setup  ## Style, types, who may import whom, generated documents
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m services.control.documents --check

format: setup  ## Put the code into the house's style
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

documents: setup  ## Renew those that are made from the code
	$(BIN)/python -m services.control.documents

# The longest files go first, so that the short ones fill the gaps at the end; tests wait more than they compute. Threads of
# torch would wait for each other spinning, where four workers and their services share two cores.
test: setup  ## Unit, integration and end-to-end tests
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/e2e tests/integration tests/unit -m 'not slow and not chaos' -n 4 --dist loadfile --no-loadscope-reorder --durations 25 $(ARGS)

chaos: setup  ## Kill every service and the broker under load, then audit; all slow tests
	$(BIN)/pytest tests/chaos tests/integration tests/e2e tests/unit -m 'slow or chaos' $(ARGS)

demo: setup  ## The whole story on real reviews; ARGS="--report report.json"
	$(BIN)/tidemill demo $(ARGS)

bench: setup  ## The figures in the README
	$(BIN)/python -m bench $(ARGS)

clean:  ## What set-up and tests made; downloads stay in the cache
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
