"""Who counts for quorum, and who was removed for good. Applied from the log: same entries, same state.

The voters that rule right now are those of the log (`Log.voters`): a change rules from the moment it is appended. What
stands here is committed.
"""

from __future__ import annotations

from typing import Any

from mltb_transport.messages import Entry, Founding
from mltb_transport.voters import ChangeVoters, Voter

REMOVED_MAX = 256
"""Remembered. Beyond that the earliest is forgotten: it could come back as an observer, never as a voter."""


class Voters:
    """`agreed`: the committed voters. `removed`: (node, store) of who was removed -> index of the entry that did it."""

    def __init__(self) -> None:
        self.agreed: tuple[Voter, ...] = ()
        self.removed: dict[tuple[str, str], int] = {}
        self.changed = 0
        """Index of the entry these voters come from."""

    def is_removed(self, node: str, store: str) -> bool:
        """This node with this disk is no member. The same name on another disk is another node."""
        return (node, store) in self.removed

    def apply(self, entry: Entry) -> None:
        """Applies what concerns the voters; all other entries change nothing here."""
        command = entry.command
        if isinstance(command, Founding):
            self.agreed, self.changed = command.voters, entry.index
        elif isinstance(command, ChangeVoters):
            self._change(command, entry.index)

    def _change(self, command: ChangeVoters, index: int) -> None:
        self.agreed, self.changed = command.voters, index
        subject = (command.node, command.store)
        if command.cause == "removed":
            self.removed.pop(subject, None)
            self.removed[subject] = index
            while len(self.removed) > REMOVED_MAX:
                del self.removed[next(iter(self.removed))]
        elif command.cause == "admitted":
            self.removed.pop(subject, None)

    def dump(self) -> list[Any]:
        return [
            [[voter.node, voter.store] for voter in self.agreed],
            [[node, store, index] for (node, store), index in self.removed.items()],
            self.changed,
        ]

    @classmethod
    def load(cls, dumped: list[Any]) -> Voters:
        agreed, removed, changed = dumped
        loaded = cls()
        loaded.agreed = tuple(Voter(node, store) for node, store in agreed)
        loaded.removed = {(node, store): index for node, store, index in removed}
        loaded.changed = changed
        return loaded
