"""A short storm of random faults on real processes. Longer ones by hand: `python -m tests.e2e.chaos SEED COUNT`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.e2e.chaos import storm

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]

FAULTS = 10


@pytest.mark.parametrize(("size", "lease"), [(3, 1.0), (5, 3.0)])
def test_nothing_runs_twice_in_a_storm(tmp_path: Path, size: int, lease: float) -> None:
    seed = int(os.environ.get("MLTB_CHAOS_SEED", "1"))
    assert storm(tmp_path, seed, FAULTS, size, lease) >= 1
