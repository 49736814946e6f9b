"""Statuses as a daemon would send them: one healthy cluster and what can befall it."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = 1_790_000_000.0  # the moment these pictures are looked at


def instant(seconds_ago: float, now: float = NOW) -> str:
    """An RFC 3339 instant that long before `now`."""
    then = datetime.fromtimestamp(now, UTC) - timedelta(seconds=seconds_ago)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def node(name: str, **changes: Any) -> dict[str, Any]:
    """A healthy follower."""
    number = int(name[-1])
    return {
        "id": name, "address": f"10.0.1.{9 + number}", "port": 7946, "state": "ACTIVE", "role": "voter",
        "priority": 110 - 10 * number, "health": "HEALTHY", "incarnation": 7, "last_seen_seconds": 0.3,
        "rtt_ms": 0.8, "applied_index": 918, "lag": 0, "version": "0.1.0",
        "protocol": {"oldest": 1, "newest": 1},
    } | changes  # fmt: skip


def unmet(name: str) -> dict[str, Any]:
    """A voter that nobody has met since the viewing node started: nothing else is known of it."""
    nothing = dict.fromkeys(("address", "port", "role", "priority", "rtt_ms", "applied_index", "lag", "version"))
    return node(name, **nothing, state="UNREACHABLE", answers=False, last_seen_seconds=None, voter=True, protocol=None)


def workload(**changes: Any) -> dict[str, Any]:
    """`main`, running on n1 for three days."""
    return {
        "name": "main", "owner": "n1", "token": 907, "state": "RUNNING", "since": instant(3 * 86_400 + 4 * 3600),
        "pid": 8123, "health": "HEALTHY", "restarts": 0, "lease_remaining_seconds": 2.1,
    } | changes  # fmt: skip


def healthy(viewer: str = "n2") -> dict[str, Any]:
    """Three voters, n1 leads and runs `main`."""
    return {
        "view": {"node": viewer, "age_seconds": 0.3},
        "cluster": {
            "name": "homelab", "id": "3f0c", "state": "STABLE", "is_healthy": True, "term": 41, "leader": "n1",
            "quorum": {"voters": 3, "needed": 2, "reachable": 3, "has_quorum": True}, "failure_tolerance": 1,
            "total_nodes": 3, "active_nodes": 3, "paused": None,
            "protocol": {"level": 1, "waits": None},
        },
        "nodes": [
            node("n1", state="LEADER"),
            node("n2", rtt_ms=None, last_seen_seconds=0.0),
            node("n3", rtt_ms=12.4, last_seen_seconds=0.9),
        ],
        "workloads": [workload()],
        "failover": {
            "state": "NORMAL", "mode": "automatic", "primary_node": "n1", "secondary_nodes": ["n2", "n3"],
            "last_failover_time": instant(6 * 86_400), "failback_in_seconds": None,
        },
        "locks": {"held": 0}, "state_revision": 918, "alerts": [],
    }  # fmt: skip


def changed(picture: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """A copy with parts of it updated: a dict into a dict, anything else in its place. Healthy is what is stable."""
    result = copy.deepcopy(picture)
    for key, value in parts.items():
        if isinstance(value, dict):
            result[key].update(value)
        else:
            result[key] = value
    result["cluster"]["is_healthy"] = result["cluster"]["state"] == "STABLE"
    return result


def with_an_unmet_voter() -> dict[str, Any]:
    """n1 and n2 were restarted; n3, which has a vote, was not there since."""
    quorum = {"voters": 3, "needed": 2, "reachable": 2, "has_quorum": True}
    picture = changed(healthy(), cluster={"state": "DEGRADED", "quorum": quorum, "failure_tolerance": 0})
    picture["nodes"][2] = unmet("n3")
    return picture


def failing_over() -> dict[str, Any]:
    """n1 has gone; n2 leads and waits for n1's lease to run out."""
    return changed(
        healthy(),
        cluster={
            "state": "DEGRADED", "term": 42, "leader": "n2", "failure_tolerance": 0,
            "active_nodes": 2, "quorum": {"voters": 3, "needed": 2, "reachable": 2, "has_quorum": True},
        },
        nodes=[
            node("n1", state="UNREACHABLE", health="UNKNOWN", last_seen_seconds=4.2, rtt_ms=None, lag=None),
            node("n2", state="LEADER", rtt_ms=None, last_seen_seconds=0.0),
            node("n3", rtt_ms=12.4, last_seen_seconds=0.9),
        ],
        workloads=[workload(state="UNKNOWN", lease_remaining_seconds=None, pid=None)],
        failover={"state": "FAILING_OVER"},
    )  # fmt: skip


def no_quorum() -> dict[str, Any]:
    """n2 alone: n1 and n3 do not answer."""
    return changed(
        healthy(),
        cluster={
            "state": "NO_QUORUM", "leader": None, "failure_tolerance": 0, "active_nodes": 1,
            "quorum": {"voters": 3, "needed": 2, "reachable": 1, "has_quorum": False},
        },
        nodes=[
            node("n1", state="UNREACHABLE", health="UNKNOWN", last_seen_seconds=272.0, rtt_ms=None, lag=None),
            node("n2", rtt_ms=None, last_seen_seconds=0.0),
            node("n3", state="UNREACHABLE", health="UNKNOWN", last_seen_seconds=268.0, rtt_ms=None, lag=None),
        ],
        workloads=[workload(owner=None, state="UNKNOWN", lease_remaining_seconds=None, pid=None, since=None)],
    )  # fmt: skip


