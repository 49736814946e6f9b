"""Planted bugs in snapshots: taking, keeping, sending and installing them; the same idea as planted.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mltb_transport.pieces import Piece, PieceAnswer
from mltbd.core.archive import Archive, Compaction
from mltbd.core.consensus import Consensus
from mltbd.core.effects import Save
from mltbd.core.log import Log
from mltbd.core.shipping import Intake, Shipments
from mltbd.core.snapshots import Snapshot
from tests.sim.cluster import Shape
from tests.sim.disk import Disk
from tests.sim.mixes import Mix
from tests.sim.planted import Bug, mostly
from tests.sim.scenario import draw_shape


def eager(*roles: str, piece: int = 65536, tail: int = 0) -> Callable[[int], Shape]:
    """A cluster that compacts with every entry."""

    def shape(seed: int) -> Shape:
        drawn = replace(draw_shape(seed), compaction=Compaction(entries=1, tail=tail, piece=piece))
        return replace(drawn, roles=roles, priorities=(100,) * len(roles)) if roles else drawn

    return shape


EAGER_THREE = eager("voter", "voter", "voter")
EAGER_FIVE = eager("voter", "voter", "voter", "voter", "voter")


# -- on disk -----------------------------------------------------------------------------------------------------


def snapshot_before_disk(patch: pytest.MonkeyPatch) -> None:
    """A follower acknowledges and applies a leader's snapshot that is not on its disk yet."""
    install = Consensus.install

    def at_once(self: Consensus, snapshot: Snapshot) -> None:
        install(self, snapshot)
        self.durable = snapshot.index

    def answer(self: Archive, leader: str, piece: Piece, offset: int) -> None:
        consensus = self._consensus
        self._out.send(leader, PieceAnswer(consensus.term, piece.digest, offset, consensus.store))

    patch.setattr(Consensus, "install", at_once)
    patch.setattr(Archive, "_answer", answer)


def cut_before_snapshot(patch: pytest.MonkeyPatch) -> None:
    """The log is cut in a transaction of its own, before the snapshot is written."""
    submit = Disk.submit

    def cut_first(self: Disk, save: Save, saved: Callable[[int], None]) -> None:
        if save.snapshot is not None and not self._pending and save.base[0] <= self.base[0] + len(self.entries):
            self.entries = self.entries[save.base[0] - self.base[0] :]
            self.base = save.base
        submit(self, save, saved)

    patch.setattr(Disk, "submit", cut_first)


def tail_forgotten(patch: pytest.MonkeyPatch) -> None:
    """With the snapshot goes the whole log, what follows it included."""

    def keep(self: Disk, snapshot: Snapshot, base: tuple[int, int]) -> None:
        assert base[0] <= snapshot.index
        self.entries = []
        self.snapshot, self.base = snapshot, (snapshot.index, snapshot.term)

    patch.setattr(Disk, "_keep_snapshot", keep)


# -- taking ------------------------------------------------------------------------------------------------------


def beyond_the_applied(patch: pytest.MonkeyPatch) -> None:
    """A snapshot is said to reach to the end of the log, not to what is applied."""
    take = Snapshot.take.__func__  # type: ignore[attr-defined]
    logs: list[Log] = []
    compact = Archive.compact

    def remember(self: Archive) -> None:
        logs[:] = [self._consensus.log]
        compact(self)

    def too_far(
        cls: type[Snapshot], index: int, term: int, cluster: str, voters: object, dump: list[object], *rest: object
    ) -> Snapshot:
        log = logs[0]
        dump[0] = index = max(index, log.last_index)
        taken: Snapshot = take(cls, index, max(term, log.last_term), cluster, voters, dump, *rest)
        return taken

    patch.setattr(Archive, "compact", remember)
    patch.setattr(Snapshot, "take", classmethod(too_far))


def acts_before_the_guard_spoke(patch: pytest.MonkeyPatch) -> None:
    """The placements on disk hold from the first moment on, before a leader has spoken, or the guard."""
    begin = Archive.__init__

    def at_once(self: Archive, *arguments: object) -> None:
        begin(self, *arguments)  # type: ignore[arg-type]
        if self._arrived is not None:
            index, state = self._arrived
            self._state.become(state)
            self._arrived = None
            self._consensus.commit = index

    patch.setattr(Archive, "__init__", at_once)


# -- taking over -------------------------------------------------------------------------------------------------


def behind_the_commit(patch: pytest.MonkeyPatch) -> None:
    """A snapshot that comes late replaces what is newer."""

    def received(self: Archive, leader: str, piece: Piece) -> None:
        consensus = self._consensus
        if piece.term == consensus.term and leader == consensus.leader:
            commit, consensus.commit = consensus.commit, 0
            log, snapshot = consensus.log, consensus.log.snapshot
            if piece.index < log.covered:
                log.snapshot, log.covered = None, 0
            take_over(self, leader, piece)
            if log.snapshot is None and snapshot is not None:
                log.snapshot, log.covered = snapshot, snapshot.index
            consensus.commit = consensus.commit or commit

    take_over = Archive.received
    patch.setattr(Archive, "received", received)


def pieces_mixed(patch: pytest.MonkeyPatch) -> None:
    """A piece is taken for one of the snapshot at hand because its place fits."""

    def add(self: Intake, piece: Piece) -> bytes | None:
        self.index = piece.index
        if piece.offset == len(self._data):
            self._data += piece.data
        if len(self._data) < piece.total:
            return None
        whole = bytes(self._data)
        self.clear()
        return whole

    patch.setattr(Intake, "add", add)
    new = Shipments.next_piece

    def newest(self: Shipments, node: str, snapshot: Snapshot, now: float) -> Piece | None:
        shipment = self._under_way.get(node)
        if shipment is not None and len(shipment.snapshot.data) == len(snapshot.data):
            shipment.snapshot = snapshot
        return new(self, node, snapshot, now)

    patch.setattr(Shipments, "next_piece", newest)


CRASHES = mostly(crash_daemon=5, crash_machine=4, crash_all=3, slow_disk=6, isolate=4, ask=8)
MISSES = mostly(isolate=5, crash_daemon=4, crash_machine=4, loss=5, lag=5, ask=10)
BUSY = Mix({"ask": 10, "hold": 4, "drain": 3, "slow_disk": 4, "lag": 2, "crash_machine": 3}, pause_s=(0.02, 0.3))
SHORT = Mix({"crash_daemon": 6, "isolate": 4, "one_way": 2, "ask": 4}, pause_s=(0.05, 1.0), back_s=(0.3, 3.0))
STATE = ("committed is stable", "nothing broke")

SNAPSHOT_BUGS = (
    Bug("snapshot before disk", snapshot_before_disk, ("snapshots are kept",), CRASHES, EAGER_THREE, first=31),
    Bug("cut before snapshot", cut_before_snapshot, STATE, CRASHES, EAGER_THREE, first=28),
    Bug("tail forgotten", tail_forgotten, STATE, BUSY, EAGER_THREE),
    Bug("beyond the applied", beyond_the_applied, STATE, Mix(), EAGER_THREE),
    Bug("acts before the guard spoke", acts_before_the_guard_spoke, ("one at a time",), SHORT, EAGER_THREE),
    Bug("behind the commit", behind_the_commit, STATE, MISSES, EAGER_THREE),
    Bug("pieces mixed", pieces_mixed, STATE, MISSES, eager("voter", "voter", "voter", piece=60)),
)
