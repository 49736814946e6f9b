"""The replicated log in memory: append, match, cut, forget its beginning. Indexes count from 1; 0 is before all."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

from mltb_transport.messages import Entry, Founding
from mltb_transport.store import Batch
from mltb_transport.voters import ChangeVoters, Voter
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
        self.covered = snapshot.index if snapshot is not None else 0
        """The index up to which the snapshot reaches: that much is committed, whoever leads."""
        self.base_index, self.base_term = base or ((snapshot.index, snapshot.term) if snapshot else (0, 0))
        self._entries = list(entries)
        self.last_index = self.base_index + len(entries)
        self._sums: list[int] = []  # what has been appended up to and including each entry, in bytes
        self._sum_before = 0
        self._others: list[int] = []  # the entries that are not clients' commands, by index
        self._voters: list[tuple[int, tuple[Voter, ...]]] = []  # by the index of the entry from which on they rule
        if snapshot is not None:
            self._voters.append((snapshot.index, snapshot.voters))
        for entry in entries:
            self._note(entry)
        for place, entry in enumerate(self._entries, start=self.base_index + 1):
            if entry.index != place:
                raise InvariantViolation(f"log entry {entry.index} stands at place {place}")
        if not self.base_index <= self.covered <= self.last_index:
            here = f"{self.base_index + 1} to {self.last_index}"
            raise InvariantViolation(f"a log of {here} with a snapshot of {self.covered}")

    @property
    def cluster(self) -> str:
        """The identity of the cluster this log belongs to; empty before the founding."""
        if self.snapshot is not None:
            return self.snapshot.cluster
        return self._founding().cluster if self._entries else ""

    @property
    def voters(self) -> tuple[Voter, ...]:
        """The voters that rule now, by the youngest entry about them, committed or not; none before the founding."""
        if not self._voters:
            return self._founding().voters if self._entries else ()
        return self._voters[-1][1]

    @property
    def voters_index(self) -> int:
        """The entry that `voters` come from, or that a snapshot has them from; 0 before the founding."""
        return self._voters[-1][0] if self._voters else 0

    @property
    def voters_before(self) -> tuple[Voter, ...]:
        """Whom the youngest change replaced; as long as it may be cut, they matter still."""
        return self._voters[-2][1] if len(self._voters) > 1 else ()

    def only_batches(self, index: int, last: int) -> bool:
        """Whether the entries behind `index` up to `last` are all here, and nothing but clients' commands."""
        return index >= self.base_index and bisect_right(self._others, index) == bisect_right(self._others, last)

    def _founding(self) -> Founding:
        command = self._entries[0].command
        if not isinstance(command, Founding):
            raise InvariantViolation("entry 1 is no founding")
        return command

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
        end = min(start + BATCH_ENTRIES_MAX, len(self._sums))
        end = bisect_right(self._sums, self._sum_up_to(first - 1) + BATCH_BYTES_MAX, start, max(start, end))
        return tuple(self._entries[start : max(start + 1, end)])

    def after(self, index: int) -> tuple[Entry, ...]:
        """All entries behind `index` that are still here."""
        return tuple(self._entries[max(0, index - self.base_index) :])

    def weight_between(self, index: int, last: int) -> int:
        """What the entries behind `index` up to `last` weigh, of those that are here; about as many bytes."""
        return self._sum_up_to(last) - self._sum_up_to(index)

    def _sum_up_to(self, index: int) -> int:
        return self._sums[index - self.base_index - 1] if index > self.base_index else self._sum_before

    def _note(self, entry: Entry) -> None:
        """What it weighs, and of which kind it is."""
        self._sums.append((self._sums[-1] if self._sums else self._sum_before) + weight(entry))
        command = entry.command
        if type(command) is not Batch:
            self._others.append(entry.index)
            if isinstance(command, Founding | ChangeVoters) and entry.index > self.covered:
                self._voters.append((entry.index, command.voters))

    def append(self, entry: Entry) -> None:
        if entry.index != self.last_index + 1 or entry.term < self.last_term:
            raise InvariantViolation(f"entry {entry.index} of term {entry.term} does not follow {self.last_index}")
        self._entries.append(entry)
        self.last_index = entry.index
        self._note(entry)

    def wanted(self, index: int, term: int, commit: int) -> int | None:
        """None where a leader's entries can follow its entry `index` of `term`; else where it is to begin instead."""
        if self.term_at(index) == term:
            return None
        if index > self.last_index:
            return self.last_index + 1
        sure = max(commit, self.covered)
        if index <= sure:
            raise InvariantViolation(f"a leader holds another entry {index} than the committed one")
        return sure + 1

    def merge(self, entries: tuple[Entry, ...], commit: int) -> tuple[Entry, ...]:
        """Take over a leader's entries, which follow an index that matches. Returns what is new and must be saved.

        Entries we hold already stay; a conflicting tail is cut. What is committed is never cut.
        """
        for place, entry in enumerate(entries):
            if self.term_at(entry.index) == entry.term:
                continue
            if entry.index <= max(commit, self.covered):
                raise InvariantViolation(f"a leader wants to replace the committed entry {entry.index}")
            del self._entries[entry.index - self.base_index - 1 :]
            self.last_index = self.base_index + len(self._entries)
            del self._sums[entry.index - self.base_index - 1 :]
            del self._others[bisect_left(self._others, entry.index) :]
            while self._voters and self._voters[-1][0] >= entry.index:
                self._voters.pop()  # What was cut rules no more.
            fresh = entries[place:]
            for added in fresh:
                self.append(added)
            return fresh
        return ()

    def compact(self, snapshot: Snapshot, base: int) -> None:
        """Forget the entries up to `base`, which the snapshot covers. The rest stays."""
        if self.term_at(snapshot.index) != snapshot.term or not self.base_index <= base <= snapshot.index:
            raise InvariantViolation(f"a snapshot of {snapshot.index} does not cover this log up to {base}")
        self.base_term, self._sum_before = self.term_at(base), self._sum_up_to(base)
        del self._entries[: base - self.base_index]
        del self._sums[: base - self.base_index]
        del self._others[: bisect_right(self._others, base)]
        self.base_index, self.snapshot, self.covered = base, snapshot, snapshot.index
        later = [change for change in self._voters if change[0] > snapshot.index]
        self._voters = [(snapshot.index, snapshot.voters), *later]

    def install(self, snapshot: Snapshot) -> bool:
        """Begin behind this snapshot of a leader. What follows the same entry here stays; whether it does."""
        if self.term_at(snapshot.index) == snapshot.term:
            self.compact(snapshot, snapshot.index)
            return True
        self._entries, self._sums, self._others, self._sum_before = [], [], [], 0
        self.base_index, self.base_term, self.snapshot = snapshot.index, snapshot.term, snapshot
        self.last_index = self.covered = snapshot.index
        self._voters = [(snapshot.index, snapshot.voters)]
        return False


