# Needs Python >= 3.11 and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
SEEDS ?= 2000

.PHONY: help setup demo test lint sim docs completions clean

help:
	@echo "make demo   three nodes, one real bot, one killed machine"
	@echo "make test   everything: lint, types, units, transcripts, simulation, golden CLI, end to end"
	@echo "make sim SEEDS=20000   the simulator alone, as long as you like"
	@echo "make docs   daemon/OPTIONS.md and the shell completions, made anew from the code"

setup: .venv/.ready

.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/mltbctl demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: lint
	MLTB_SIM_SEEDS=$(SEEDS) $(BIN)/python -m pytest

sim: setup
	MLTB_SIM_SEEDS=$(SEEDS) $(BIN)/python -m pytest tests/sim -q

docs: completions
	$(BIN)/python daemon/generate_options.py

completions: setup
	$(BIN)/python completions/generate.py

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
