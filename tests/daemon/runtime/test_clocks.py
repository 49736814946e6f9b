"""Clocks compared: offset and rate with the error that the round trips leave, over a long enough time only."""

from __future__ import annotations

import pytest

from mltbd.runtime.clocks import BASELINE_S, Clocks, Sample


def sample(ours: float, theirs: float, rtt: float = 0.002, ahead: float = 0.0, incarnation: int = 1) -> Sample:
    return Sample(incarnation, ours, theirs, ahead, rtt)


def test_one_sample_tells_the_offset_and_no_rate() -> None:
    clocks = Clocks()
    clocks.note("n2", sample(100.0, 7.0, rtt=0.01, ahead=-1.5))
    assert clocks.report() == {
        "n2": {
            "offset_seconds": -1.5, "offset_error_seconds": 0.005, "rate_ppm": None, "rate_error_ppm": None,
            "over_seconds": 0.0,
        }
    }  # fmt: skip


@pytest.mark.parametrize("ppm", [-1200.0, 0.0, 30.0, 5000.0])
def test_the_rate_is_found_within_its_error(ppm: float) -> None:
    clocks = Clocks()
    for step in range(11):
        ours, asymmetry = 100.0 + 30 * step, 0.0005 * (-1) ** step
        clocks.note("n2", sample(ours, 7.0 + 30 * step * (1 + ppm / 1e6) + asymmetry))
    found = clocks.report()["n2"]
    assert found["over_seconds"] == 300.0
    assert abs(found["rate_ppm"] - ppm) <= found["rate_error_ppm"]
    assert found["rate_error_ppm"] == pytest.approx(0.002 / 300 * 1e6, abs=0.1)


def test_too_short_a_time_gives_no_rate() -> None:
    clocks = Clocks()
    clocks.note("n2", sample(0.0, 0.0))
    clocks.note("n2", sample(BASELINE_S - 0.1, BASELINE_S))
    assert clocks.report()["n2"]["rate_ppm"] is None


def test_a_restart_begins_anew() -> None:
    clocks = Clocks()
    clocks.note("n2", sample(0.0, 1000.0))
    clocks.note("n2", sample(300.0, 2.0, incarnation=2))
    assert clocks.report()["n2"]["rate_ppm"] is None


def test_a_quicker_answer_soon_after_is_the_better_first_one() -> None:
    clocks = Clocks()
    clocks.note("n2", sample(0.0, 0.5, rtt=1.0))
    clocks.note("n2", sample(2.0, 2.0, rtt=0.001))
    clocks.note("n2", sample(102.0, 102.0, rtt=0.001))
    assert clocks.report()["n2"] == {
        "offset_seconds": 0.0, "offset_error_seconds": 0.0005, "rate_ppm": 0.0, "rate_error_ppm": 10.0,
        "over_seconds": 100.0,
    }  # fmt: skip


def test_who_left_is_forgotten() -> None:
    clocks = Clocks()
    for name in ("n2", "n3"):
        clocks.note(name, sample(0.0, 0.0))
    clocks.keep({"n3"})
    assert list(clocks.report()) == ["n3"]
