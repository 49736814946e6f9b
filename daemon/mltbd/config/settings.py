"""The settings a daemon runs with: frozen, typed, every limit checked. `load` makes them from all layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from mltbd.config.checks import CheckSpec
from mltbd.config.derive import derive, seeds_of
from mltbd.config.layers import Sourced, merge
from mltbd.config.machine import Machine, this_machine
from mltbd.config.paths import config_file
from mltbd.config.problem import Problem, errors
from mltbd.config.validate import validate
from mltbd.config.view import View
from mltbd.config.workloads import WorkloadSpec, on_node
from mltbd.core.timing import Timing


@dataclass(frozen=True, slots=True)
class Settings:
    """What one node runs with. Durations in seconds; addresses as the operator wrote them."""

    cluster_enabled: bool
    """False: nothing to run; `mltbd run` refuses."""
    node_id: str
    cluster_name: str
    address: str
    """Where this node binds."""
    advertise_address: str
    """What this node tells the others to connect to."""
    port: int
    """Gossip; consensus and control use the next one."""
    seeds: tuple[tuple[str, int], ...]
    """(host, gossip port) of nodes to meet; this node itself is left out where it can be recognised."""
    role: Literal["voter", "witness", "observer"]
    priority: int
    founder: bool
    """This node, and no other, creates the cluster when it finds none."""
    min_nodes: int
    """How many must have met before the founder founds, itself included."""
    quorum_size: int
    """At least the majority of `min_nodes`; the majority of the real voters may be larger."""
    secret: str | None = field(repr=False)
    other_secret: str | None = field(repr=False)
    """Also taken, while the secret is being changed."""
    insecure: bool
    """Typed by the operator: no secret, yet not only on loopback."""

    heartbeat_s: float
    """Between two gossips of one node."""
    node_timeout_s: float
    """Silence after which gossip calls a member UNREACHABLE."""
    timing: Timing
    operation_timeout_s: float
    network_timeout_s: float

    failover_enabled: bool
    failover_mode: Literal["automatic", "manual"]
    failover_timeout_s: float
    health_check_interval_s: float
    failure_threshold: int
    max_attempts: int
    recovery_wait_s: float
    primary_node: str | None
    secondary_nodes: tuple[str, ...]
    lease_enforced: bool
    """False (SPLIT_BRAIN_PREVENTION=False, a typed risk): an owner without a majority runs on."""
    state_enabled: bool
    """Key-values for the clients of this node."""
    locks_enabled: bool
    """Locks for the clients of this node."""
    lock_ttl_s: float
    """Of a lock that is acquired without saying for how long."""
    lock_extend_s: float
    """A holder that extends its lock by itself does so at least as often; 0: none does."""
    spread: bool
    """HA_STRATEGY distributed: workloads go where the fewest run."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    log_format: Literal["plain", "json"]
    workloads: tuple[WorkloadSpec, ...]
    """All this node may be asked to run: of what is no singleton its own copies, `web@n1`."""
    checks: tuple[CheckSpec, ...]
    """All that are to be run, those of the workloads and those of the node."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `load` found. `settings` is None when a problem is an error.

    `asked` holds each option as written, `effective` as it runs; both with origins. `config_path` is the file
    that was looked for, whether it exists or not.
    """

    settings: Settings | None
    problems: tuple[Problem, ...]
    asked: Mapping[str, Sourced] = field(repr=False)
    effective: Mapping[str, Sourced] = field(repr=False)
    preset: str | None
    config_path: Path
    workloads: tuple[WorkloadSpec, ...]
    checks: tuple[CheckSpec, ...]
    """All that are written, each with what it takes from the HEALTH_ options."""
    content: bytes = field(repr=False)
    """Of the file; empty where there is none."""


