"""What was counted lately, and what is over."""

from __future__ import annotations

from mltbd.runtime.recent import MARKS, Recent


def test_what_is_over_is_not_counted_for_ever() -> None:
    counters = {"own_name": 5, "other": 1}
    recent = Recent(counters, ("own_name",))
    assert recent.counted() == {"own_name": 0}  # Before we began.
    counters["own_name"] += 3
    for _ in range(MARKS - 1):
        assert recent.counted() == {"own_name": 3}
        recent.mark()
    recent.mark()
    assert recent.counted() == {"own_name": 0}
    counters["own_name"] += 1
    assert recent.counted() == {"own_name": 1}
