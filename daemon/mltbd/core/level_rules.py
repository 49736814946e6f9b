"""Which versions of the protocol a build speaks, what it may take into its log, and when the level may rise.

Pure rules; who applies them is level_desk.py. Why: DESIGN.md, "Level".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mltb_transport.level import level_of
from mltb_transport.limits import PROTOCOL, PROTOCOL_MIN
from mltb_transport.messages import Entry
from mltbd.core.snapshots import Snapshot

PATIENCE_S = 3600.0
"""How long all members must have spoken a version before the level rises: until then an upgrade can be taken back."""


class NotSpoken(Exception):
    """This build does not speak the level of its cluster, so it must not take part."""


@dataclass(frozen=True, slots=True)
class Speaks:
    """The versions of the protocol that a build speaks."""

    oldest: int = PROTOCOL_MIN
    newest: int = PROTOCOL

    def has(self, level: int) -> bool:
        return self.oldest <= level <= self.newest

    def __str__(self) -> str:
        return f"{self.newest}" if self.oldest == self.newest else f"{self.oldest} to {self.newest}"


@dataclass(frozen=True, slots=True)
class Mate:
    """A member, as its own answers to this leader describe it. `speaks` is None while it has not answered."""

    node: str
    speaks: Speaks | None
    said_round: int = 0  # the youngest round in which it said so
    for_s: float = 0.0  # how long it has said nothing else


def refusal(speaks: Speaks, level: int) -> str:
    """Why a build must not take part in a cluster at this level; empty when it may."""
    if speaks.has(level):
        return ""
    which = "a newer" if level > speaks.newest else "an older"
    return f"the cluster is at protocol level {level}, this mltbd speaks {speaks}: install {which} mltbd"


def check_disk(speaks: Speaks, snapshot: Snapshot | None, entries: tuple[Entry, ...]) -> None:
    """Raises NotSpoken when this disk holds what only a newer build can read, whether it was committed or not."""
    newest = max([snapshot.level if snapshot is not None else 0, *(level_of(entry.command) for entry in entries)])
    if newest > speaks.newest:
        raise NotSpoken(refusal(speaks, newest))


def spoken(speaks: Speaks, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries up to the first that this build does not speak."""
    for place, entry in enumerate(entries):
        if level_of(entry.command) > speaks.newest:
            return entries[:place]
    return entries


def target(ours: Speaks, mates: Iterable[Mate]) -> int:
    """The newest version that all speak; 0 when somebody has not answered, or there is none."""
    newest, oldest = ours.newest, ours.oldest
    for mate in mates:
        if mate.speaks is None:
            return 0
        newest, oldest = min(newest, mate.speaks.newest), max(oldest, mate.speaks.oldest)
    return newest if oldest <= newest else 0


def wait(level: int, ours: Speaks, mates: Iterable[Mate], reigns_s: float, patience_s: float) -> str:
    """What the next level waits for, in words; empty when it may rise now, or there is none to rise to."""
    mates = tuple(mates)
    if (next_level := target(ours, mates)) > level:
        left_s = patience_s - min([reigns_s, *(mate.for_s for mate in mates)])
        again = f"level {next_level} waits for {_minutes(left_s)} yet, so that the upgrade can be taken back"
        return again if left_s > 0 else ""
    reach = max([ours.newest, *(mate.speaks.newest for mate in mates if mate.speaks is not None)])
    if reach <= level:
        return ""
    for mate in mates:
        if mate.speaks is None:
            return f"level {reach} waits: {mate.node} has not said what it speaks"
        if mate.speaks.newest < reach:
            return f"level {reach} waits: {mate.node} speaks protocol {mate.speaks}"
    return f"level {reach} waits: the leader speaks protocol {ours}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
