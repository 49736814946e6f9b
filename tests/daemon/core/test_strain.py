"""The local health score: up with lag, down with time, bounded both ways."""

from __future__ import annotations

import pytest

from mltbd.core.strain import DECAY_S, LAG_STEPS_S, STRAIN_MAX, WIDEN_MAX, StrainScore


@pytest.mark.parametrize(
    ("lag_s", "score"), [(0.0, 0), (0.049, 0), (0.05, 1), (0.2, 2), (0.8, 3), (60.0, len(LAG_STEPS_S))]
)
def test_lag_raises_the_score_by_its_size(lag_s: float, score: int) -> None:
    strain = StrainScore()
    strain.lag(lag_s, 1.0)
    assert strain.score(1.0) == score


def test_the_score_and_the_widening_have_a_ceiling() -> None:
    strain = StrainScore()
    assert strain.factor(0.0) == 1.0
    for count in range(20):
        strain.lag(5.0, 0.0)
        assert strain.score(0.0) == min(3 * (count + 1), STRAIN_MAX)
    assert strain.factor(0.0) == WIDEN_MAX


def test_a_point_is_forgotten_at_each_quiet_interval() -> None:
    strain = StrainScore()
    strain.lag(0.8, 10.0)
    scores = [strain.score(10.0 + DECAY_S * part) for part in (0.9, 1.0, 1.9, 2.0, 3.0, 50.0)]
    assert scores == [3, 2, 2, 1, 0, 0]
    assert strain.factor(10.0 + 51 * DECAY_S) == 1.0


def test_new_lag_restarts_the_decay() -> None:
    strain = StrainScore()
    strain.lag(0.05, 0.0)
    strain.lag(0.05, 0.9 * DECAY_S)
    assert strain.score(1.8 * DECAY_S) == 2
    assert strain.score(1.95 * DECAY_S) == 1


def test_a_quiet_measurement_changes_nothing() -> None:
    strain = StrainScore()
    strain.lag(0.05, 0.0)
    strain.lag(0.0, 0.9 * DECAY_S)
    assert strain.score(DECAY_S) == 0
