"""A short storm over locks and state of real nodes. By hand: `python -m tests.e2e.chaos_state SEED COUNT`."""

from __future__ import annotations

import os
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.chaos_state import storm
from tests.histories.record import Record, wrongs

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]

FAULTS = 6


def test_every_answer_has_its_place_in_one_order_in_a_storm(tmp_path: Path) -> None:
    seed = int(os.environ.get("MLTB_CHAOS_SEED", "1"))
    day = storm(tmp_path, seed, FAULTS)
    assert day.record.sure
    _one_wrong_answer_would_have_been_found(day.record, day.ledger, random.Random(seed))


def _one_wrong_answer_would_have_been_found(record: Record, ledger: set[str], dice: random.Random) -> None:
    """The same record with one read that saw something else, or without one line, is refused."""
    key = dice.choice(sorted(record.keys))
    place, read = dice.choice([(place, op) for place, op in enumerate(record.keys[key]) if op.kind == "get"])
    record.keys[key][place] = replace(read, result=("planted", read.result[1]))
    assert [line for line in wrongs(record, ledger) if line.startswith(f"key `{key}`")]
    record.keys[key][place] = read
    line = dice.choice(sorted(record.sure))
    assert wrongs(record, ledger - {line}) == [f"acknowledged and lost: {line}"]
