"""When a node takes a snapshot of its state, and how it takes over one of its leader's."""

from __future__ import annotations

from dataclasses import dataclass

from mltb_transport.limits import PIECE_BYTES_MAX
from mltb_transport.pieces import Piece, PieceAnswer
from mltbd.core.consensus import Consensus
from mltbd.core.effects import Outcomes
from mltbd.core.level_rules import NotSpoken, check_disk
from mltbd.core.log import InvariantViolation
from mltbd.core.outbox import Outbox
from mltbd.core.shipping import DamagedOnTheWay, Intake
from mltbd.core.snapshots import Snapshot, SnapshotError, digest_of, loaded, restored
from mltbd.state.machine import State


@dataclass(frozen=True, slots=True)
class Compaction:
    """How far the log may grow behind the snapshot; `tail` entries stay for followers that are a little behind.

    A snapshot travels in pieces of `piece` bytes. Taking one stops the loop for as long as the state is large (0.8 s at
    its limit): so the log may grow by as much again as the last snapshot is larger than `weight`, and each node by up
    to `spread` more, a share of its own, lest all stop at one moment.
    """

    entries: int = 4096
    weight: int = 4 * 1024 * 1024
    tail: int = 512
    piece: int = PIECE_BYTES_MAX
    spread: float = 0.5


class Archive:
    """The snapshots of one node. The state is replaced only by what is committed and on our own disk."""

    def __init__(
        self, state: State, consensus: Consensus, out: Outbox, limits: Compaction, found: Snapshot | None
    ) -> None:
        """`found`: what the disk held. Raises SnapshotError when it cannot be read."""
        self._state = state
        self._consensus = consensus
        self._out = out
        self._limits = limits
        self._intake = Intake()
        self._refused = ""  # digest of a snapshot that we cannot read
        self._arrived = (found.index, restored(found)) if found is not None else None
        self._tried = 0
        self._looked = 0  # what was applied when we last saw that no snapshot is due
        consensus.piece_bytes = limits.piece
        self._share = int(digest_of(consensus.store.encode())[:8], 16) / 2**32

    def compact(self) -> None:
        """Take a snapshot when one is due. Of what is applied: that is committed, and on this node's disk."""
        log, applied = self._consensus.log, self._state.applied
        covered = max(self._tried, log.covered)
        if applied <= covered or applied == self._looked:
            return
        self._looked = applied
        last = len(log.snapshot.data) if log.snapshot is not None else 0
        factor = max(1.0, last / self._limits.weight) * (1 + self._limits.spread * self._share)
        grown = log.weight_between(covered, applied) >= int(self._limits.weight * factor)
        if not grown and applied - covered < int(self._limits.entries * factor):
            return
        state = self._state
        try:
            snapshot = Snapshot.take(
                applied, log.term_at(applied), state.cluster, state.voters, state.dump(), state.levels.level
            )
        except SnapshotError as error:
            self._tried = applied  # Not again before the log has grown as much once more.
            self._out.note("error", f"the log cannot be compacted: {error}")
            return
        self._consensus.compact(snapshot, self._limits.tail)

    def received(self, leader: str, piece: Piece) -> None:
        """A piece of our leader's snapshot. Its heartbeats, not these, make it our leader."""
        consensus = self._consensus
        if piece.term != consensus.term or leader != consensus.leader or piece.digest == self._refused:
            return
        if piece.index <= max(consensus.commit, consensus.log.covered):
            self._answer(leader, piece, piece.total)
            return
        try:
            whole = self._intake.add(piece)
            if whole is None:
                self._answer(leader, piece, len(self._intake))
                return
            self._install(whole, piece)
        except NotSpoken as error:
            self._refused = piece.digest
            self._out.note("error", f"does not take over the snapshot of {leader}: {error}")
            return
        except SnapshotError as error:
            if not isinstance(error, DamagedOnTheWay):
                self._refused = piece.digest  # It would be no better the next time.
            self._intake.clear()
            self._out.note("error", f"cannot take over the snapshot of {leader}: {error}")
            return
        self._answer(leader, piece, piece.total)

    def _install(self, whole: bytes, piece: Piece) -> None:
        snapshot, dump = Snapshot.read(whole)
        ours = self._consensus.log.cluster
        if (snapshot.index, snapshot.term) != (piece.index, piece.index_term) or ours not in ("", snapshot.cluster):
            raise SnapshotError(f"it is one of entry {snapshot.index} of cluster {snapshot.cluster}")
        check_disk(self._consensus.speaks, snapshot, ())
        self._arrived = (snapshot.index, loaded(snapshot, dump))
        self._consensus.install(snapshot)
        self._out.note("info", f"takes over a snapshot up to entry {snapshot.index}")

    def _answer(self, leader: str, piece: Piece, offset: int) -> None:
        consensus = self._consensus
        self._out.send_when_saved(leader, PieceAnswer(consensus.term, piece.digest, offset, consensus.store))

    def restore(self) -> bool:
        """Replace the state by that of a snapshot which is ahead of it, once that is on disk and known to be committed.

        Not before a leader has told so, also where the disk held it at the start: whoever acts on a placement must
        have heard from its guard first. Whether the log follows the state now: until then nothing can be applied.
        """
        consensus = self._consensus
        if self._intake.digest and self._intake.index <= consensus.commit:
            self._intake.clear()  # Entries came instead, of a leader that still has them.
        if self._arrived is not None and self._arrived[0] <= min(consensus.commit, consensus.durable):
            index, state = self._arrived
            self._arrived = None
            if index > self._state.applied:
                self._state.become(state)
                self._out.put(Outcomes(()))  # Whoever waits for a lock or a change is to look: it may be in there.
        if self._state.applied >= consensus.log.base_index:
            return self._arrived is None
        if self._arrived is None:
            raise InvariantViolation(f"applied {self._state.applied}, the log begins at {consensus.log.base_index + 1}")
        return False
