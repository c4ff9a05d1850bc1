# Two commands from a fresh clone: `make demo` and `make test`. Each makes .venv/ where it is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# One thread for each library: with more, OpenBLAS and torch wait for each other on small matrices.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: demo test docs lint types check clean

demo: $(VENV)/.installed
	$(BIN)/repscope demo --output demo

test: $(VENV)/.installed-test
	$(ONE_THREAD) $(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

docs: $(VENV)/.installed-docs
	$(ONE_THREAD) $(BIN)/python -m sphinx -q -W --keep-going $(ARGS) docs docs/_build/site
	@echo 'open docs/_build/site/index.html'

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

check: lint types test

# The stamp is newer than the files that say what to install, so a second call starts at once.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[all]'
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[all,test]'
	touch $@

$(VENV)/.installed-docs: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) demo docs/_build .pytest_cache .mypy_cache .ruff_cache
