"""Locks and state under every fault at once: what clients were told has one explanation; and a rule less shows."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.sim.checkers import FALSE
from tests.sim.planted_store import STORE_BUGS, StoreBug
from tests.sim.store_scenario import MEMBERS_MIX, StoreOutcome, run_store_seed

pytestmark = pytest.mark.sim

SEEDS = max(50, int(os.environ.get("MLTB_SIM_SEEDS", "200")) * 3 // 10)
MEMBERS_SEEDS = max(50, SEEDS // 4)
FIRST = int(os.environ.get("MLTB_SIM_FIRST", "1"))
CHUNK = 50
UNDECIDED_MAX = 2
"""Histories of 50 seeds that may be too wide to be judged."""
HAPPENS = (
    "set ok", "set conflict", "get True", "delete ok", "acquire ok", "acquire held", "extend True", "release True",
    "guarded ok", "guarded refused",
)  # fmt: skip


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, CHUNK))
def test_clients_are_told_the_truth(first: int) -> None:
    outcomes = [run_store_seed(seed) for seed in range(first, first + CHUNK)]
    _all_true(outcomes)
    seen: Counter[str] = sum((outcome.record.seen for outcome in outcomes), Counter())
    assert all(seen[what] > CHUNK // 10 for what in HAPPENS), seen


@pytest.mark.parametrize("first", range(FIRST, FIRST + MEMBERS_SEEDS, CHUNK))
def test_clients_are_told_the_truth_while_members_come_and_go(first: int) -> None:
    _all_true([run_store_seed(seed, MEMBERS_MIX) for seed in range(first, first + CHUNK)])


def _all_true(outcomes: list[StoreOutcome]) -> None:
    failed = [outcome for outcome in outcomes if outcome.failed]
    if failed:
        seeds = " ".join(str(outcome.seed) for outcome in failed)
        pytest.fail("\n\n".join(outcome.explain() for outcome in failed[:2]) + f"\n\nfailed: {seeds}", pytrace=False)
    assert sum(outcome.undecided for outcome in outcomes) <= UNDECIDED_MAX


def test_the_same_seed_tells_the_same_story() -> None:
    first, second = run_store_seed(7), run_store_seed(7)
    assert first.record == second.record
    assert first.history == second.history


@pytest.mark.parametrize("bug", STORE_BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_planted_bug_is_caught(
    bug: StoreBug, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bug.plant(monkeypatch)
    for seed in range(bug.first, bug.first + bug.seeds_max):
        verdicts = run_store_seed(seed, bug.mix).verdicts
        found = [each for each in verdicts if each.answer == FALSE and each.checker in bug.caught_by]
        if found:
            with capsys.disabled():
                print(f"\n  {bug.name}: caught by seed {seed}: {str(found[0])[:150]}", end="")
            return
    pytest.fail(f"{bug.name}: not caught within {bug.seeds_max} seeds")
