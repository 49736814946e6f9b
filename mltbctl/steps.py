"""Calls of locks and state as steps: each says what it asks next and is given the answer, by a thread or by a loop."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


class Retreat:
    """How a wait is given up early: the same change once more with `params` over its own, and, where it was made all
    the same, the change that undoes it (method and parameters). `begun`: there is something to undo whatever became of
    the change, which is not repeated then."""

    __slots__ = ("begun", "params", "undo")

    def __init__(
        self,
        params: dict[str, Any],
        undo: Callable[[dict[str, Any]], tuple[str, dict[str, Any]] | None],
        *,
        begun: bool = False,
    ) -> None:
        self.params = params
        self.undo = undo
        self.begun = begun


class Ask:
    """One call that is settled: see Lines.settle. (Dataclasses would take a millisecond of every start.)"""

    __slots__ = ("changes", "method", "params", "retreat", "timeout_s", "wait_s")

    def __init__(
        self,
        method: str,
        params: dict[str, Any],
        *,
        changes: bool = False,
        timeout_s: float | None = None,
        wait_s: float = 0.0,
        retreat: Retreat | None = None,
    ) -> None:
        self.method = method
        self.params = params
        self.changes = changes
        self.timeout_s = timeout_s
        self.wait_s = wait_s
        self.retreat = retreat


Steps = Generator[Ask, dict[str, Any], T]
"""An answer is sent in, an MltbError thrown in."""
