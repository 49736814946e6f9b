"""The four presets: what each sets differently from the defaults, and in a line what for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mltbd.config.options import Value


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of option values, the lowest layer of a configuration."""

    name: str
    nodes: str
    doc: str
    values: Mapping[str, Value]


_EVERYTHING: dict[str, Value] = {
    "CLUSTER_ENABLED": True,
    "FAILOVER_ENABLED": True,
    "REPLICATION_ENABLED": True,
    "DISTRIBUTED_STATE_ENABLED": True,
    "DISTRIBUTED_LOCKS_ENABLED": True,
    "HEALTH_MONITOR_ENABLED": True,
}

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "development",
            "1",
            "one node that founds its cluster alone, with health checks and debug output",
            {
                "CLUSTER_ENABLED": True,
                "CLUSTER_BOOTSTRAP": True,
                "HEALTH_MONITOR_ENABLED": True,
                "HA_MIN_NODES": 1,
                "HA_QUORUM_SIZE": 1,
                "HA_DEBUG_MODE": True,
                "HA_LOG_LEVEL": "DEBUG",
            },
        ),
        Preset(
            "simple_failover",
            "2",
            "one node runs the workload, another takes over; add a witness to survive a loss",
            {
                "CLUSTER_ENABLED": True,
                "FAILOVER_ENABLED": True,
                "HEALTH_MONITOR_ENABLED": True,
                "HA_STRATEGY": "active_passive",
                "HA_MIN_NODES": 2,
                "HA_QUORUM_SIZE": 2,
            },
        ),
        Preset(
            "full_ha",
            "3",
            "everything on, any one node may be lost",
            {
                **_EVERYTHING,
                "REPLICATION_CONSISTENCY": "quorum",
                "DISTRIBUTED_STATE_CONSISTENCY": "quorum",
                "HA_STRATEGY": "active_active",
                "HA_MIN_NODES": 3,
                "HA_QUORUM_SIZE": 2,
            },
        ),
        Preset(
            "distributed",
            "5 or more",
            "everything on, workloads spread over the nodes, any two nodes may be lost",
            {
                **_EVERYTHING,
                "REPLICATION_MODE": "multi_master",
                "HA_STRATEGY": "distributed",
                "HA_MIN_NODES": 5,
                "HA_QUORUM_SIZE": 3,
            },
        ),
    )
}
