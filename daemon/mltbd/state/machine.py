"""The whole replicated state: identity, voters, placements. Applied from the log in order, each entry once."""

from __future__ import annotations

from mltb_transport.messages import Entry, Founding
from mltbd.state.placements import Placements
from mltbd.state.voters import Voters


class State:
    """What every node agrees on after applying the same entries."""

    def __init__(self) -> None:
        self.applied = 0
        self.cluster = ""
        self.name = ""
        self.voters = Voters()
        self.placements = Placements()

    def apply(self, entry: Entry) -> None:
        """Apply the next entry. Raises ValueError when entries are skipped or repeated."""
        if entry.index != self.applied + 1:
            raise ValueError(f"entry {entry.index} applied after {self.applied}")
        self.applied = entry.index
        self.voters.apply(entry)
        if isinstance(entry.command, Founding):
            self.cluster = entry.command.cluster
            self.name = entry.command.name
        else:
            self.placements.apply(entry)
