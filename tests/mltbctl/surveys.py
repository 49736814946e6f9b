"""Surveys as a daemon would send them: one of a healthy cluster, and how to spoil it."""

from __future__ import annotations

import copy
from typing import Any

NODES = ("n1", "n2", "n3")


def facts(node: str) -> dict[str, Any]:
    """What a healthy node tells of itself."""
    heard = {
        other: {"state": "ACTIVE", "silent_seconds": 0.3, "rtt_ms": 0.8, "link": "up"}
        for other in NODES if other != node
    }  # fmt: skip
    return {
        "node": node, "version": "0.1.0", "protocol": {"oldest": 1, "newest": 1, "level": 1},
        "incarnation": 7, "has_quorum": True, "leader": "n1", "heard": heard,
        "refused_by": [], "secret": {"uses": "0f1e2d3c", "also": None, "insecure": False},
        "loop": {"worst_lag_seconds": 0.004, "over_seconds": 60.0},
        "disk": {"free_bytes": 83_000_000_000, "free_percent": 31.0, "fdatasync_ms": 2.1},
        "guard": {"kill_path": "cgroup.kill", "daemon_restarts": 0},
        "systemd": {"supervised": True, "watchdog_seconds": 30.0},
        "options": {"CLUSTER_LEASE_DURATION": 3.0, "FAILOVER_TIMEOUT": 30.0, "FAILOVER_SECONDARY_NODES": []},
        "counters": {"auth_denied": 0, "handshake_failed": 0, "peer_refused": 0, "frame_error": 0, "own_name": 0,
                     "wrong_cluster": 0, "misdelivered": 0},
    }  # fmt: skip


def clock(**changes: Any) -> dict[str, Any]:
    """A clock that runs as it should."""
    return {
        "offset_seconds": 0.002, "offset_error_seconds": 0.0004, "rate_ppm": 12.0, "rate_error_ppm": 5.0,
        "over_seconds": 300.0,
    } | changes  # fmt: skip


def healthy() -> dict[str, Any]:
    """Seen by n2."""
    return {
        "node": "n2",
        "facts": {node: facts(node) for node in NODES},
        "silent": {},
        "clocks": {"n1": clock(), "n3": clock()},
    }


def spoilt(path: str, value: Any) -> dict[str, Any]:
    """The healthy one with another value at a dotted path."""
    survey = copy.deepcopy(healthy())
    place: Any = survey
    *way, last = path.split(".")
    for step in way:
        place = place[step]
    place[last] = value
    return survey
