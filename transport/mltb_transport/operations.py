"""Commands of the replicated log by which operators hold the cluster still or empty a node. Frozen values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pause:
    """No automatic moves from now on. Its index names the pause; a later one takes its place."""

    seconds: float  # how long; 0: until resumed
    operator: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resume:
    """Ends the pause of this index and no other: a late expiry must not end the pause that followed."""

    pause: int
    cause: str  # asked, expired
    operator: str = ""


@dataclass(frozen=True, slots=True)
class Drain:
    """Workloads and leadership leave `node`, and none is placed there until it is undrained."""

    node: str
    operator: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Undrain:
    """`node` may be given workloads again."""

    node: str
    operator: str
