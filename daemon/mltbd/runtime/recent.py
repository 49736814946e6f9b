"""Counters of the last minutes: what is over must not be told as if it went on."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

MARKS = 21
"""So many are remembered; the oldest tells from where to count."""


class Recent:
    """`mark` at an even pace: what was counted since the mark MARKS - 1 paces ago is recent."""

    def __init__(self, counters: Mapping[str, int], names: Sequence[str]) -> None:
        self._counters, self._names = counters, names
        self._marks: deque[dict[str, int]] = deque(maxlen=MARKS)
        self.mark()

    def mark(self) -> None:
        self._marks.append({name: self._counters[name] for name in self._names})

    def counted(self) -> dict[str, int]:
        """By name."""
        since = self._marks[0]
        return {name: self._counters[name] - since[name] for name in self._names}
