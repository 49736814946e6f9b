"""The whole replicated state: identity, voters, placements. Applied from the log in order, each entry once."""

from __future__ import annotations

from mltb_transport.messages import Entry, Founding, Voter
from mltbd.state.controls import Controls
from mltbd.state.placements import Placements


class State:
    """What every node agrees on after applying the same entries."""

    def __init__(self) -> None:
        self.applied = 0
        self.cluster = ""
        self.name = ""
        self.voters: tuple[Voter, ...] = ()
        self.placements = Placements()
        self.controls = Controls()

    def apply(self, entry: Entry) -> None:
        """Apply the next entry. Raises ValueError when entries are skipped or repeated."""
        if entry.index != self.applied + 1:
            raise ValueError(f"entry {entry.index} applied after {self.applied}")
        self.applied = entry.index
        if isinstance(entry.command, Founding):
            self.cluster = entry.command.cluster
            self.name = entry.command.name
            self.voters = entry.command.voters
        else:
            self.placements.apply(entry)
            self.controls.apply(entry)
