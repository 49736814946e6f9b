"""The level of the cluster: which version of the protocol its log is written in. Applied from the log."""

from __future__ import annotations

from typing import Any

from mltb_transport.level import FIRST, Level
from mltb_transport.messages import Entry, Founding


class Levels:
    """`index`: the entry that the level comes from; `since`: its wall milliseconds, for people. It never falls."""

    def __init__(self) -> None:
        self.level = FIRST
        self.index = 0
        self.since = 0

    def apply(self, entry: Entry) -> int:
        """The level before, if this entry raised it; else 0."""
        match entry.command:
            case Founding(level=level):
                before = 0
            case Level(level=level) if level > self.level:
                before = self.level
            case _:
                return 0
        self.level, self.index, self.since = level, entry.index, entry.wall
        return before

    def dump(self) -> list[Any]:
        """All of it as plain numbers."""
        return [self.level, self.index, self.since]

    @classmethod
    def load(cls, dumped: list[Any]) -> Levels:
        """The inverse of `dump`. Raises ValueError for what no release up to this one dumped."""
        match dumped:
            case [int() as level, int() as index, int() as since] if level >= FIRST:
                loaded = cls()
                loaded.level, loaded.index, loaded.since = level, index, since
                return loaded
        raise ValueError("a level has a number, an index and a time")
