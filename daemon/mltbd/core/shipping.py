"""A snapshot on its way: what a leader has sent of it to whom, and what a follower has collected of it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from mltb_transport.limits import PIECE_BYTES_MAX
from mltb_transport.pieces import Piece, PieceAnswer
from mltbd.core.snapshots import BYTES_MAX, Snapshot, SnapshotError, digest_of

SHIPMENTS_MAX = 4
"""Followers that are sent a snapshot at the same time; others wait for their turn."""


class DamagedOnTheWay(SnapshotError):
    """Pieces that do not make up the snapshot they were said to belong to."""


@dataclass(slots=True)
class Shipment:
    """One snapshot to one follower, which has `offset` bytes of it."""

    snapshot: Snapshot
    offset: int = 0
    due_at: float = float("-inf")


class Shipments:
    """The leader's side, for one reign. At most one piece is under way to each follower."""

    def __init__(self, term: int, retry_s: float, piece_bytes: int = PIECE_BYTES_MAX) -> None:
        self._piece_bytes = piece_bytes
        self._term = term
        self._retry_s = retry_s
        self._under_way: dict[str, Shipment] = {}

    def next_piece(self, node: str, snapshot: Snapshot, now: float) -> Piece | None:
        """What to send now; None while an answer is awaited, or too many are served.

        A shipment goes on with the snapshot it began with, for a busy leader takes new ones all the time.
        """
        shipment = self._under_way.get(node)
        if shipment is None:
            if len(self._under_way) >= SHIPMENTS_MAX:
                return None
            shipment = self._under_way[node] = Shipment(snapshot)
        if now < shipment.due_at:
            return None
        shipment.due_at = now + self._retry_s
        whole, offset = shipment.snapshot, shipment.offset
        data = whole.data[offset : offset + self._piece_bytes]
        return Piece(self._term, whole.index, whole.term, whole.digest, len(whole.data), offset, data)

    def answered(self, node: str, answer: PieceAnswer) -> int:
        """The index of the snapshot that `node` holds, when it has it all; else 0."""
        shipment = self._under_way.get(node)
        if shipment is None or answer.digest != shipment.snapshot.digest:
            return 0
        if answer.offset == len(shipment.snapshot.data):
            del self._under_way[node]
            return shipment.snapshot.index
        if answer.offset != shipment.offset and 0 <= answer.offset < len(shipment.snapshot.data):
            # Forwards, or back: it was restarted. The same offset again is an answer to a repeated piece.
            shipment.offset, shipment.due_at = answer.offset, float("-inf")
        return 0

    def keep(self, nodes: Container[str]) -> None:
        """To nobody else any more: whoever is no follower leaves its place to others."""
        for node in [node for node in self._under_way if node not in nodes]:
            self.drop(node)

    def drop(self, node: str) -> None:
        """It is not there. What it has collected so far, it will say when it is back."""
        self._under_way.pop(node, None)


class Intake:
    """The follower's side: the beginning of one snapshot. A piece of another one starts anew."""

    def __init__(self) -> None:
        self.digest = ""
        self.index = 0
        """Of the last entry that it covers."""
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data)

    def add(self, piece: Piece) -> bytes | None:
        """Take what fits to what is here; the whole, once it is complete. Raises SnapshotError."""
        if piece.total > BYTES_MAX:
            raise SnapshotError(f"a snapshot of {piece.total} bytes exceeds the limit of {BYTES_MAX}")
        if piece.digest != self.digest:
            self.digest, self.index, self._data = piece.digest, piece.index, bytearray()
        if piece.offset == len(self._data) and piece.offset + len(piece.data) <= piece.total:
            self._data += piece.data
        if len(self._data) < piece.total:
            return None
        whole = bytes(self._data)
        self.clear()
        if digest_of(whole) != piece.digest:
            raise DamagedOnTheWay(f"a snapshot of entry {piece.index} does not match its digest")
        return whole

    def clear(self) -> None:
        self.digest, self._data = "", bytearray()
