"""What a node is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field

from mltbd.core.archive import Compaction
from mltbd.core.failover import Policy
from mltbd.core.founding import Founder
from mltbd.core.health import Rule
from mltbd.core.level_rules import PATIENCE_S, Speaks
from mltbd.core.timing import Timing
from mltbd.core.workload import Patience


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What a node is told when it starts. `seeds` are `host:port`; `cluster_id` is used only if it founds."""

    node: str
    cluster_id: str
    timing: Timing
    cluster_name: str = "mltb"
    address: str = "127.0.0.1"
    port: int = 7946
    role: str = "voter"
    priority: int = 100
    founder: Founder = field(default_factory=lambda: Founder(False, 2, 1))
    seeds: tuple[str, ...] = ()
    heartbeat_s: float = 5.0
    node_timeout_s: float = 15.0
    quorum_size: int = 0
    policy: Policy = field(default_factory=Policy)
    compaction: Compaction = field(default_factory=Compaction)
    patience: Patience = field(default_factory=Patience)
    workloads: tuple[str, ...] = ("main",)
    leave_s: float = 10.0
    """How long leaving may take: its workloads stop in order, others take them over."""
    version: str = "0"
    checks: tuple[Rule, ...] = ()
    lease_enforced: bool = True
    speaks: Speaks = field(default_factory=Speaks)
    level_patience_s: float = PATIENCE_S
