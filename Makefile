# make demo    set up and run the main job
# make test    set up and run every check
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test clean

demo: $(VENV)/demo.done
	$(BIN)/fastadv grid --attacks biggio,stadv

test: $(VENV)/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest
	NUMBA_DISABLE_JIT=1 $(BIN)/pytest --cov --cov-report=term:skip-covered --cov-fail-under=85
	NUMBA_BOUNDSCHECK=1 $(BIN)/pytest tests/kernels
	$(BIN)/fastadv grid --attacks biggio,stadv,pgd --dataset "mnist[train=3000,test=1000]" --samples 200 --output $(VENV)/small-grid --fresh
	$(BIN)/pytest bench --benchmark-disable-gc --benchmark-columns=median,iqr,rounds

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "fastadv needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.done: $(VENV)/bin/python pyproject.toml requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.txt -e .
	touch $@

$(VENV)/test.done: $(VENV)/bin/python pyproject.toml requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .benchmarks
