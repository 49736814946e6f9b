"""The replicated log in memory: append, match, cut, forget its beginning. Indexes count from 1; 0 is before all."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from mltb_transport.messages import Entry, Founding, Voter
from mltbd.core.snapshots import Snapshot

BATCH_ENTRIES_MAX = 128
"""Entries in one Append."""
BATCH_BYTES_MAX = 512 * 1024
"""What the entries of one Append may weigh; it stays below a frame."""


class InvariantViolation(Exception):
    """Our own bug: the node must stop its workload and end, with the story."""


class Log:
    """A sequence of entries without gaps, in which terms never fall.

    It may begin behind `base_index`: what came before is in the snapshot. The snapshot reaches at least as far as
    the base; entries from the base up to it are kept for followers that are a little behind.
    """

    def __init__(
        self, entries: tuple[Entry, ...] = (), snapshot: Snapshot | None = None, base: tuple[int, int] | None = None
    ) -> None:
        """`base`: index and term of the last entry that is gone; the snapshot's own when not given."""
        self.snapshot = snapshot
        self.base_index, self.base_term = base or ((snapshot.index, snapshot.term) if snapshot else (0, 0))
        self._entries = list(entries)
        self._weights = [weight(entry) for entry in entries]
        for place, entry in enumerate(self._entries, start=self.base_index + 1):
            if entry.index != place:
                raise InvariantViolation(f"log entry {entry.index} stands at place {place}")
        covered = snapshot.index if snapshot else 0
        if not self.base_index <= covered <= self.last_index:
            here = f"{self.base_index + 1} to {self.last_index}"
            raise InvariantViolation(f"a log of {here} with a snapshot of {covered}")

    @property
    def cluster(self) -> str:
        """The identity of the cluster this log belongs to; empty before the founding."""
        if self.snapshot is not None:
            return self.snapshot.cluster
        return self._founding().cluster if self._entries else ""

    @property
    def voters(self) -> tuple[Voter, ...]:
        """The agreed voters; none before the founding."""
        if self.snapshot is not None:
            return self.snapshot.voters
        return self._founding().voters if self._entries else ()

    def _founding(self) -> Founding:
        command = self._entries[0].command
        if not isinstance(command, Founding):
            raise InvariantViolation("entry 1 is no founding")
        return command

    @property
    def last_index(self) -> int:
        return self.base_index + len(self._entries)

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else self.base_term

    def term_at(self, index: int) -> int:
        """The term of the entry at `index`; 0 for the beginning, -1 where there is none (any more)."""
        if index == self.base_index:
            return self.base_term
        if self.base_index < index <= self.last_index:
            return self._entries[index - self.base_index - 1].term
        return -1

    def holds(self, index: int) -> bool:
        """Whether the entry at `index` can be read."""
        return self.base_index < index <= self.last_index

    def entry(self, index: int) -> Entry:
        if not self.holds(index):
            raise InvariantViolation(f"entry {index} is not in a log of {self.base_index + 1} to {self.last_index}")
        return self._entries[index - self.base_index - 1]

    def batch(self, first: int) -> tuple[Entry, ...]:
        """Entries from `first` on, as many as one Append may carry; one at least, if there is one."""
        start = first - self.base_index - 1
        if start < 0:
            raise InvariantViolation(f"entry {first} is gone, the log begins at {self.base_index + 1}")
        weights = accumulate(self._weights[start : start + BATCH_ENTRIES_MAX])
        count = sum(total <= BATCH_BYTES_MAX for total in weights)
        return tuple(self._entries[start : start + max(1, count)])

    def after(self, index: int) -> tuple[Entry, ...]:
        """All entries behind `index` that are still here."""
        return tuple(self._entries[max(0, index - self.base_index) :])

    def weight_up_to(self, index: int) -> int:
        """What the entries up to `index` weigh, about as many bytes."""
        return sum(self._weights[: max(0, index - self.base_index)])

    def append(self, entry: Entry) -> None:
        if entry.index != self.last_index + 1 or entry.term < self.last_term:
            raise InvariantViolation(f"entry {entry.index} of term {entry.term} does not follow {self.last_index}")
        self._entries.append(entry)
        self._weights.append(weight(entry))

    def merge(self, entries: tuple[Entry, ...], commit: int) -> tuple[Entry, ...]:
        """Take over a leader's entries, which follow an index that matches. Returns what is new and must be saved.

        Entries we hold already stay; a conflicting tail is cut. What is committed is never cut.
        """
        for place, entry in enumerate(entries):
            if self.term_at(entry.index) == entry.term:
                continue
            if entry.index <= max(commit, self.base_index):
                raise InvariantViolation(f"a leader wants to replace the committed entry {entry.index}")
            del self._entries[entry.index - self.base_index - 1 :]
            del self._weights[entry.index - self.base_index - 1 :]
            fresh = entries[place:]
            for added in fresh:
                self.append(added)
            return fresh
        return ()


def weight(value: Any) -> int:
    """About how many bytes this takes on the wire and on disk; never fewer than it does."""
    if isinstance(value, str):
        return 5 + (len(value) if value.isascii() else 4 * len(value))
    if isinstance(value, bytes):
        return 5 + len(value)
    if isinstance(value, tuple):
        return 5 + sum(map(weight, value))
    fields = getattr(type(value), "__dataclass_fields__", None)
    return 9 if fields is None else 7 + sum(weight(getattr(value, name)) for name in fields)
