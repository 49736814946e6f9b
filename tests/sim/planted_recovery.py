"""Planted bugs in going on alone after the loss of a majority; the same idea as planted.py."""

from __future__ import annotations

from typing import Any

import pytest

from mltb_transport.messages import Founding
from mltbd.core import recovery
from mltbd.core.effects import Save
from mltbd.core.events import Recovered
from mltbd.core.founding import FoundingDesk
from mltbd.core.owner import Owner
from tests.sim import recovery_scenario
from tests.sim.cluster import Shape
from tests.sim.mixes import Mix
from tests.sim.planted import Bug
from tests.sim.recovery_scenario import run_recovery_seed
from tests.sim.scenario import Outcome


def lease_not_waited_out(patch: pytest.MonkeyPatch) -> None:
    """Nobody listens through a lease before a node goes on alone: the lost owner may still run, and its grant may be
    in no log that is left."""
    patch.setattr(recovery_scenario, "listens_s", lambda _shape: 0.0)


def old_identity(patch: pytest.MonkeyPatch) -> None:
    """What goes on is the old cluster still."""
    alone = recovery.alone

    def still_the_old(found: Recovered, me: str, _cluster: str, wall: int) -> Save:
        return alone(found, me, recovery.replayed(found).cluster, wall)

    patch.setattr(recovery, "alone", still_the_old)


def indexes_go_on(patch: pytest.MonkeyPatch) -> None:
    """The next entry has the next number, which an entry of the lost nodes may have had."""
    patch.setattr(recovery, "INDEX_LEAP", 1)


def terms_go_on(patch: pytest.MonkeyPatch) -> None:
    """The next term is the one after the last this disk knew."""
    patch.setattr(recovery, "TERM_LEAP", 0)


def any_founding_will_do(patch: pytest.MonkeyPatch) -> None:
    """An empty disk belongs to whoever founded a cluster with an earlier disk of its name."""

    def by_name(self: FoundingDesk, founding: Founding) -> bool:
        return self._consensus.me in {voter.node for voter in founding.voters}

    patch.setattr(FoundingDesk, "_names_us", by_name)


def tokens_of_an_earlier_disk(patch: pytest.MonkeyPatch) -> None:
    """An empty disk takes what was granted to its name for its own."""
    begin = Owner.__init__

    def as_ever(self: Owner, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        self.begins_after(0)

    patch.setattr(Owner, "__init__", as_ever)


def recovers(seed: int, _mix: Mix, _shape: Shape) -> Outcome:
    return run_recovery_seed(seed)


RECOVERY_BUGS = (
    Bug("lease not waited out", lease_not_waited_out, ("one at a time",), run=recovers),
    Bug("old identity", old_identity, ("left behind stay apart",), run=recovers),
    Bug("indexes go on", indexes_go_on, ("no number twice",), run=recovers),
    Bug("terms go on", terms_go_on, ("no number twice",), run=recovers),
    Bug("any founding will do", any_founding_will_do, ("each where it belongs",), run=recovers),
    Bug("tokens of an earlier disk", tokens_of_an_earlier_disk, ("tokens grow",), run=recovers),
)
