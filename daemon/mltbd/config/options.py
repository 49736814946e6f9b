"""Every option there is: name, kind, default, range, unit, one line of documentation. A table, no logic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mltb_transport.limits import PORT_MAX

Value = bool | int | float | str | tuple[str, ...] | None
Kind = Literal[
    "bool",
    "int",
    "seconds",
    "number",
    "text",
    "name",
    "node",
    "nodes",
    "address",
    "addresses",
    "choice",
    "path",
]

STRATEGIES = ("active_passive", "active_active", "distributed")
RISKS = ("none", "two_owners")
CONSISTENCIES = ("eventual", "quorum", "strong")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOG_FORMATS = ("plain", "json")
DAY_S = 86400.0

NOT_BUILT = (
    "replication", "state beside the log", "component checks", "alerts", "operation limits",
    "compression", "backup", "metrics",
)  # fmt: skip
"""Features this version does not have."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `default` None: it is worked out from others (see derive.py), or there is none."""

    name: str
    kind: Kind
    default: Value
    doc: str
    feature: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    secret: bool = False
    """Its value is never printed."""

    @property
    def built(self) -> bool:
        """This version does what the option asks for."""
        return self.feature not in NOT_BUILT


def _on(name: str, default: bool | None, doc: str, feature: str) -> Option:
    return Option(name, "bool", default, doc, feature)


def _number(name: str, default: int, doc: str, feature: str, low: int, high: int) -> Option:
    return Option(name, "int", default, doc, feature, low=low, high=high)


def _seconds(name: str, default: float | None, doc: str, feature: str, low: float = 0.1, high: float = DAY_S) -> Option:
    return Option(name, "seconds", default, doc, feature, low=low, high=high, unit="s")


def _choice(name: str, default: str, doc: str, feature: str, choices: tuple[str, ...]) -> Option:
    return Option(name, "choice", default, doc, feature, choices=choices)


_CLUSTER = (
    _on("CLUSTER_ENABLED", False, "be a member of a cluster", "cluster"),
    Option("CLUSTER_NODE_ID", "node", None, "this node; the host's name unless given", "cluster"),
    Option("CLUSTER_NAME", "name", "mltb", "name of the cluster, for people", "cluster"),
    Option("CLUSTER_ADDRESS", "address", None, "where to listen; loopback without a secret", "cluster"),
    Option("CLUSTER_ADVERTISE_ADDRESS", "address", None, "where the others reach this node", "cluster"),
    Option(
        "CLUSTER_PORT", "int", 7946, "gossip port; consensus and control use the next one", "cluster",
        low=1, high=PORT_MAX,
    ),
    Option("CLUSTER_SEED_NODES", "addresses", (), "nodes to meet first, as host:port", "cluster"),
    _seconds("CLUSTER_HEARTBEAT_INTERVAL", 5.0, "between two gossips of this node", "cluster", high=300),
    _seconds("CLUSTER_NODE_TIMEOUT", 15.0, "silence that makes a member UNREACHABLE", "cluster", high=3600),
    _choice(
        "CLUSTER_ROLE", "voter", "a witness votes and runs nothing, an observer has no vote",
        "cluster", ("voter", "witness", "observer"),
    ),
    _on("CLUSTER_BOOTSTRAP", None, "this node, and no other, founds the cluster", "cluster"),
    Option("CLUSTER_SECRET", "text", None, "from `mltbctl secret new`", "security", secret=True),
    Option("CLUSTER_SECRET_FILE", "path", None, "file with the secret, mode 0600", "security"),
    Option(
        "CLUSTER_SECRET_SECOND", "text", None, "also taken, while the secret is changed on one node after the other",
        "security", secret=True,
    ),
    _choice("CLUSTER_ACCEPT_RISK", "none", "names a risk that another option takes", "cluster", RISKS),
    _on("CLUSTER_INSECURE", False, "listen beyond loopback without a secret", "security"),
    _seconds("CLUSTER_ELECTION_TIMEOUT", 10.0, "upper bound on one election", "election", high=300),
    _number("CLUSTER_NODE_PRIORITY", 100, "higher leads and owns first", "election", 0, 1000),
    _seconds("CLUSTER_LEASE_DURATION", None, "others start it no sooner; from the next grant on", "lease", low=0.001),
)  # fmt: skip

