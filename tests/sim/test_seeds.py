"""Every promise: clusters of one to five nodes under every fault at once.

Of the MLTB_SIM_SEEDS that are to be run one half, and at least 200; the other scenarios beside it have the rest.
"""

from __future__ import annotations

import os

import pytest

from tests.sim.scenario import Outcome, run_seed

pytestmark = pytest.mark.sim

SEEDS = max(200, int(os.environ.get("MLTB_SIM_SEEDS", "200")) // 2)
FIRST = int(os.environ.get("MLTB_SIM_FIRST", "1"))
CHUNK = 50
SHOWN_MAX = 3


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, CHUNK))
def test_every_promise_is_kept(first: int) -> None:
    failed: list[Outcome] = []
    for seed in range(first, min(first + CHUNK, FIRST + SEEDS)):
        outcome = run_seed(seed)
        if outcome.failed:
            failed.append(outcome)
    if failed:
        stories = "\n\n".join(outcome.explain() for outcome in failed[:SHOWN_MAX])
        seeds = " ".join(str(outcome.seed) for outcome in failed)
        pytest.fail(f"{stories}\n\nfailed: {seeds}", pytrace=False)
