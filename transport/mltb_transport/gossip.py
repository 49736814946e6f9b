"""What members of a large cluster tell each other beside their heartbeats: news passed on, and probes by proxy."""

from __future__ import annotations

from mltb_transport.records import Record
from mltb_transport.values import dataclass


@dataclass(frozen=True, slots=True)
class Loss:
    """A member that watched `node` gave it up; the newest it knew of it was this version. A newer one refutes it."""

    node: str
    incarnation: int
    seq: int


@dataclass(frozen=True, slots=True)
class News:
    """Published where not everybody hears everybody: what the sender has just learned, passed on once."""

    records: tuple[Record, ...]
    losses: tuple[Loss, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """Please ping `node` for me."""

    node: str
    nonce: int


@dataclass(frozen=True, slots=True)
class Probed:
    """`ok`: the probed node answered. Else the helper has only just begun: a sign that it lives itself."""

    node: str
    nonce: int
    ok: bool
