"""The whole replicated state: identity, voters, placements, history, controls. Applied from the log in order."""

from __future__ import annotations

from typing import Any, Protocol, Self

from mltb_transport.messages import Entry, Founding
from mltb_transport.store import Batch
from mltb_transport.voters import ChangeVoters, Voter
from mltbd.state.audit import Audit
from mltbd.state.controls import Controls, told
from mltbd.state.dumps import row, rows, unrow
from mltbd.state.levels import Levels
from mltbd.state.placements import Placements
from mltbd.state.removals import Removals
from mltbd.state.store import Done, Store


class Part(Protocol):
    """One part of the state, as a snapshot sees it."""

    def dump(self) -> list[Any]: ...
    @classmethod
    def load(cls, dumped: list[Any]) -> Self: ...


PARTS: dict[str, type[Part]] = {
    "placements": Placements, "audit": Audit, "store": Store, "controls": Controls, "removals": Removals,
    "levels": Levels,
}  # fmt: skip
"""The parts of a State by attribute name, in the order in which a snapshot holds them. Names are never reused."""


class State:
    """What every node agrees on after applying the same entries.

    Hold a State, never one of its parts: a snapshot that arrives replaces them.
    """

    def __init__(self) -> None:
        self.applied = 0
        self.cluster = ""
        self.name = ""
        self.voters: tuple[Voter, ...] = ()
        self.placements = Placements()
        self.store = Store()
        self.done: list[Done] = []
        """What came of the client commands in the entry applied last."""
        self.controls = Controls()
        self.audit = Audit()
        self.removals = Removals()
        self.levels = Levels()

    def apply(self, entry: Entry) -> None:
        """Apply the next entry. Raises ValueError when entries are skipped or repeated."""
        if entry.index != self.applied + 1:
            raise ValueError(f"entry {entry.index} applied after {self.applied}")
        self.applied = entry.index
        self.done = self.store.apply(entry, self.levels.level)
        if isinstance(entry.command, Batch):
            return  # Clients' commands are for the store alone.
        before = self.placements.get(getattr(entry.command, "workload", ""))
        if isinstance(entry.command, Founding):
            self.cluster = entry.command.cluster
            self.name = entry.command.name
            self.voters = entry.command.voters
        elif isinstance(entry.command, ChangeVoters):
            self.voters = entry.command.voters
            self.removals.apply(entry)
            if entry.command.cause == "removed":
                self.placements.forget_copies(entry.command.node)
        else:
            self.placements.apply(entry)
        self.audit.apply(entry, before, self.placements)
        if self.controls.apply(entry):
            kind, facts = told(entry.command)
            self.audit.note(entry, kind, **facts)
        if before_level := self.levels.apply(entry):
            self.audit.note(entry, "level", reason=f"{before_level} to {self.levels.level}")

    def dump(self) -> list[Any]:
        """All of it as plain lists: two nodes that applied the same entries give the same."""
        voters = [row(voter) for voter in self.voters]
        return [self.applied, self.cluster, self.name, voters, [[part, getattr(self, part).dump()] for part in PARTS]]

    @classmethod
    def load(cls, dumped: list[Any]) -> State:
        """The inverse of `dump`. Raises ValueError for what no release up to this one dumped."""
        found = rows(dumped, "a state")
        if len(found) != 5 or type(found[0]) is not int or type(found[1]) is not str or type(found[2]) is not str:
            raise ValueError("a state has an index, a cluster, a name, voters and parts")
        state = cls()
        state.applied, state.cluster, state.name = found[:3]
        state.voters = tuple(unrow(Voter, voter) for voter in rows(found[3], "voters"))
        for part in rows(found[4], "parts"):
            if type(part) is not list or len(part) != 2 or part[0] not in PARTS:
                raise ValueError(f"the part {part[0] if type(part) is list and part else part!r} is unknown here")
            setattr(state, part[0], PARTS[part[0]].load(part[1]))
        return state

    def become(self, other: State) -> None:
        """Take over all of `other`, which nobody may use afterwards."""
        self.__dict__.update(other.__dict__)
