"""Immutable values by the thousand: what travels, and what goes in and out of the core."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    T = TypeVar("T")

    def dataclass(*, frozen: bool, slots: bool) -> Callable[[type[T]], type[T]]:
        """`frozen` for whoever checks types, who sees the decorator of the standard library. At run time the same value
        without the lock: Python makes one that is locked in five times the time."""
        return dataclasses.dataclass(slots=slots, unsafe_hash=frozen)
