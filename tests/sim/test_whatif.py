"""`simulate` against what then happens: the answer is asked first, then the same fault strikes the cluster."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from mltbd.whatif import answer
from mltbd.whatif.faults import Fault, parse
from mltbd.whatif.position import Position, packed, position_of, unpacked
from tests.sim.cluster import WORKLOAD, Cluster
from tests.sim.history import Down, Up
from tests.sim.stage import apart, healthy, leader, owner, voters

pytestmark = pytest.mark.sim

SEEDS = range(1, 1 + max(4, int(os.environ.get("MLTB_SIM_SEEDS", "200")) // 400))
WORLDS = 5
TOLERANCE_S = 0.7
"""Elections and stops are drawn by chance: a few worlds do not meet every extreme."""


def position(cluster: Cluster) -> Position:
    """As the leader would hand it to the process that simulates."""
    machine = leader(cluster)
    assert machine.node is not None
    now = machine.clock.local(cluster.now)
    return unpacked(json.loads(json.dumps(packed(position_of(machine.node, set(cluster.machines), now)))))


def strike(cluster: Cluster, fault: Fault) -> None:
    cluster.network.block(fault.apart)
    for name in fault.nodes:
        if fault.verb == "kill":
            cluster.machines[name].crash_machine()
        elif fault.verb == "stop":
            cluster.machines[name].ask_to_stop()


def happened(cluster: Cluster, fault: Fault) -> tuple[str, str, float | None]:
    """Who leads and who owns in the end, and for how long nothing ran; None where nothing runs."""
    began = cluster.now
    strike(cluster, fault)
    cluster.run_for(4 * cluster.shape.lease_s + 4)
    down_s, since = 0.0, None
    for happening in cluster.history:
        if isinstance(happening, Down) and happening.at >= began:
            since = happening.at
        elif isinstance(happening, Up) and happening.at >= began and since is not None:
            down_s, since = down_s + happening.at - since, None
    led = cluster.leader.name if cluster.leader is not None else ""
    runs = [m.name for m in cluster.machines.values() if WORKLOAD in m.guard.runs]
    return led, runs[0] if runs else "", None if since is not None else down_s


def nodes(counted: list[dict[str, Any]]) -> set[str]:
    return {each["node"] or "" for each in counted}


def compare(seed: int, size: int, text: str, same: bool) -> None:
    cluster = healthy(voters(size), seed)
    apart(cluster, same=same)
    now = position(cluster)
    fault = parse(text, now.names, leader(cluster).name, owner(cluster).name)
    told = answer.ask(now, fault, WORLDS)
    where = f"seed {seed}, {fault}: {told}"
    assert told["overlaps"] == 0, where
    assert told["leader"]["before"] == leader(cluster).name, where
    (workload,) = told["workloads"]
    assert workload["before"] == owner(cluster).name, where
    led, ran, down_s = happened(cluster, fault)
    assert ran in nodes(workload["after"]), f"{where}, but it ran on {ran or 'nobody'}"
    assert (led == "") == (nodes(told["leader"]["after"]) == {""}), f"{where}, but {led or 'nobody'} led"
    span = workload["downtime_seconds"]
    if down_s is None:
        assert span is None, f"{where}, but it ran nowhere"
    else:
        assert span is not None, f"{where}, but it ran on {ran}"
        assert span["min"] - TOLERANCE_S <= down_s <= span["max"] + TOLERANCE_S, f"{where}, but was down {down_s:.2f} s"


@pytest.mark.parametrize("same", [True, False], ids=["leader owns", "apart"])
@pytest.mark.parametrize(
    ("size", "text"),
    [
        (3, "kill owner"),
        (3, "kill leader"),
        (3, "kill n3"),
        (3, "stop owner"),
        (3, "kill n1 n2"),
        (3, "split n1 | n2 n3"),
        (3, "split n1 n2 | n3"),
        (3, "split n1 | n2 | n3"),
        (5, "kill owner"),
        (5, "split n1 n2 | n3 n4 n5"),
    ],
)
def test_what_was_foretold_is_what_happens(size: int, text: str, same: bool) -> None:
    for seed in SEEDS:
        compare(seed, size, text, same)
