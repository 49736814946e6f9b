"""The one place where a test waits for the real world: a condition, polled, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE_S = 0.005
PATIENCE_S = 15.0


What = str | Callable[[], str]
"""What is waited for; a function is asked only when the waiting was in vain, and may show the state of things."""


def until(look: Callable[[], T | None], within_s: float = PATIENCE_S, what: What = "", pause_s: float = PAUSE_S) -> T:
    """What `look` returns once that is true. AssertionError when it never is within `within_s` seconds.

    `pause_s`: more where the looking itself is work for what is looked at.
    """
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within_s:g} s: {_told(what) or look}")
        time.sleep(pause_s)
    return seen


def holds(condition: Callable[[], object], for_s: float, what: What = "") -> None:
    """AssertionError as soon as `condition` is false within the next `for_s` seconds."""
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        if not condition():
            raise AssertionError(f"no longer true: {_told(what) or condition}")
        time.sleep(PAUSE_S)


def _told(what: What) -> str:
    return what if isinstance(what, str) else what()
