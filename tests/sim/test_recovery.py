"""A majority is lost for good and one node goes on alone: every promise, over many seeds."""

from __future__ import annotations

import os

import pytest

from tests.sim.recovery_scenario import run_recovery_seed

pytestmark = pytest.mark.sim

SEEDS = max(20, int(os.environ.get("MLTB_SIM_SEEDS", "200")) // 10)
FIRST = int(os.environ.get("MLTB_SIM_FIRST", "1"))
CHUNK = 20


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, CHUNK))
def test_whoever_goes_on_alone_is_never_met_by_the_past(first: int) -> None:
    outcomes = [run_recovery_seed(seed) for seed in range(first, first + CHUNK)]
    failed = [outcome for outcome in outcomes if outcome.failed]
    if failed:
        seeds = " ".join(str(outcome.seed) for outcome in failed)
        stories = "\n\n".join(outcome.explain() for outcome in failed[:2])
        pytest.fail(f"{stories}\n\nfailed: {seeds}", pytrace=False)
