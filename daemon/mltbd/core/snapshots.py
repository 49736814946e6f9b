"""Snapshots: the whole replicated state after one entry, as bytes that are the same on every node."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mltb_transport.level import FIRST
from mltb_transport.plain import pack_plain, unpack_plain
from mltb_transport.voters import Voter
from mltbd.state.dumps import row, rows, unrow
from mltbd.state.machine import State

LAYOUT = 1
BYTES_MAX = 64 * 1024 * 1024
"""Of one snapshot. A state beyond it is not compacted, and says so."""


class SnapshotError(ValueError):
    """Bytes that no release up to this one wrote as a snapshot, or a state that is too large for one."""


@dataclass(frozen=True)
class Snapshot:
    """The state after entry `index` of `term`, and what a log without its beginning must still know of itself.

    `level`: which version of the protocol a build must speak to read it.
    """

    index: int
    term: int
    cluster: str
    voters: tuple[Voter, ...]
    data: bytes
    level: int = FIRST

    @cached_property
    def digest(self) -> str:
        """Names these bytes: two snapshots with one digest are one snapshot."""
        return digest_of(self.data)

    @classmethod
    def take(
        cls, index: int, term: int, cluster: str, voters: tuple[Voter, ...], dump: list[Any], level: int = FIRST
    ) -> Snapshot:
        """Raises SnapshotError when the state is too large."""
        body = [LAYOUT, index, term, cluster, [row(voter) for voter in voters], dump, level]
        data = pack_plain(body)
        if len(data) > BYTES_MAX:
            raise SnapshotError(f"a snapshot of {len(data)} bytes exceeds the limit of {BYTES_MAX}")
        return cls(index, term, cluster, voters, data, level)

    @classmethod
    def read(cls, data: bytes) -> tuple[Snapshot, list[Any]]:
        """The snapshot in these bytes, and the dump of its state. Total: raises SnapshotError, nothing else."""
        if len(data) > BYTES_MAX:
            raise SnapshotError(f"a snapshot of {len(data)} bytes exceeds the limit of {BYTES_MAX}")
        try:
            found = unpack_plain(data)
            layout, *rest = rows(found, "a snapshot")
            if layout != LAYOUT:
                raise SnapshotError(f"a snapshot of layout {layout!r}, this release reads {LAYOUT}")
            index, term, cluster, voters, dump, level, *_ = [*rest, FIRST] if len(rest) == 5 else rest
            if type(index) is not int or type(term) is not int or type(cluster) is not str or index < 1 or term < 0:
                raise SnapshotError("a snapshot without an index, a term and a cluster")
            if type(level) is not int or level < FIRST:
                raise SnapshotError("a snapshot without a level")
            named = tuple(unrow(Voter, voter) for voter in rows(voters, "voters"))
            return cls(index, term, cluster, named, data, level), rows(dump, "a state")
        except SnapshotError:
            raise
        except ValueError as error:
            raise SnapshotError(f"not a snapshot: {error}") from error


def digest_of(data: bytes) -> str:
    """The name of these bytes."""
    return hashlib.sha256(data).hexdigest()


def restored(snapshot: Snapshot | None) -> State:
    """The state that a snapshot holds; the empty state without one. Raises SnapshotError."""
    if snapshot is None:
        return State()
    _, dump = Snapshot.read(snapshot.data)
    return loaded(snapshot, dump)


def loaded(snapshot: Snapshot, dump: list[Any]) -> State:
    """The state in this dump, which belongs to this snapshot. Raises SnapshotError."""
    try:
        state = State.load(dump)
    except ValueError as error:
        raise SnapshotError(f"the state after entry {snapshot.index} cannot be read: {error}") from error
    if (state.applied, state.cluster, state.levels.level) != (snapshot.index, snapshot.cluster, snapshot.level):
        raise SnapshotError(f"the state in the snapshot of entry {snapshot.index} is another one")
    return state
