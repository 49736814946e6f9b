"""From a seed to a verdict, where a majority is lost for good: one node goes on alone, others join it anew, and some of
the lost come back after all, with their old disks."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from mltbd.core import recovery
from mltbd.core.founding import Founder
from tests.sim.checkers import FALSE, TRUE, Verdict, check_liveness, check_safety
from tests.sim.cluster import Cluster, Shape
from tests.sim.faults import Faults
from tests.sim.history import WentAlone
from tests.sim.machine import Machine
from tests.sim.mixes import Mix
from tests.sim.scenario import COOL_S, LEADER_S, RESTART_S, START_S, STOP_S, WATCH_S, Outcome, draw_shape

NEW = "cluster-that-went-on"
BEFORE = Mix(
    {"crash_daemon": 3, "isolate": 3, "one_way": 2, "split": 2, "slow_disk": 4, "lag": 2, "ask": 6, "exit": 1},
    pause_s=(0.1, 1.5),
    duration_s=8.0,
)
"""Nobody comes or goes: who counts for the majority that is lost must be known."""
AFTER = replace(BEFORE, weights={**BEFORE.weights, "crash_machine": 2, "pause": 1}, duration_s=12.0)
ALIVE_SHARE = 0.6
"""Of the lost: still alive, and cut off from everybody. What they run ends with their lease."""
SPARED_SHARE = 0.8
"""How often the owner is among those whose disk outlives it."""
BACK_S = (0.0, 9.0)
HASTE_S = (0.0, 0.6)
"""Until the operator types it."""
JOIN_S = 6.0


@dataclass(slots=True)
class Fates:
    """Who goes on, whose disk is gone (or was taken away from a survivor), and who comes back with an old one."""

    alone: Machine
    anew: list[Machine] = field(default_factory=list)
    back: list[Machine] = field(default_factory=list)


def draw(seed: int) -> Shape:
    """Three or five voters, and nobody else who could vote."""
    roles = ("voter",) * random.Random(seed * 2 + 5).choice((3, 3, 5))
    shape = draw_shape(seed)
    priorities = shape.priorities[: len(roles)] + (100,) * (len(roles) - len(shape.priorities))
    return replace(shape, roles=roles, priorities=priorities, late=0)


def draw_fates(cluster: Cluster) -> Fates | None:
    """A survivor, and of all others at most as many that come back as can decide nothing together. None: too early."""
    dice = cluster.dice
    known = [machine for machine in cluster.machines.values() if machine.disk.entries or machine.disk.snapshot]
    if len(known) < len(cluster.machines) or not any(m.node and m.node.state.applied for m in known):
        return None
    owners = cluster.owners
    alone = dice.choice([machine for machine in known if machine not in owners] or known)
    others = [machine for machine in known if machine is not alone]
    dice.shuffle(others)
    if owners and dice.random() < SPARED_SHARE:
        others.sort(key=lambda machine: machine in owners)  # The owner comes last, among those that are spared.
    spared = dice.randint(0, (len(known) - 1) // 2)
    return Fates(alone, others[: len(others) - spared], others[len(others) - spared :])


def lose(cluster: Cluster, fates: Fates) -> None:
    """The majority is gone in one moment; some of it lives on where nobody hears it."""
    dice, network = cluster.dice, cluster.network
    network.heal()
    for machine in cluster.machines.values():
        machine.disk.slow = machine.disk.hangs = False
        machine.resume()
    for machine in fates.back:
        others = [name for name in cluster.machines if name != machine.name]
        network.block([pair for name in others for pair in ((machine.name, name), (name, machine.name))])
        if dice.random() > ALIVE_SHARE:
            machine.crash_machine()
    for machine in fates.anew:
        machine.crash_machine()
    names = [" ".join(machine.name for machine in group) or "nobody" for group in (fates.anew, fates.back)]
    cluster.fault(f"lost for good: {names[0]}; cut off: {names[1]}; {fates.alone.name} is to go on alone")


def listens_s(shape: Shape) -> float:
    """Through one lease `mltbctl recover` listens for others, and refuses when anybody answers. Whoever is cut off and
    runs the workload has stopped by then, also where the log that goes on never heard of it."""
    return shape.lease_s


def go_alone(cluster: Cluster, machine: Machine) -> None:
    """What `mltbctl recover` does to the disk of a stopped node. Then the node is started."""
    machine.crash_machine()
    found = machine.disk.recover()
    save = recovery.alone(found, machine.name, NEW, machine.clock.wall(cluster.now))
    machine.disk.rewrite(save)
    assert save.snapshot is not None
    at = (save.snapshot.index, save.snapshot.term)
    cluster.history.append(WentAlone(cluster.now, machine.name, machine.disk.store, *at, found.entries))
    machine.reconfigure(founder=Founder(False, 1, 1))
    machine.power_on()


def bring_back(cluster: Cluster, fates: Fates) -> None:
    """Empty disks join; old ones come back into the network, each at its own time."""
    for machine in fates.anew:
        machine.wipe()
        machine.reconfigure(founder=Founder(False, 1, 1))
        cluster.at(cluster.now + cluster.dice.uniform(*BACK_S), cluster.start_again, machine)
    for machine in fates.back:
        others = [name for name in cluster.machines if name != machine.name]
        pairs = [pair for name in others for pair in ((machine.name, name), (name, machine.name))]
        at = cluster.now + cluster.dice.uniform(*BACK_S)
        cluster.at(at, cluster.network.unblock, pairs)
        cluster.at(at, cluster.start_again, machine)


def run_recovery_seed(seed: int) -> Outcome:
    """The whole story of one seed."""
    shape = draw(seed)
    cluster = Cluster(shape, seed)
    before = Faults(cluster, BEFORE)
    cluster.power_on()
    before.begin()
    fates = None
    while fates is None:
        cluster.run_for(BEFORE.duration_s * cluster.dice.random())
        fates = draw_fates(cluster)
    before.cease()
    lose(cluster, fates)
    cluster.run_for(cluster.dice.uniform(*HASTE_S))
    cluster.run_for(listens_s(shape))
    go_alone(cluster, fates.alone)
    cluster.run_for(cluster.dice.choice((0.0, shape.lease_s)))
    bring_back(cluster, fates)
    after = Faults(cluster, AFTER)
    after.begin()
    cluster.run_for(AFTER.duration_s)
    after.end()
    runs_s = shape.lease_s + START_S + STOP_S + COOL_S
    cluster.run_for(LEADER_S + RESTART_S + runs_s, lambda: cluster.settled)
    cluster.run_for(max(WATCH_S, JOIN_S))
    cluster.run_for(COOL_S + runs_s, lambda: cluster.settled)
    cluster.close()
    verdicts = check_safety(cluster.history, shape.lease_s)
    verdicts.append(check_liveness(cluster.history, LEADER_S + RESTART_S, runs_s, WATCH_S))
    verdicts.append(belonging(cluster, fates))
    return Outcome(seed, shape, cluster.history, verdicts, cluster.events, "recovery")


def belonging(cluster: Cluster, fates: Fates) -> Verdict:
    """In the end an empty disk is of the new cluster, and an old one is not."""
    there = {name: machine.node.cluster for name, machine in cluster.machines.items() if machine.node is not None}
    wrong = [m.name for m in (fates.alone, *fates.anew) if there.get(m.name) != NEW]
    wrong += [m.name for m in fates.back if there.get(m.name, NEW) == NEW]
    return Verdict("each where it belongs", FALSE if wrong else TRUE, f"{' '.join(wrong)}: {there}" if wrong else "")
