"""A snapshot on its way to a follower whose next entries are gone: piece by piece, one at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """`data` stands at `offset` of `total` bytes. `digest` names the whole: pieces of two snapshots never mix."""

    term: int
    index: int
    index_term: int
    digest: str
    total: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class PieceAnswer:
    """The sender holds the first `offset` bytes of this snapshot; all of it, on its disk, when that is the total."""

    term: int
    digest: str
    offset: int
    store: str
