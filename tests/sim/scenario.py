"""From a seed to a verdict: draw a cluster, let it suffer, heal it, watch it recover, judge the history."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from mltbd.core.archive import Compaction
from mltbd.core.failover import Policy
from mltbd.core.workload import Patience
from tests.sim.checkers import TRUE, Verdict, check_copies, check_levels, check_liveness, check_safety
from tests.sim.cluster import Cluster, Shape
from tests.sim.faults import Faults
from tests.sim.history import History, story
from tests.sim.mixes import STORMS, Mix

LEADER_S = 3.0
START_S = 0.5
RESTART_S = 0.7
"""Daemons that were down when the faults ended come back within this."""
STOP_S = 1.2
"""A stop that was under way when the faults ended may last this long."""
COOL_S = 2.0
LIFT_S = 0.5
"""Once somebody leads, whatever is paused or drained is released within this."""
WATCH_S = 2.0
FRESH = 1.01
"""Clocks differ a little."""

ROLES: tuple[tuple[str, ...], ...] = (
    ("voter",),
    ("voter", "voter", "voter"),
    ("voter", "voter", "voter"),
    ("voter", "voter", "voter"),
    ("voter", "voter", "witness"),
    ("voter", "voter", "voter", "observer"),
    ("voter", "voter", "voter", "voter", "voter"),
    ("voter", "voter", "voter", "voter"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One seed, judged."""

    seed: int
    shape: Shape
    history: History
    verdicts: list[Verdict]
    events: int
    what: str
    """The scenario's name for soak and replay."""

    @property
    def failed(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.answer != TRUE]

    def explain(self, last: int = 80) -> str:
        """For the one who has to find out."""
        lines = [f"seed {self.seed}: {self.shape.describe()}", story(self.history, last)]
        lines += [f"seed {self.seed}: {verdict}" for verdict in self.failed]
        lines.append(f"replay: python -m tests.sim.replay {self.seed} {last} {self.what}")
        return "\n".join(lines)


def draw_shape(seed: int) -> Shape:
    """A cluster for this seed."""
    dice = random.Random(seed * 2 + 1)
    roles = dice.choice(ROLES)
    if dice.random() < 0.5:
        priorities = tuple(100 for _ in roles)
    else:
        priorities = tuple(dice.choice((50, 100, 200, 900)) for _ in roles)
    lease_s = dice.choice((1.0, 3.0, 3.0))
    heartbeat_s = dice.choice((1.0, 5.0))
    late = dice.choice((0, 0, 1, 2)) if len(roles) > 2 else 0
    return Shape(
        late=late,
        roles=roles,
        priorities=priorities,
        lease_s=lease_s,
        stop_timeout_s=dice.choice((0.2, 1.0)),
        heartbeat_s=heartbeat_s,
        node_timeout_s=3 * heartbeat_s,
        policy=Policy(max_attempts=1000, recovery_wait_s=dice.choice((60.0, 4.0))),
        patience=Patience(dice.choice((2, 3)), COOL_S),
        compaction=draw_compaction(seed),
        lease_shares=draw_lease_shares(seed),
    )


def draw_lease_shares(seed: int) -> tuple[float, ...]:
    """Mostly all nodes are configured alike. Its own dice, too."""
    dice = random.Random(seed * 2 + 5)
    return tuple(dice.choice((1.0, 0.5)) for _ in range(5)) if dice.random() < 0.15 else (1.0,)


def draw_compaction(seed: int) -> Compaction:
    """Early and often: a few dozen entries are all that a run writes. Its own dice leave every other choice alone."""
    dice = random.Random(seed * 2 + 7)
    return Compaction(
        entries=dice.choice((1, 3, 6, 12)), tail=dice.choice((0, 0, 1, 4)), piece=dice.choice((150, 400, 65536))
    )


def run_seed(seed: int, mix: Mix | None = None, shape: Shape | None = None) -> Outcome:
    """The whole story of one seed."""
    if mix is None:
        mix = STORMS[seed % len(STORMS)]
    shape = shape or draw_shape(seed)
    cluster = Cluster(shape, seed)
    faults = Faults(cluster, mix)
    cluster.power_on()
    faults.begin()
    cluster.run(mix.from_s + mix.duration_s)
    faults.end()
    # A failed automatic failback, or a stop that lasts, may come on top of lease and start.
    runs_s = shape.lease_s + START_S + STOP_S + COOL_S + LIFT_S
    leads_s = LEADER_S + RESTART_S + mix.slowest_s  # A write that is under way goes on.
    cluster.run_for(leads_s + runs_s, lambda: cluster.settled)
    cluster.run_for(WATCH_S)
    cluster.run_for(COOL_S + runs_s, lambda: cluster.settled)  # What was asked for before may still be done.
    cluster.close()
    verdicts = check_safety(cluster.history, shape.lease_s)
    if shape.homes:
        verdicts.append(check_copies(cluster.history, shape.homes))
    if shape.newest:
        verdicts += check_levels(cluster.history, shape.level_patience_s, FRESH * 2 * shape.timing.election_s)
    verdicts.append(check_liveness(cluster.history, leads_s, runs_s, WATCH_S))
    return Outcome(seed, shape, cluster.history, verdicts, cluster.events, mix.name)


def with_lease(shape: Shape, lease_s: float) -> Shape:
    return replace(shape, lease_s=lease_s)
