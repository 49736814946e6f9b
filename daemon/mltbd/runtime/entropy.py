"""Chance that can be repeated: seeded dice for the core."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class SeededEntropy:
    """The core's Entropy (core/ports.py). Two of the same seed give the same answers to the same questions.

    For jitter and choices only, never for keys or ids.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def uniform(self, low: float, high: float) -> float:
        """A number from low to high, both included."""
        return self._random.uniform(low, high)

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`; IndexError when there is none."""
        return self._random.choice(items)
