"""What operators have switched: the pause, and the nodes that are drained. Applied from the log like all state."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

from mltb_transport.messages import Entry
from mltb_transport.operations import Drain, Pause, Resume, Undrain

DRAINED_MAX = 64


@dataclass(frozen=True, slots=True)
class Paused:
    """The pause in force. `index` is its place in the log; `since` wall milliseconds, for people."""

    index: int
    since: int
    seconds: float  # 0: until resumed
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Drained:
    """A node that is to be empty."""

    node: str
    index: int
    since: int
    by: str
    reason: str


class Controls:
    """At most one pause, at most DRAINED_MAX drained nodes. `changed`: index of the last entry that changed any."""

    def __init__(self) -> None:
        self.paused: Paused | None = None
        self.drained: dict[str, Drained] = {}
        self.changed = 0

    def apply(self, entry: Entry) -> None:
        """Deterministic: reads nothing but the entry and what was applied before it. Repeats change nothing."""
        match entry.command:
            case Pause(seconds, by, reason):
                self.paused = Paused(entry.index, entry.wall, seconds, by, reason)
            case Resume(pause) if self.paused is not None and self.paused.index == pause:
                self.paused = None
            case Drain(node, by, reason) if node not in self.drained and len(self.drained) < DRAINED_MAX:
                self.drained[node] = Drained(node, entry.index, entry.wall, by, reason)
            case Undrain(node) if node in self.drained:
                del self.drained[node]
            case _:
                return
        self.changed = entry.index

    def dump(self) -> list[Any]:
        """Plain values; `load` makes the same of them again."""
        paused = list(astuple(self.paused)) if self.paused is not None else None
        return [self.changed, paused, [list(astuple(each)) for each in self.drained.values()]]

    @classmethod
    def load(cls, dumped: list[Any]) -> Controls:
        controls = cls()
        controls.changed, paused, drained = dumped
        controls.paused = Paused(*paused) if paused is not None else None
        controls.drained = {each[0]: Drained(*each) for each in drained}
        return controls

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Controls) and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]