def load(
    preset: str | None,
    config_path: Path | None,
    sets: Sequence[str],
    environ: Mapping[str, str],
    machine: Machine | None = None,
    kept: bytes | None = None,
) -> Loaded:
    """The configuration of this node from all layers: preset < TOML < environment < `sets` (`KEY=VALUE`).

    Without `config_path` the file is $MLTB_CONFIG, else the usual place. Never raises for what an operator
    wrote: that becomes `problems`, errors first. `kept` counts as the content of the file, whatever it has by now.
    """
    machine = machine or this_machine()
    config = config_file(config_path, environ, machine.root)
    layers = merge(preset, config, sets, environ, kept)
    effective = derive(layers, environ, machine)
    view = View.of(layers, effective, machine.root)
    problems = (*layers.problems, *effective.problems, *validate(view))
    problems = tuple(sorted(problems, key=lambda problem: problem.level != "error"))
    settings = None if errors(problems) else _settings(view)
    checks = tuple(view.resolved(check) for check in view.written_checks)
    return Loaded(
        settings,
        problems,
        layers.values,
        effective.values,
        view.preset,
        config[0],
        view.workloads,
        checks,
        layers.content,
    )


def _settings(view: View) -> Settings:
    """From values that were validated."""
    role = cast("Literal['voter', 'witness', 'observer']", view.text("CLUSTER_ROLE"))
    mode = cast("Literal['automatic', 'manual']", view.text("FAILOVER_MODE"))
    workloads = on_node(view.workloads, view.text("CLUSTER_NODE_ID"))
    level = cast("Literal['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL']", view.text("HA_LOG_LEVEL"))
    return Settings(
        cluster_enabled=view.on("CLUSTER_ENABLED"),
        node_id=view.text("CLUSTER_NODE_ID"),
        cluster_name=view.text("CLUSTER_NAME"),
        address=view.text("CLUSTER_ADDRESS"),
        advertise_address=view.text("CLUSTER_ADVERTISE_ADDRESS"),
        port=int(view.number("CLUSTER_PORT")),
        seeds=seeds_of(view.values),
        role=role,
        priority=int(view.number("CLUSTER_NODE_PRIORITY")),
        founder=view.on("CLUSTER_BOOTSTRAP"),
        min_nodes=int(view.number("HA_MIN_NODES")),
        quorum_size=int(view.number("HA_QUORUM_SIZE")),
        secret=view.text("CLUSTER_SECRET") or None,
        other_secret=view.text("CLUSTER_SECRET_SECOND") or None,
        insecure=view.on("CLUSTER_INSECURE"),
        heartbeat_s=view.number("CLUSTER_HEARTBEAT_INTERVAL"),
        node_timeout_s=view.number("CLUSTER_NODE_TIMEOUT"),
        timing=view.timing,
        operation_timeout_s=view.number("HA_OPERATION_TIMEOUT"),
        network_timeout_s=view.number("HA_NETWORK_TIMEOUT"),
        failover_enabled=view.on("FAILOVER_ENABLED"),
        failover_mode=mode,
        failover_timeout_s=view.number("FAILOVER_TIMEOUT"),
        health_check_interval_s=view.number("FAILOVER_HEALTH_CHECK_INTERVAL"),
        failure_threshold=int(view.number("FAILOVER_FAILURE_THRESHOLD")),
        max_attempts=int(view.number("FAILOVER_MAX_ATTEMPTS")),
        recovery_wait_s=view.number("FAILOVER_RECOVERY_WAIT_TIME"),
        primary_node=view.text("FAILOVER_PRIMARY_NODE") or None,
        secondary_nodes=view.texts("FAILOVER_SECONDARY_NODES"),
        lease_enforced=view.on("SPLIT_BRAIN_PREVENTION"),
        state_enabled=view.on("DISTRIBUTED_STATE_ENABLED"),
        locks_enabled=view.on("DISTRIBUTED_LOCKS_ENABLED"),
        lock_ttl_s=view.number("DISTRIBUTED_LOCK_DEFAULT_TTL"),
        lock_extend_s=(
            view.number("DISTRIBUTED_LOCK_EXTEND_INTERVAL") if view.on("DISTRIBUTED_LOCK_AUTO_EXTEND") else 0.0
        ),
        spread=view.text("HA_STRATEGY") == "distributed",
        log_level="DEBUG" if view.on("HA_DEBUG_MODE") else level,
        log_format=cast("Literal['plain', 'json']", view.text("HA_LOG_FORMAT")),
        workloads=workloads,
        checks=_checks(view, workloads),
    )


def _checks(view: View, workloads: tuple[WorkloadSpec, ...]) -> tuple[CheckSpec, ...]:
    if view.values["HEALTH_MONITOR_ENABLED"].value is False:
        return ()
    written = (*view.checks, *(check for workload in workloads for check in workload.checks))
    return tuple(view.resolved(check) for check in written)