def never_back(before: tuple[int, int], commit: int, covered: int) -> tuple[int, int]:
    """What is committed and what the snapshot covers, to be compared `before` the next time; both only grow, and what a
    new snapshot covers is committed."""
    if commit < before[0]:
        raise InvariantViolation(f"entry {before[0]} was committed, now only {commit} is")
    if covered < before[1] or covered > max(before[1], commit):
        raise InvariantViolation(f"a snapshot of {covered} after one of {before[1]}, where {commit} is committed")
    return commit, covered


def weight(value: Any) -> int:
    """About how many bytes this takes on the wire and on disk; never fewer than it does."""
    if isinstance(value, Entry) and isinstance(value.command, Batch):  # Nearly all are: the sum of what follows.
        return _BATCH_ENTRY + 5 * len(value.command.commands) + sum(map(len, value.command.commands))
    if isinstance(value, str):
        return 5 + (len(value) if value.isascii() else 4 * len(value))
    if isinstance(value, bytes):
        return 5 + len(value)
    if isinstance(value, tuple):
        return 5 + sum(map(weight, value))
    fields = getattr(type(value), "__dataclass_fields__", None)
    return 9 if fields is None else 7 + sum(weight(getattr(value, name)) for name in fields)


_BATCH_ENTRY = 7 + 3 * 9 + 7 + 5
"""An entry, its three numbers, a Batch and its tuple, as `weight` counts them."""
