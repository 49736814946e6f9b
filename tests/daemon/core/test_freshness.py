"""What is applied is as old as the last moment at which nothing more was committed."""

from __future__ import annotations

from mltbd.core.freshness import Freshness


def test_it_is_fresh_once_what_was_told_is_applied() -> None:
    fresh = Freshness(0.0)
    assert fresh.fresh_at(9) is None
    fresh.told(4, 1.0, 3)
    assert fresh.fresh_at(3) is None
    assert fresh.fresh_at(4) == 1.0
    fresh.told(4, 2.0, 4)
    assert fresh.fresh_at(4) == 2.0


def test_who_lags_grows_old_however_often_its_leader_is_heard() -> None:
    fresh = Freshness(0.0)
    fresh.told(4, 1.0, 4)
    for second in range(2, 9):
        fresh.told(3 + second, float(second), 4)
    assert fresh.fresh_at(4) == 1.0
    assert fresh.fresh_at(6) == 2.0, "of all it was told since, the first"
    fresh.told(11, 9.0, 6)
    assert fresh.fresh_at(10) == 2.0
    assert fresh.fresh_at(11) == 9.0
