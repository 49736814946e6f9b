"""What the core needs from outside and cannot ask for with an effect: the answer shapes the decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Entropy(Protocol):
    """Chance. The shell seeds it and logs the seed, so that a run can be repeated; the core rolls no dice."""

    def uniform(self, low: float, high: float) -> float:
        """A number from low to high, both included."""
        ...

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`, which must not be empty."""
        ...
