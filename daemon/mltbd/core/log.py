"""The replicated log in memory: append, match, cut. Indexes count from 1; index 0 is the empty beginning."""

from __future__ import annotations

from mltb_transport.messages import Entry, Founding
from mltb_transport.voters import ChangeVoters, Voter

BATCH_ENTRIES_MAX = 128
"""Entries in one Append. A grant is under 200 bytes, so a batch stays far below a frame."""


class InvariantViolation(Exception):
    """Our own bug: the node must stop its workload and end, with the story."""


class Log:
    """A sequence of entries without gaps, in which terms never fall."""

    def __init__(self, entries: tuple[Entry, ...] = ()) -> None:
        self._entries = list(entries)
        self._voters: list[tuple[int, tuple[Voter, ...]]] = []  # by the index of the entry from which on they rule
        for place, entry in enumerate(self._entries, start=1):
            if entry.index != place:
                raise InvariantViolation(f"log entry {entry.index} stands at place {place}")
            self._note_voters(entry)

    @property
    def cluster(self) -> str:
        """The identity of the cluster this log belongs to; empty before the founding."""
        return self._founding().cluster if self._entries else ""

    @property
    def voters(self) -> tuple[Voter, ...]:
        """The voters that rule now, by the youngest entry about them, committed or not; none before the founding."""
        if not self._voters:
            return self._founding().voters if self._entries else ()
        return self._voters[-1][1]

    @property
    def voters_index(self) -> int:
        """The entry that `voters` come from; 0 before the founding."""
        return self._voters[-1][0] if self._voters else 0

    @property
    def voters_before(self) -> tuple[Voter, ...]:
        """Whom the youngest change replaced; as long as it may be cut, they matter still."""
        return self._voters[-2][1] if len(self._voters) > 1 else ()

    def _note_voters(self, entry: Entry) -> None:
        if isinstance(entry.command, Founding | ChangeVoters):
            self._voters.append((entry.index, entry.command.voters))

    def _founding(self) -> Founding:
        command = self._entries[0].command
        if not isinstance(command, Founding):
            raise InvariantViolation("entry 1 is no founding")
        return command

    @property
    def last_index(self) -> int:
        return len(self._entries)

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else 0

    def term_at(self, index: int) -> int:
        """The term of the entry at `index`; 0 for the beginning, -1 where there is none."""
        if index == 0:
            return 0
        if 1 <= index <= len(self._entries):
            return self._entries[index - 1].term
        return -1

    def entry(self, index: int) -> Entry:
        return self._entries[index - 1]

    def batch(self, first: int) -> tuple[Entry, ...]:
        """Entries from `first` on, at most BATCH_ENTRIES_MAX."""
        return tuple(self._entries[first - 1 : first - 1 + BATCH_ENTRIES_MAX])

    def after(self, index: int) -> tuple[Entry, ...]:
        """All entries behind `index`."""
        return tuple(self._entries[index:])

    def append(self, entry: Entry) -> None:
        if entry.index != self.last_index + 1 or entry.term < self.last_term:
            raise InvariantViolation(f"entry {entry.index} of term {entry.term} does not follow {self.last_index}")
        self._entries.append(entry)
        self._note_voters(entry)

    def merge(self, entries: tuple[Entry, ...], commit: int) -> tuple[Entry, ...]:
        """Take over a leader's entries, which follow an index that matches. Returns what is new and must be saved.

        Entries we hold already stay; a conflicting tail is cut. What is committed is never cut.
        """
        for place, entry in enumerate(entries):
            if self.term_at(entry.index) == entry.term:
                continue
            if entry.index <= commit:
                raise InvariantViolation(f"a leader wants to replace the committed entry {entry.index}")
            del self._entries[entry.index - 1 :]
            while self._voters and self._voters[-1][0] >= entry.index:
                self._voters.pop()  # What was cut rules no more.
            fresh = entries[place:]
            for added in fresh:
                self.append(added)
            return fresh
        return ()
