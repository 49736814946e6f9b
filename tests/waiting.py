"""The one place where a test waits for the real world: a condition, polled, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE_S = 0.02


def until(condition: Callable[[], T | bool | None], within_s: float, what: str = "") -> T | bool:
    """The first true value of `condition`. AssertionError when there is none within `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what or condition}"
        time.sleep(PAUSE_S)


def holds(condition: Callable[[], object], for_s: float, what: str = "") -> None:
    """AssertionError as soon as `condition` is false within the next `for_s` seconds."""
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        assert condition(), f"no longer true: {what or condition}"
        time.sleep(PAUSE_S)
