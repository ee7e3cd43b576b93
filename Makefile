# make demo    set up and run the main job
# make check   what a change should pass before it is committed: two minutes
# make test    set up and run every check
# make torch   PyTorch beside them, in its build for processors: the tests of it run then
# make test-browser    drive the page of a grid in an installed Chromium; not part of test
# make docs    build the site, docs/_build/html, and check it: a warning is an error
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests do not measure, so they may run side by side; what one compiles the others find.
PYTEST := $(BIN)/pytest --numprocesses auto --dist worksteal
COVERAGE := $(BIN)/coverage
# What `make docs` writes.
SITE := docs/_build docs/gallery docs/cli.md docs/api/generated \
	$(addprefix docs/reference/,attacks defenses models datasets figures)

.PHONY: demo check test torch lint compiled uncompiled bounds generic small-grid readme speed clean \
	test-browser docs

demo: $(VENV)/demo.done
	$(BIN)/fastadv grid --attacks biggio,stadv

check: lint
	$(PYTEST) -m "not slow"

test: lint compiled uncompiled bounds small-grid docs speed

torch: $(VENV)/torch.done

test-browser: $(VENV)/browser.done
	@$(BIN)/python tests/browser/chromium.py
	$(BIN)/pytest -m browser tests/browser

lint: $(VENV)/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

compiled: $(VENV)/test.done
	$(PYTEST) --cov --cov-report=

# A kernel's lines count as covered only where it ran as Python.
uncompiled: compiled
	NUMBA_DISABLE_JIT=1 $(PYTEST) -m uncompiled --cov --cov-append --cov-report=
	$(COVERAGE) report --skip-covered --fail-under=90

bounds: $(VENV)/test.done
	NUMBA_BOUNDSCHECK=1 $(PYTEST) tests/kernels

# For a processor of which only the instruction set is known; not part of `test`.
generic: $(VENV)/test.done
	NUMBA_CPU_NAME=generic NUMBA_CPU_FEATURES= $(PYTEST) tests/kernels

small-grid: $(VENV)/test.done
	NUMBA_CACHE_DIR=.cache/kernels $(BIN)/fastadv grid --attacks biggio,stadv,pgd \
		--dataset "mnist[train=3000,test=1000]" --samples 200 --output .cache/small-grid --fresh

# What README shows of a grid, anew; of the grid of a folder with GRID=fastadv-results.
readme: $(VENV)/demo.done
	NUMBA_CACHE_DIR=.cache/kernels $(BIN)/python tests/readme/front_page.py $(GRID)

docs: $(VENV)/docs.done
	$(BIN)/sphinx-build -W --keep-going -q -d .cache/doctrees docs docs/_build/html
	$(BIN)/python docs/check_site.py docs/_build/html

speed: $(VENV)/test.done
	$(BIN)/pytest bench -rs --benchmark-disable-gc --benchmark-columns=median,iqr,rounds

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "fastadv needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.done: $(VENV)/bin/python pyproject.toml requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.txt -e .
	touch $@

$(VENV)/test.done: $(VENV)/bin/python pyproject.toml requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.txt -e ".[dev]"
	touch $@

# PyTorch's own index has the build for processors, a tenth of PyPI's for Linux, and that is preferred
# where the index can be reached.
$(VENV)/torch.done: $(VENV)/test.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.txt \
		--extra-index-url https://download.pytorch.org/whl/cpu --retries 1 --timeout 15 torch
	touch $@

$(VENV)/browser.done: $(VENV)/test.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.txt -e ".[browser]"
	touch $@

$(VENV)/docs.done: $(VENV)/bin/python pyproject.toml requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.txt -e ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) .cache $(SITE) build dist .pytest_cache .mypy_cache .ruff_cache .benchmarks .coverage
