"""Planted bugs: each takes one rule out of the product, and the checkers must notice. `PLANTS` lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from mltb_transport.messages import Answer, Election, NoOp, Renew
from mltbd.core import election, lease
from mltbd.core.consensus import Consensus
from mltbd.core.effects import Arm
from mltbd.core.election import Ballot, Tally
from mltbd.core.events import Event, Received, Recovered
from mltbd.core.leadership import Leadership
from mltbd.core.lease import Hold, Renewals
from mltbd.core.node import Node
from mltbd.core.outbox import Outbox
from mltbd.core.owner import Letting, Owner
from mltbd.core.placer import Placer
from mltbd.core.timing import Timing
from mltbd.core.workload import Workload
from mltbd.state.placements import Placement
from tests.sim.cluster import Shape
from tests.sim.faults import EVERYTHING, Mix
from tests.sim.scenario import draw_shape

Plant = Callable[[pytest.MonkeyPatch], None]
LONG_AGO_S = 1e6


@dataclass(frozen=True, slots=True)
class Bug:
    """One rule less. `caught_by` names the checkers of which one must say so within `seeds_max` seeds."""

    name: str
    plant: Plant
    caught_by: tuple[str, ...]
    mix: Mix = field(default_factory=Mix)
    shape: Callable[[int], Shape] = draw_shape
    seeds_max: int = 300