_FAILOVER = (
    _on("FAILOVER_ENABLED", False, "move a workload when its node is lost; on in a cluster unless given", "failover"),
    _choice("FAILOVER_MODE", "automatic", "who decides to move", "failover", ("automatic", "manual")),
    _seconds("FAILOVER_TIMEOUT", 30.0, "longest one failover may take", "failover", high=3600),
    _seconds(
        "FAILOVER_HEALTH_CHECK_INTERVAL", 5.0, "a workload that lives through two of these has started well",
        "failover", high=3600,
    ),
    _number("FAILOVER_FAILURE_THRESHOLD", 3, "failures in a row before a node gives up", "failover", 1, 1000),
    _number("FAILOVER_MAX_ATTEMPTS", 3, "nodes tried before a workload is FAILED", "failover", 1, 1000),
    _seconds(
        "FAILOVER_RECOVERY_WAIT_TIME", 60.0, "how long a node is well before a failback to it", "failover",
        low=0, high=30 * DAY_S,
    ),
    Option("FAILOVER_PRIMARY_NODE", "node", None, "owns the workloads where it can, and founds", "failover"),
    Option("FAILOVER_SECONDARY_NODES", "nodes", (), "nodes to move to, best first", "failover"),
)  # fmt: skip

_R = "replication"
_REPLICATION = (
    _on("REPLICATION_ENABLED", False, "copy a bot's data to the other nodes", _R),
    _choice("REPLICATION_MODE", "master_slave", "who may write", _R, ("master_slave", "multi_master")),
    _choice("REPLICATION_CONSISTENCY", "eventual", "copies before a write counts", _R, CONSISTENCIES),
    _choice(
        "REPLICATION_CONFLICT_RESOLUTION", "last_write_wins", "which of two writes stays", _R,
        ("last_write_wins", "first_write_wins", "merge", "manual"),
    ),
    Option("REPLICATION_MASTER_NODE", "node", None, "the node that writes", _R),
    Option("REPLICATION_SLAVE_NODES", "nodes", (), "the nodes that copy", _R),
    _seconds("REPLICATION_SYNC_INTERVAL", 5.0, "between two batches", _R),
    _number("REPLICATION_BATCH_SIZE", 100, "items in one batch", _R, 1, 100_000),
    _on("REPLICATION_ASYNC_WRITES", True, "do not wait for the copies", _R),
    _on("REPLICATION_REPLICATE_TASKS", True, "copy tasks", _R),
    _on("REPLICATION_REPLICATE_CONFIG", True, "copy the bot's configuration", _R),
    _on("REPLICATION_REPLICATE_STATS", False, "copy statistics", _R),
    _on("REPLICATION_REPLICATE_LOGS", False, "copy logs", _R),
)  # fmt: skip

_STATE = (
    _on("DISTRIBUTED_STATE_ENABLED", True, "key-values for the clients of this node", "state"),
    _choice(
        "DISTRIBUTED_STATE_BACKEND", "memory", "where they are kept", "state beside the log",
        ("memory", "redis", "etcd"),
    ),
    _seconds("DISTRIBUTED_STATE_SYNC_INTERVAL", 5.0, "between two exchanges", "state beside the log"),
    _choice(
        "DISTRIBUTED_STATE_CONSISTENCY", "eventual", "kept whatever it says: reads are linearizable unless asked stale",
        "state", CONSISTENCIES,
    ),
    _on("DISTRIBUTED_LOCKS_ENABLED", True, "locks for the clients of this node", "state"),
    _seconds("DISTRIBUTED_LOCK_DEFAULT_TTL", 30.0, "of a lock acquired without a `--ttl`", "state"),
    _on("DISTRIBUTED_LOCK_AUTO_EXTEND", True, "`lock run` and `Client.lock` extend their lock", "state"),
    _seconds("DISTRIBUTED_LOCK_EXTEND_INTERVAL", 10.0, "between two extensions, at most a third of the ttl", "state"),
)  # fmt: skip

