"""What operators have switched: the pause, and the nodes that are drained. Applied from the log like all state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mltb_transport.messages import Entry
from mltb_transport.operations import Drain, Pause, Resume, Undrain
from mltbd.state.audit import Facts
from mltbd.state.dumps import row, rows, unrow

DRAINED_MAX = 64


@dataclass(frozen=True, slots=True)
class Paused:
    """The pause in force. `index` is its place in the log; `since` wall milliseconds, for people."""

    index: int
    since: int
    seconds: float  # 0: until resumed
    operator: str
    reason: str


@dataclass(frozen=True, slots=True)
class Drained:
    """A node that is to be empty."""

    node: str
    index: int
    since: int
    operator: str
    reason: str


class Controls:
    """At most one pause, at most DRAINED_MAX drained nodes. `changed`: index of the last entry that changed any."""

    def __init__(self) -> None:
        self.paused: Paused | None = None
        self.drained: dict[str, Drained] = {}
        self.changed = 0

    def apply(self, entry: Entry) -> bool:
        """Deterministic: reads nothing but the entry and what was applied before it. Whether it changed anything."""
        match entry.command:
            case Pause(seconds, operator, reason):
                self.paused = Paused(entry.index, entry.wall, seconds, operator, reason)
            case Resume(pause) if self.paused is not None and self.paused.index == pause:
                self.paused = None
            case Drain(node, operator, reason) if node not in self.drained and len(self.drained) < DRAINED_MAX:
                self.drained[node] = Drained(node, entry.index, entry.wall, operator, reason)
            case Undrain(node) if node in self.drained:
                del self.drained[node]
            case _:
                return False
        self.changed = entry.index
        return True

    def dump(self) -> list[Any]:
        """Plain values; `load` makes the same of them again."""
        paused = [] if self.paused is None else [row(self.paused)]
        return [self.changed, paused, [row(each) for each in self.drained.values()]]

    @classmethod
    def load(cls, dumped: list[Any]) -> Controls:
        """The inverse of `dump`. Raises ValueError for what it did not write."""
        found = rows(dumped, "controls")
        if len(found) != 3 or type(found[0]) is not int:
            raise ValueError("controls have an index, a pause and drained nodes")
        controls = cls()
        controls.changed = found[0]
        for each in rows(found[1], "a pause"):
            controls.paused = unrow(Paused, each)
        for each in rows(found[2], "drained nodes"):
            drained = unrow(Drained, each)
            controls.drained[drained.node] = drained
        return controls


def told(command: object) -> tuple[str, Facts]:
    """How the history tells of an entry that changed the controls: the kind of the event, and what it concerns."""
    match command:
        case Pause(_, operator, reason):
            return "pause", {"operator": operator, "reason": reason}
        case Resume(_, cause, operator):
            return "resume", {"operator": operator, "reason": cause if cause == "expired" else ""}
        case Drain(node, operator, reason):
            return "drain_node", {"node": node, "operator": operator, "reason": reason}
        case Undrain(node, operator):
            return "undrain_node", {"node": node, "operator": operator}
    raise ValueError(f"{command} changes no controls")
