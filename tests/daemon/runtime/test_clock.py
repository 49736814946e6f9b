"""The clocks tell the times they are named for."""

from __future__ import annotations

import time

import pytest

from mltbd.runtime import clock


def test_boottime_is_the_time_since_boot_and_never_goes_back() -> None:
    readings = [clock.boottime() for _ in range(1000)]
    assert readings == sorted(readings)
    if hasattr(time, "CLOCK_BOOTTIME"):
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        assert before <= clock.boottime() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_without_a_boot_clock_the_monotonic_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_BOOTTIME", None)
    before = time.monotonic()
    assert before <= clock.boottime() <= time.monotonic()


def test_wall_is_in_milliseconds() -> None:
    before = time.time()
    assert before * 1000 - 1 <= clock.wall_ms() <= time.time() * 1000 + 1