def with_witness() -> dict[str, Any]:
    """Two machines and a witness; n2 has `main` and it will go home soon."""
    return changed(
        healthy(),
        nodes=[
            node("n1"),
            node("n2", state="LEADER", rtt_ms=None, last_seen_seconds=0.0),
            node("w1", id="w1", role="witness", priority=0, rtt_ms=21.3, last_seen_seconds=0.9, health="DEGRADED"),
        ],
        cluster={"leader": "n2", "term": 43},
        workloads=[workload(owner="n2", since=instant(95.0), restarts=2)],
        failover={"state": "FAILED_OVER", "failback_in_seconds": 272.0, "last_failover_time": instant(96.0)},
    )


def paused_and_drained() -> dict[str, Any]:
    """Somebody works on n3, and paused the cluster for it."""
    drained = {"since": "2026-01-02T03:04:05Z", "by": "ann@desk", "reason": "new disk"}
    paused = {"since": "2026-01-02T03:04:05Z", "until": "2026-01-02T03:34:05Z", "by": "ann@desk", "reason": "new disk",
              "remaining_seconds": 720.0}  # fmt: skip
    nodes = [*healthy()["nodes"][:2], node("n3", rtt_ms=12.4, last_seen_seconds=0.9, drained=drained)]
    return changed(healthy(), cluster={"paused": paused}, nodes=nodes)


def one_node() -> dict[str, Any]:
    """The development preset."""
    return changed(
        healthy("n1"),
        cluster={
            "name": "dev", "failure_tolerance": 0, "total_nodes": 1, "active_nodes": 1, "term": 1,
            "quorum": {"voters": 1, "needed": 1, "reachable": 1, "has_quorum": True},
        },
        nodes=[node("n1", state="LEADER", rtt_ms=None, last_seen_seconds=0.0)],
        failover={"secondary_nodes": [], "last_failover_time": None},
    )  # fmt: skip


def unreachable_node() -> dict[str, Any]:
    """n3 has gone, nobody needs it right now."""
    return changed(
        healthy(),
        cluster={
            "state": "DEGRADED", "failure_tolerance": 0, "active_nodes": 2,
            "quorum": {"voters": 3, "needed": 2, "reachable": 2, "has_quorum": True},
        },
        nodes=[
            node("n1", state="LEADER"),
            node("n2", rtt_ms=None, last_seen_seconds=0.0),
            node("n3", state="UNREACHABLE", health="UNKNOWN", last_seen_seconds=4000.0, rtt_ms=None, lag=None),
        ],
    )  # fmt: skip


def failed_workload() -> dict[str, Any]:
    """A second workload was given up, the first is ill; the cluster forms an alert of its own."""
    return changed(
        healthy(),
        cluster={"state": "DEGRADED"},
        workloads=[
            workload(health="UNHEALTHY", restarts=1),
            workload(name="web", state="FAILED", pid=None, lease_remaining_seconds=None, since=None),
            workload(name="jobs", owner=None, state="STOPPED", pid=None, lease_remaining_seconds=None, since=None),
        ],
        failover={"state": "FAILED", "mode": "manual"},
        locks={"held": 2},
        alerts=[{"severity": "warning", "message": "n3's clock is 4 s off"}],
    )


def copies() -> dict[str, Any]:
    """`web` runs on every node: n2 is lost, on n3 it has failed."""
    web = {"singleton": False, "pid": None, "since": None, "lease_remaining_seconds": None}
    picture = changed(unreachable_node(), view={"node": "n1"})
    picture["nodes"][1:] = [
        node("n2", state="UNREACHABLE", health="UNKNOWN", last_seen_seconds=3.1, rtt_ms=None, lag=None, answers=False),
        node("n3"),
    ]
    return changed(
        picture,
        workloads=[
            workload(singleton=True),
            workload(name="web@n1", singleton=False, pid=8130, token=908),
            workload(**web, name="web@n2", owner="n2", state="UNKNOWN", token=909),
            workload(**web, name="web@n3", owner=None, state="FAILED", token=None, reason="exited with status 1"),
        ],
    )


def forming() -> dict[str, Any]:
    """Two empty nodes wait for a third."""
    return changed(
        healthy("n1"),
        cluster={
            "state": "FORMING", "leader": None, "failure_tolerance": 0, "term": 0, "name": "",
            "quorum": {"voters": 0, "needed": 1, "reachable": 0, "has_quorum": False},
        },
        nodes=[node("n1", state="JOINING", last_seen_seconds=0.0, rtt_ms=None), node("n2", state="JOINING")],
        workloads=[],
        failover={"primary_node": None, "last_failover_time": None},
        alerts=[{"kind": "forming", "message": "waiting for nodes: 2 of 3 have met"}],
    )  # fmt: skip


PICTURES = {
    "healthy": healthy,
    "failing-over": failing_over,
    "no-quorum": no_quorum,
    "witness": with_witness,
    "one-node": one_node,
    "unreachable-node": unreachable_node,
    "failed-workload": failed_workload,
    "copies": copies,
    "forming": forming,
}
