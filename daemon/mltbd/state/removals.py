"""Who was removed from the cluster for good. Applied from the log: same entries, same state."""

from __future__ import annotations

from typing import Any

from mltb_transport.messages import Entry
from mltb_transport.voters import ChangeVoters
from mltbd.state.dumps import rows

REMOVED_MAX = 256
"""Remembered. Beyond that the earliest is forgotten: it could come back as an observer, never as a voter."""


class Removals:
    """`removed`: (node, store) -> index of the entry that took it out."""

    def __init__(self) -> None:
        self.removed: dict[tuple[str, str], int] = {}

    def has(self, node: str, store: str) -> bool:
        """This node with this disk is no member. The same name on another disk is another node."""
        return (node, store) in self.removed

    def apply(self, entry: Entry) -> None:
        """Applies whom an operator removed, let in again or had go on alone; all other entries change nothing here."""
        command = entry.command
        if not isinstance(command, ChangeVoters) or command.cause not in ("removed", "admitted", "recovered"):
            return
        subject = (command.node, command.store)
        self.removed.pop(subject, None)
        if command.cause == "removed":
            self.removed[subject] = entry.index
            while len(self.removed) > REMOVED_MAX:
                del self.removed[next(iter(self.removed))]

    def dump(self) -> list[Any]:
        """All of it as plain lists, the earliest first."""
        return [[node, store, index] for (node, store), index in self.removed.items()]

    @classmethod
    def load(cls, dumped: list[Any]) -> Removals:
        """The inverse of `dump`. Raises ValueError for what no release up to this one dumped."""
        loaded = cls()
        for found in rows(dumped, "removals"):
            match found:
                case [str() as node, str() as store, int() as index]:
                    loaded.removed[node, store] = index
                case _:
                    raise ValueError("a removal has a node, a store and an index")
        return loaded
