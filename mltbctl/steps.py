"""Calls of locks and state as steps: each says what it asks next and is given the answer, by a thread or by a loop."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retreat:
    """How a wait is given up early: the same change once more with `params` over its own, and, where it was made all
    the same, the change that undoes it (method and parameters)."""

    params: dict[str, Any]
    undo: Callable[[dict[str, Any]], tuple[str, dict[str, Any]] | None]


@dataclass(frozen=True, slots=True)
class Ask:
    """One call that is settled: see Lines.settle."""

    method: str
    params: dict[str, Any]
    changes: bool = False
    timeout_s: float | None = None
    wait_s: float = 0.0
    retreat: Retreat | None = None


Steps = Generator[Ask, dict[str, Any], T]
"""An answer is sent in, an MltbError thrown in."""
