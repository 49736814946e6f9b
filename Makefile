# Needs Python >= 3.11 and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
SEEDS ?= 2000
WIDER ?= 10

.PHONY: help setup demo test lint sim sim-gossip explore docs completions clean

help:
	@echo "make demo   three nodes, one real bot, one killed machine"
	@echo "make test   everything: lint, types, units, transcripts, simulation, golden CLI, end to end"
	@echo "make sim SEEDS=20000   the simulator alone, as long as you like"
	@echo "make sim-gossip   gossip among 3 to 1,000 nodes in virtual time: what it costs, how soon it knows"
	@echo "make explore WIDER=10   every order of events within small bounds: ten times as many states as in a test run"
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

# What only thinks runs beside what starts processes, and steps back for it: the storms, and all the rest.
STORMS := tests/sim/test_seeds.py
THINKERS := tests/explore tests/histories tests/sim tests/daemon/core tests/daemon/state tests/daemon/config
THINK := MLTB_SIM_SEEDS=$(SEEDS) nice -n 19 $(BIN)/python -m pytest

test: lint
	@mkdir -p .pytest_cache; trap 'kill $$storms $$thinks 2>/dev/null; exit 130' INT TERM; \
	$(THINK) $(STORMS) >.pytest_cache/storms.log 2>&1 & storms=$$!; \
	$(THINK) $(THINKERS) --ignore=$(STORMS) >.pytest_cache/thinkers.log 2>&1 & thinks=$$!; \
	$(BIN)/python -m pytest $(THINKERS:%=--ignore=%); machine=$$?; \
	wait $$storms; stormed=$$?; wait $$thinks; thought=$$?; cat .pytest_cache/storms.log .pytest_cache/thinkers.log; \
	[ $$machine -eq 0 ] && [ $$stormed -eq 0 ] && [ $$thought -eq 0 ]

sim: setup
	MLTB_SIM_SEEDS=$(SEEDS) $(BIN)/python -m pytest tests/sim -q

sim-gossip: setup
	$(BIN)/python -m tests.sim.gossip

explore: setup
	MLTB_EXPLORE=$(WIDER) nice -n 19 $(BIN)/python -m pytest tests/explore -q

docs: completions
	$(BIN)/python daemon/generate_options.py

completions: setup
	$(BIN)/python completions/generate.py

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
