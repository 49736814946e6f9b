"""Clusters brought into a wanted position, for stories that are told on purpose instead of drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.sim.checkers import TRUE, check_levels, check_safety
from tests.sim.cluster import WORKLOAD, Cluster, Shape
from tests.sim.history import Deposed, Down, Leads, Up
from tests.sim.machine import Machine

PATIENCE_S = 20.0
CALM_S = 1.5


def voters(count: int, lease_s: float = 3.0, **changes: object) -> Shape:
    """A cluster of equals."""
    shape = Shape(roles=("voter",) * count, priorities=(100,) * count, lease_s=lease_s)
    return replace(shape, **changes)  # type: ignore[arg-type]


def healthy(shape: Shape, seed: int) -> Cluster:
    """Founded, led, running, and so for a while."""
    cluster = Cluster(shape, seed)
    cluster.power_on()
    until(cluster, lambda: cluster.settled, "a healthy cluster")
    cluster.run_for(CALM_S + cluster.dice.random())
    return cluster


def until(cluster: Cluster, wish: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> float:
    """Let time pass until `wish`; how long it took."""
    began = cluster.now
    if not wish() and not cluster.run_for(patience_s, wish):
        raise AssertionError(f"no {what} within {patience_s:g} s")
    return cluster.now - began


def leader(cluster: Cluster) -> Machine:
    found = cluster.leader
    assert found is not None, "nobody leads"
    return found


def owner(cluster: Cluster) -> Machine:
    (found,) = cluster.owners
    return found


def apart(cluster: Cluster, *, same: bool) -> None:
    """Have the owner be the leader, or another node, by a switchover if need be."""
    if (owner(cluster) is leader(cluster)) != same:
        names = [name for name in cluster.machines if name != owner(cluster).name]
        switch(cluster, leader(cluster).name if same else names[0])
    cluster.run_for(CALM_S + cluster.dice.random())
    assert (owner(cluster) is leader(cluster)) == same


def switch(cluster: Cluster, target: str) -> None:
    """Have this node be the owner, by a switchover."""
    cluster.ask(leader(cluster), "switchover", target)
    until(cluster, lambda: cluster.settled and owner(cluster).name == target, f"switchover to {target}")


def around(cluster: Cluster, name: str) -> list[tuple[str, str]]:
    """Every link of this node, both ways."""
    return [pair for other in cluster.machines if other != name for pair in ((name, other), (other, name))]


def downs(cluster: Cluster, since: float) -> list[Down]:
    return [h for h in cluster.history if isinstance(h, Down) and h.at >= since]


def ups(cluster: Cluster, since: float) -> list[Up]:
    return [h for h in cluster.history if isinstance(h, Up) and h.at >= since]


def reigns(cluster: Cluster, since: float) -> list[Leads]:
    return [h for h in cluster.history if isinstance(h, Leads) and h.at >= since]


def depositions(cluster: Cluster, since: float) -> list[Deposed]:
    return [h for h in cluster.history if isinstance(h, Deposed) and h.at >= since]


def all_safe(cluster: Cluster) -> None:
    """No promise was broken on the way."""
    cluster.close()
    shape = cluster.shape
    verdicts = check_safety(cluster.history, shape.lease_s)
    if shape.newest:
        verdicts += check_levels(cluster.history, shape.level_patience_s, 1.01 * 2 * shape.timing.election_s)
    broken = [str(v) for v in verdicts if v.answer != TRUE]
    assert not broken, broken


__all__ = ["WORKLOAD", "all_safe", "apart", "around", "depositions", "downs", "healthy", "leader", "owner", "reigns",
           "switch", "until", "ups", "voters"]  # fmt: skip
