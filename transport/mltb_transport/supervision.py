"""Commands about the health of a workload, as its owner reports it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proven:
    """The workload of `token` is well where it runs, and has been for a while: a place to come back to."""

    workload: str
    token: int


@dataclass(frozen=True, slots=True)
class Hooked:
    """A hook of the workload of `token` has ended. `number` grows with each one its owner reports."""

    workload: str
    token: int
    number: int
    hook: str  # pre_start, post_start, pre_stop, post_stop
    seconds: float
    ok: bool
    detail: str = ""
