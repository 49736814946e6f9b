"""Planted bugs in what runs on every node; the same idea as planted.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mltb_transport.messages import Entry, Release
from mltbd.core.copies import rival
from mltbd.core.failover import Facts
from mltbd.core.owner import Owner
from mltbd.state.placements import Placements
from tests.sim.cluster import Shape
from tests.sim.planted import THREE, Bug, mostly


def any_node_will_do(patch: pytest.MonkeyPatch) -> None:
    """The leader believes whoever says that it could run a copy."""
    patch.setattr("mltbd.core.placer.home_of", lambda _workload: "")


def both_forms_at_once(patch: pytest.MonkeyPatch) -> None:
    """What still runs as a singleton is no reason against copies, nor the other way round."""
    patch.setattr("mltbd.core.placer.rival", lambda _workload, _placements, _pending: "")


def grants_on_their_way_are_overlooked(patch: pytest.MonkeyPatch) -> None:
    """A grant of the other form counts only once it is applied."""

    def late(workload: str, placements: Placements, _pending: list[Entry]) -> str:
        return rival(workload, placements, ())

    patch.setattr("mltbd.core.placer.rival", late)


def ended_while_the_lease_lasts(patch: pytest.MonkeyPatch) -> None:
    """A claim is ended as soon as its owner is silent, although it may still run."""

    def hasty(facts: Facts, _ready: object) -> Release | None:
        placement = facts.placement
        owner = next((each for each in facts.candidates if each.node == placement.owner), None)
        if not placement.owner or (owner is not None and owner.eligible):
            return None
        return Release(placement.workload, placement.token, "lost")

    patch.setattr("mltbd.core.placer.end_of_lost", hasty)


def copies_outlive_a_drain(patch: pytest.MonkeyPatch) -> None:
    """A copy runs on where its node is to be empty."""
    patch.setattr(Owner, "drained", property(lambda _self: False, lambda _self, _value: None), raising=False)


def everywhere(shape: Callable[[int], Shape], **changes: object) -> Callable[[int], Shape]:
    """With a workload that is no singleton."""
    return lambda seed: replace(shape(seed), everywhere="web", **changes)  # type: ignore[arg-type]


MIXED = everywhere(THREE, undecided=("n1",))
"""... or is one, for one of the nodes."""

BOTH = ("once or everywhere",)
COPY_BUGS = (
    Bug("any node will do", any_node_will_do, ("copies at home",), mostly(), everywhere(THREE, boastful=True)),
    Bug("both forms at once", both_forms_at_once, BOTH, mostly(), MIXED),
    Bug("grants on their way are overlooked", grants_on_their_way_are_overlooked, BOTH, mostly(), MIXED),
    Bug("ended while the lease lasts", ended_while_the_lease_lasts, ("one at a time", *BOTH), mostly(), MIXED),
)
