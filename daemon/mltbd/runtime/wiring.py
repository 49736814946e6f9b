"""From what the operator configured to what the core is told. Nothing else knows both."""

from __future__ import annotations

from collections.abc import Mapping

from mltbd.config import leaving
from mltbd.config.checks import CheckSpec
from mltbd.config.settings import Settings
from mltbd.core.failover import Policy
from mltbd.core.founding import Founder
from mltbd.core.health import JOURNAL, NODE, Rule
from mltbd.core.node_config import NodeConfig
from mltbd.core.workload import Patience
from mltbd.runtime.store_params import Offer

LOOKS_SURVIVED = 2
"""A workload that two health checks in a row find running has started well."""


def node_config(settings: Settings, cluster_id: str, version: str) -> NodeConfig:
    """`cluster_id` is the identity a new cluster gets if this node founds one."""
    seeds = tuple(f"{host}:{port}" for host, port in settings.seeds)
    return NodeConfig(
        node=settings.node_id,
        cluster_id=cluster_id,
        timing=settings.timing,
        cluster_name=settings.cluster_name,
        address=settings.advertise_address,
        port=settings.port,
        role=settings.role,
        priority=settings.priority,
        founder=Founder(settings.founder, settings.min_nodes, 1 + len(set(seeds))),
        seeds=seeds,
        heartbeat_s=settings.heartbeat_s,
        node_timeout_s=settings.node_timeout_s,
        quorum_size=settings.quorum_size,
        policy=Policy(
            automatic=settings.failover_enabled and settings.failover_mode == "automatic",
            timeout_s=settings.failover_timeout_s,
            max_attempts=settings.max_attempts,
            recovery_wait_s=settings.recovery_wait_s,
            preferred=preferred(settings),
            spread=settings.spread,
        ),
        patience=Patience(
            settings.failure_threshold,
            settings.recovery_wait_s,
            LOOKS_SURVIVED * settings.health_check_interval_s,
            settings.max_attempts,
        ),
        workloads=tuple(workload.name for workload in settings.workloads),
        leave_s=leaving.daemon_s(settings.workloads),
        version=version,
        checks=rules_of(settings.checks),
        lease_enforced=settings.lease_enforced,
    )


def rules_of(checks: tuple[CheckSpec, ...]) -> tuple[Rule, ...]:
    """How the core is to judge these checks; what they look at is not its business."""
    journal = Rule(NODE, JOURNAL, failures=1)  # Nobody configures it.
    return (*map(_rule, checks), journal)


def _rule(check: CheckSpec) -> Rule:
    # A heartbeat may just have been seen when it ends, and a look just have passed.
    notices_s = check.failures * (check.interval_s + check.timeout_s) + (check.kind == "heartbeat") * check.max_age_s
    return Rule(check.workload, check.name, check.failures, check.successes, check.grace_s, check.interval_s, notices_s)


def preferred(settings: Settings) -> Mapping[str, tuple[str, ...]]:
    """Per workload: its own list first, then the primary and the secondaries of all; not where they are spread."""
    if settings.spread:
        return {w.name: w.preferred for w in settings.workloads}
    general = ((settings.primary_node,) if settings.primary_node else ()) + settings.secondary_nodes
    return {w.name: tuple(dict.fromkeys((*w.preferred, *general))) for w in settings.workloads}


def offer(settings: Settings) -> Offer:
    """What the clients of this node get."""
    on = {"state": settings.state_enabled, "lock": settings.locks_enabled}
    off = frozenset(kind for kind, offered in on.items() if not offered)
    return Offer(off, settings.lock_ttl_s, settings.lock_extend_s)
