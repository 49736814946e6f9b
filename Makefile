# Needs Python >= 3.11 and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
SEEDS ?= 2000
WIDER ?= 10

.PHONY: help setup demo test nodes others units storms thinkers lint sim sim-gossip explore docs completions clean

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

# Three runs side by side, each told of when it has ended. Real nodes measure time, so the others step back for them,
# those that only think most of all. `make nodes` and so on for one of them, as it goes.
NODES := tests/e2e tests/demo tests/deploy
STORMS := tests/sim/test_seeds.py tests/sim/test_levels.py
THINKERS := tests/explore tests/histories tests/sim tests/daemon/core tests/daemon/state tests/daemon/config
THINK := MLTB_SIM_SEEDS=$(SEEDS) nice -n 19 $(BIN)/python -m pytest

test: lint
	@$(MAKE) --no-print-directory --jobs=3 --keep-going --output-sync=target nodes others thinkers

nodes: setup
	$(BIN)/python -m pytest $(NODES)

others:
	@$(MAKE) --no-print-directory --jobs=1 --keep-going units storms

units: setup
	nice -n 10 $(BIN)/python -m pytest $(NODES:%=--ignore=%) $(THINKERS:%=--ignore=%)

storms: setup
	$(THINK) $(STORMS)

thinkers: setup
	$(THINK) $(THINKERS) $(STORMS:%=--ignore=%)

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