_H = "component checks"
_HEALTH = (
    _on("HEALTH_MONITOR_ENABLED", None, "run the checks; on whenever some are written", "health"),
    _seconds("HEALTH_CHECK_INTERVAL", 30.0, "between two runs of one check, unless it says", "health"),
    _seconds("HEALTH_CHECK_TIMEOUT", 5.0, "longest one check may take, unless it says", "health"),
    _number("HEALTH_FAILURE_THRESHOLD", 3, "failures in a row before UNHEALTHY, unless it says", "health", 1, 1000),
    _on("HEALTH_RECOVERY_ENABLED", True, "call recovery callbacks", _H),
    *(
        _on(
            f"HEALTH_CHECK_{part}",
            True,
            f"check components of type {part.rstrip('S') if part == 'NODES' else part}",
            _H,
        )
        for part in ("NODES", "DATABASE", "CACHE", "QUEUE", "STORAGE", "API")
    ),
)

_HA = (
    _choice("HA_STRATEGY", "active_passive", "where workloads run", "cluster", STRATEGIES),
    _number("HA_MIN_NODES", 2, "nodes that must have met before the cluster is founded", "cluster", 1, 99),
    _number("HA_QUORUM_SIZE", 2, "votes needed; may raise the majority, never lower it", "cluster", 1, 99),
    _on("SPLIT_BRAIN_PREVENTION", True, "a side without a majority runs nothing", "cluster"),
    _on("HA_ALERT_ON_FAILOVER", True, "alert when a workload moved", "alerts"),
    _on("HA_ALERT_ON_NODE_DOWN", True, "alert when a node is lost", "alerts"),
    _on("HA_ALERT_ON_SPLIT_BRAIN", True, "alert when the cluster is cut in two", "alerts"),
    _on("HA_ALERT_ON_REPLICATION_LAG", True, "alert when a copy lags", "alerts"),
    _seconds("HA_REPLICATION_LAG_THRESHOLD", 60.0, "lag that is worth an alert", "alerts"),
    _seconds("HA_NETWORK_TIMEOUT", 10.0, "longest wait for another node's answer", "cluster", high=3600),
    _seconds(
        "HA_OPERATION_TIMEOUT", 30.0, "longest an operator's request may take to be in the log", "cluster", high=3600
    ),
    _number("HA_RETRY_ATTEMPTS", 3, "times a request is tried again", "operation limits", 0, 1000),
    _choice(
        "HA_RETRY_BACKOFF", "exponential", "how the wait between tries grows", "operation limits",
        ("exponential", "linear", "fixed"),
    ),
    _number("HA_MAX_CONCURRENT_OPERATIONS", 100, "requests served at a time", "operation limits", 1, 100_000),
    _number("HA_CONNECTION_POOL_SIZE", 10, "connections kept open", "operation limits", 1, 10_000),
    _on("HA_COMPRESSION_ENABLED", False, "compress what is sent", "compression"),
    _on("HA_ENCRYPTION_ENABLED", None, "encrypt and authenticate; on whenever a secret is set", "security"),
    _on("HA_BACKUP_ENABLED", False, "take backups", "backup"),
    _seconds("HA_BACKUP_INTERVAL", 3600.0, "between two backups", "backup", high=30 * DAY_S),
    Option("HA_BACKUP_RETENTION", "number", 7.0, "how long one is kept", "backup", 0.1, 3650, unit="days"),
    _on("HA_DEBUG_MODE", False, 'short for `HA_LOG_LEVEL = "DEBUG"`', "cluster"),
    _choice("HA_LOG_LEVEL", "INFO", "what is logged", "cluster", LOG_LEVELS),
    _choice("HA_LOG_FORMAT", "plain", "the form of the daemon's log on stderr", "cluster", LOG_FORMATS),
    _on("HA_METRICS_ENABLED", True, "count and export", "metrics"),
)  # fmt: skip

OPTIONS: dict[str, Option] = {
    option.name: option for option in _CLUSTER + _FAILOVER + _REPLICATION + _STATE + _HEALTH + _HA
}

PREFIXES = ("CLUSTER_", "FAILOVER_", "REPLICATION_", "DISTRIBUTED_", "HEALTH_", "HA_", "SPLIT_BRAIN_")
"""Environment variables that begin like this are ours: an unknown one is a mistake."""
