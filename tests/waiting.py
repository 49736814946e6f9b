"""The one place where a test waits for the real world: a condition, polled, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE_S = 0.005
PATIENCE_S = 15.0


def until(look: Callable[[], T | None], within_s: float = PATIENCE_S, what: str = "") -> T:
    """What `look` returns once that is true. AssertionError when it never is within `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what or look}"
        time.sleep(PAUSE_S)
    return seen


def holds(condition: Callable[[], object], for_s: float, what: str = "") -> None:
    """AssertionError as soon as `condition` is false within the next `for_s` seconds."""
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        assert condition(), f"no longer true: {what or condition}"
        time.sleep(PAUSE_S)
