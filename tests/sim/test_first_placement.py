"""Where a workload goes that nobody ever owned: to its best place, although the founder is there first."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mltb_transport.messages import Found
from mltbd.core.failover import Policy
from mltbd.core.node import Node
from tests.sim.cluster import Cluster
from tests.sim.stage import all_safe, reigns, until, ups, voters

pytestmark = pytest.mark.sim

AHEAD_S = 1.0
SLACK_S = 0.5
by_seed = pytest.mark.parametrize("seed", range(1, 9))
by_luck = pytest.mark.parametrize("lost", [False, True], ids=["founding-heard", "founding-lost"])


def founded(policy: Policy, seed: int, *workloads: str, lost: bool) -> Cluster:
    """The founder is there a second before the others. `lost`: its word of the founding is, so that the first Append
    of the leader brings it, and refusals come first."""
    cluster = Cluster(voters(3, policy=policy), seed)
    if lost:
        send = cluster.network.send

        def deaf(source: str, target: str, incarnation: int, of: str, message: object) -> None:
            if not isinstance(message, Found):
                send(source, target, incarnation, of, message)  # type: ignore[arg-type]

        cluster.network.send = deaf  # type: ignore[method-assign,assignment]
    first, *others = cluster.machines.values()
    for machine in cluster.machines.values():
        machine.reconfigure(workloads=workloads)
    first.power_on()
    cluster.run_for(AHEAD_S)
    for machine in others:
        machine.power_on()
    until(cluster, lambda: len(ups(cluster, 0.0)) == len(workloads), "start")
    assert cluster.now - reigns(cluster, 0.0)[-1].at < 2 * cluster.shape.timing.election_s + SLACK_S
    cluster.run_for(1.0)
    all_safe(cluster)
    return cluster


@by_luck
@by_seed
def test_it_starts_at_its_preferred_place(seed: int, *, lost: bool) -> None:
    cluster = founded(Policy(preferred={"main": ("n2",)}), seed, "main", lost=lost)
    assert [up.node for up in ups(cluster, 0.0)] == ["n2"]


@by_luck
@by_seed
def test_where_workloads_are_spread_each_starts_on_a_node_of_its_own(seed: int, *, lost: bool) -> None:
    cluster = founded(Policy(spread=True), seed, "main", "side", lost=lost)
    assert sorted(up.node for up in ups(cluster, 0.0)) == ["n1", "n2"]


STORIES = [test_it_starts_at_its_preferred_place, test_where_workloads_are_spread_each_starts_on_a_node_of_its_own]


@pytest.mark.parametrize("story", STORIES, ids=["preferred", "spread"])
def test_stories_fail_where_unknown_is_taken_for_unable(
    story: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Node, "ready", lambda node: node.owner.ready(node._now))
    with pytest.raises(AssertionError):
        story(1, lost=True)
