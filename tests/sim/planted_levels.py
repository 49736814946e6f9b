"""Planted bugs in the level of a cluster; the same idea as planted.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mltb_transport.level import LEVEL_OF
from mltb_transport.messages import Append, CancelFailback
from mltb_transport.supervision import Proven
from mltbd.core import consensus, level_desk, node
from mltbd.core.leadership import Leadership
from mltbd.core.level_desk import LevelDesk
from mltbd.core.level_rules import Mate, Speaks
from mltbd.core.snapshots import Snapshot
from mltbd.state.levels import Levels
from tests.sim.cluster import Shape
from tests.sim.mixes import Mix
from tests.sim.planted import Bug
from tests.sim.scenario import draw_shape

PATIENCE_S = 2.0
UPGRADES = Mix(
    {"upgrade": 6, "take_back": 2, "upgrade_all": 1, "crash_daemon": 2, "crash_machine": 1, "isolate": 1, "lag": 1,
     "slow_disk": 1, "join": 2, "stop": 1, "pause": 1, "loss": 1, "ask": 2, "crash_all": 0.2, "split": 1},
    pause_s=(0.2, 4.0), duration_s=40.0, back_s=(0.3, 4.0),
)  # fmt: skip
"""Somebody upgrades and takes back, in the middle of everything else."""


def second_version(patch: pytest.MonkeyPatch) -> None:
    """As if version 2 of the protocol had brought an entry of owners and one of operators."""
    patch.setitem(LEVEL_OF, Proven, 2)
    patch.setitem(LEVEL_OF, CancelFailback, 2)


def mixed(seed: int, *roles: str) -> Shape:
    """A cluster of old nodes and a few new ones, with whatever else the seed draws."""
    drawn = draw_shape(seed)
    shape = replace(drawn, roles=roles, priorities=(100,) * len(roles), late=0) if roles else drawn
    newest = tuple(2 if (seed >> place) % 4 == 0 else 1 for place in range(len(shape.roles)))
    return replace(shape, newest=(*newest[:-1], 1 if 2 in newest[:-1] else 2),
                   level_patience_s=PATIENCE_S)  # fmt: skip


def of(*roles: str) -> Callable[[int], Shape]:
    return lambda seed: mixed(seed, *roles)


def patient(seed: int) -> Shape:
    """Long enough for a node to be gone before its time is over."""
    return replace(mixed(seed, "voter", "voter", "voter"), lease_s=1.0, level_patience_s=6.0)


def growing(seed: int) -> Shape:
    """The last machine is bought later, with an old build."""
    return replace(mixed(seed, "voter", "voter", "voter", "voter"), newest=(2, 2, 2, 1), late=1)


# -- when it rises -----------------------------------------------------------------------------------------------


def raised_by_a_majority(patch: pytest.MonkeyPatch) -> None:
    """The level rises as soon as a quorum of the voters speaks it."""
    second_version(patch)
    mates = LevelDesk._mates

    def most(self: LevelDesk, reign: Leadership, now: float) -> tuple[Mate, ...]:
        told = [mate for mate in mates(self, reign, now) if mate.speaks is not None]
        told.sort(key=lambda mate: (mate.speaks.newest if mate.speaks else 0, mate.said_round), reverse=True)
        return tuple(told[: len(reign.voters) // 2])

    patch.setattr(LevelDesk, "_mates", most)


def raised_by_gossip(patch: pytest.MonkeyPatch) -> None:
    """What a node last said of itself in gossip is taken for what it is, though that daemon may be gone."""
    second_version(patch)

    def seen(self: LevelDesk, reign: Leadership, now: float) -> tuple[Mate, ...]:
        found = []
        for name in sorted({*reign.voters, *reign.peers} - {self._me}):
            record = self._membership.record(name)
            speaks = Speaks(record.oldest, record.newest) if record is not None else None
            found.append(Mate(name, speaks, reign.round + 9, now - reign.won_at))
        return tuple(found)

    patch.setattr(LevelDesk, "_mates", seen)


def raised_at_once(patch: pytest.MonkeyPatch) -> None:
    """Nobody has the time to take an upgrade back."""
    second_version(patch)
    patch.setattr(level_desk, "wait", lambda *_args: "")


def raised_by_old_answers(patch: pytest.MonkeyPatch) -> None:
    """Whoever spoke it once in this term is taken to speak it still, there or not."""
    second_version(patch)
    patch.setattr(LevelDesk, "_all_answer", lambda *_args: True)


# -- what it is for ----------------------------------------------------------------------------------------------


def before_its_level(patch: pytest.MonkeyPatch) -> None:
    """A leader that knows an entry proposes it, whatever the others know."""
    second_version(patch)
    patch.setattr(consensus, "LEVEL_OF", {})


def snapshot_forgets_it(patch: pytest.MonkeyPatch) -> None:
    """A snapshot is of the first level, whatever was agreed on before it."""
    second_version(patch)
    take = Snapshot.take.__func__  # type: ignore[attr-defined]

    def first(cls: type[Snapshot], *args: Any) -> Snapshot:
        return take(cls, *args[:5], 1)  # type: ignore[no-any-return]

    patch.setattr(Snapshot, "take", classmethod(first))
    patch.setattr(Levels, "dump", lambda self: [1, self.index, self.since])


def anybody_joins(patch: pytest.MonkeyPatch) -> None:
    """A build takes what it is sent, and what it finds on its disk, for something it knows."""
    second_version(patch)

    def readable(_self: LevelDesk, _leader: str, message: Append) -> Append:
        return message

    patch.setattr(LevelDesk, "readable", readable)
    patch.setattr(node, "check_disk", lambda *_args: None)


LOSSES = Mix({"upgrade_all": 2, "crash_machine": 3, "take_back": 1}, (1.0, 6.0), 60.0, aim=0.0, back_s=(3.0, 9.0))
RAISED = ("raised when all speak",)
LEVEL_BUGS = (
    Bug("raised by a majority", raised_by_a_majority, RAISED, UPGRADES, mixed),
    Bug("raised by gossip", raised_by_gossip, RAISED, UPGRADES, mixed),
    Bug("raised at once", raised_at_once, RAISED, UPGRADES, mixed),
    Bug("raised by old answers", raised_by_old_answers, RAISED, LOSSES, patient),
    Bug("before its level", before_its_level, ("log keeps its level",), UPGRADES, mixed),
    Bug("snapshot forgets it", snapshot_forgets_it, ("log keeps its level",), UPGRADES, mixed),
    Bug("anybody joins", anybody_joins, ("spoken only",), UPGRADES, growing),
)
