"""The same seed tells the same story, to the last digit, whatever the hash seed of the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.scenario import run_seed
from tests.sim.trace import fingerprint

pytestmark = pytest.mark.sim

HERE = Path(__file__).resolve().parents[2]
SEEDS = (3, 6, 9)


def _elsewhere(hash_seed: str) -> list[str]:
    """The fingerprints as another interpreter finds them."""
    command = [sys.executable, "-m", "tests.sim.trace", *map(str, SEEDS)]
    path = os.pathsep.join(str(HERE / part) for part in ("", "daemon", "transport"))
    environ = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
    ran = subprocess.run(command, cwd=HERE, env=environ, capture_output=True, text=True, check=True, timeout=120)
    return ran.stdout.split()


def test_same_seed_same_history() -> None:
    here = [fingerprint(run_seed(seed).history) for seed in SEEDS]
    assert len(set(here)) == len(SEEDS)
    assert here == [fingerprint(run_seed(seed).history) for seed in SEEDS]


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_hash_seed_changes_nothing(hash_seed: str) -> None:
    assert _elsewhere(hash_seed) == [fingerprint(run_seed(seed).history) for seed in SEEDS]
