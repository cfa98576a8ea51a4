# Everything a fresh machine needs: `make demo`, `make test` and `make test-slow` install into .venv and run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Processes that run tests, one file of tests at a time: `make test WORKERS=4`.
WORKERS ?= 2
PYTEST := -m pytest -n $(WORKERS) --dist loadfile

.PHONY: demo test test-slow coverage lint bench clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/vectalk demo --out runs/demo --overwrite $(DEMO)

test: $(STAMP) lint
	HF_HUB_OFFLINE=1 $(BIN)/python $(PYTEST) -m "not slow"

test-slow: $(STAMP)
	HF_HUB_OFFLINE=1 $(BIN)/python $(PYTEST) -m slow

# Branch coverage by all tests, in every process that they start.
coverage: $(STAMP)
	$(BIN)/coverage erase
	HF_HUB_OFFLINE=1 $(BIN)/coverage run $(PYTEST)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

lint: $(STAMP)
	$(BIN)/ruff check src tests benchmarks demo-data examples
	$(BIN)/ruff format --check src tests benchmarks demo-data examples
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/pip install -q -c constraints.txt -e ".[bench]"
	$(BIN)/python benchmarks/all.py

clean:
	rm -rf $(VENV) runs build dist *.egg-info .coverage*
