"""The rules between options. Pure: effective values in, problems out; one generator a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mltbd.config.derive import majority
from mltbd.config.options import OPTIONS
from mltbd.config.problem import Problem, error, warning
from mltbd.config.validate_network import families, identity, ports, roles, security, seeds
from mltbd.config.validate_workloads import checks, nowhere, planned_stops
from mltbd.config.view import View
from mltbd.config.workloads import WorkloadSpec
from mltbd.core.timing import Timing

NEEDS_CLUSTER = (
    "FAILOVER_ENABLED", "REPLICATION_ENABLED", "DISTRIBUTED_STATE_ENABLED", "DISTRIBUTED_LOCKS_ENABLED",
)  # fmt: skip


def validate(view: View) -> list[Problem]:
    """All that is wrong or worth a warning, in the order of the rules."""
    return [problem for rule in RULES for problem in rule(view)]


def _not_built(view: View) -> Iterator[Problem]:
    for name, asked in view.asked.items():
        option = OPTIONS[name]
        if option.built or not asked.explicit or asked.value == option.default:
            continue
        yield error(
            name,
            f"`{name}` belongs to {option.feature}, which this version does not have",
            "take it out; its documented default is what runs",
            asked.origin,
        )
    if view.api_port.value:
        yield error(
            "api.port",
            "the HTTP interface is not in this version",
            "set `port = 0`, or take `[api]` out",
            view.api_port.origin,
        )


def _runs_without(view: View) -> Iterator[Problem]:
    if view.missing:
        yield warning(
            "preset",
            f"`{view.preset}` asks for {_and(view.missing)}: this version runs without",
            "run `mltbctl config show --effective --origin`",
        )


def _needs_cluster(view: View) -> Iterator[Problem]:
    if view.on("CLUSTER_ENABLED"):
        return
    for name in NEEDS_CLUSTER:
        asked = view.asked[name]
        if asked.given and asked.value is True:
            yield error(name, f"`{name}` needs the cluster", "set `CLUSTER_ENABLED = true`", asked.origin)
    if view.workloads:
        yield error(
            "CLUSTER_ENABLED",
            f"the workload `{view.workloads[0].name}` needs the cluster, which is switched off",
            "set `CLUSTER_ENABLED = true`",
            view.origin("CLUSTER_ENABLED"),
        )


def _copies(view: View) -> Iterator[Problem]:
    for workload in view.workloads:
        if not workload.singleton and view.text("HA_STRATEGY") != "active_active":
            yield error(
                f"workload.{workload.name}.singleton",
                f"`{workload.name}` would run on every node, and HA_STRATEGY is {view.text('HA_STRATEGY')}",
                'set `HA_STRATEGY = "active_active"` if that is meant, else take `singleton = false` out',
                view.origin("HA_STRATEGY"),
            )


def _intervals(view: View) -> Iterator[Problem]:
    asked = view.asked
    interval, timeout = asked["HEALTH_CHECK_INTERVAL"].value, asked["HEALTH_CHECK_TIMEOUT"].value
    if isinstance(interval, float) and isinstance(timeout, float) and interval <= timeout:
        yield error(
            "HEALTH_CHECK_INTERVAL",
            f"a check every {interval:g} s may still run when the next begins: it is given {timeout:g} s",
            "set HEALTH_CHECK_INTERVAL above HEALTH_CHECK_TIMEOUT",
            asked["HEALTH_CHECK_INTERVAL"].origin,
        )
    heartbeat, silence = view.number("CLUSTER_HEARTBEAT_INTERVAL"), view.number("CLUSTER_NODE_TIMEOUT")
    if heartbeat >= silence:
        yield error(
            "CLUSTER_HEARTBEAT_INTERVAL",
            f"a gossip every {heartbeat:g} s is too rare for a CLUSTER_NODE_TIMEOUT of {silence:g} s",
            f"set CLUSTER_NODE_TIMEOUT to {heartbeat * 3:g}",
            view.origin("CLUSTER_HEARTBEAT_INTERVAL"),
        )
    network, operation = view.number("HA_NETWORK_TIMEOUT"), view.number("HA_OPERATION_TIMEOUT")
    if network > operation:
        yield warning(
            "HA_NETWORK_TIMEOUT",
            f"an operator's request is given up after {operation:g} s (HA_OPERATION_TIMEOUT), so its leader has no more"
            f" than that to answer, not {network:g} s",
            "",
            view.origin("HA_NETWORK_TIMEOUT"),
        )


def _lease(view: View) -> Iterator[Problem]:
    timing = view.timing
    patient = Timing.derive(timing.lease_s, timing.grace_s).problems()
    for message in timing.problems():
        key = "CLUSTER_LEASE_DURATION" if message in patient else "CLUSTER_ELECTION_TIMEOUT"
        yield error(key, message, f"raise {key}", view.origin(key))
    limit = view.number("FAILOVER_TIMEOUT")
    if limit <= timing.lease_s:
        yield error(
            "FAILOVER_TIMEOUT",
            f"a failover first waits out the lease, {timing.lease_s:g} s, but may only take {limit:g} s",
            f"set FAILOVER_TIMEOUT to {timing.lease_s * 10:g}",
            view.origin("FAILOVER_TIMEOUT"),
        )
    for workload in view.workloads:
        yield from _stop_timeout(view, workload, timing)


def _stop_timeout(view: View, workload: WorkloadSpec, timing: Timing) -> Iterator[Problem]:
    key = f"workload.{workload.name}.stop_timeout"
    if workload.stop_timeout_s > timing.lease_s:
        yield error(
            key,
            f"{workload.stop_timeout_s:g} s to stop are more than the lease of {timing.lease_s:g} s",
            "raise CLUSTER_LEASE_DURATION, or let the workload stop faster",
            view.origin("CLUSTER_LEASE_DURATION"),
        )
    elif workload.stop_timeout_given and workload.stop_timeout_s > timing.grace_s:
        yield warning(
            key,
            f"when the lease is lost only {timing.grace_s:.2f} s pass between SIGTERM and SIGKILL"
            f" (the lease is {timing.lease_s:g} s, of which the workload may run {timing.hold_s:.2f} s);"
            f" planned stops get all {workload.stop_timeout_s:g} s",
            "raise CLUSTER_LEASE_DURATION if the workload needs more",
        )


def _quorum(view: View) -> Iterator[Problem]:
    nodes, quorum = int(view.number("HA_MIN_NODES")), int(view.number("HA_QUORUM_SIZE"))
    asked, needed = view.asked["HA_QUORUM_SIZE"], majority(nodes)
    if quorum < needed:
        yield error(
            "HA_QUORUM_SIZE",
            f"{quorum} of {nodes} nodes is less than the majority, {needed}: it may be raised, never lowered",
            f"set HA_QUORUM_SIZE to {needed}, or leave it out",
            asked.origin,
        )
    elif quorum > nodes:
        yield error(
            "HA_QUORUM_SIZE",
            f"{quorum} votes are never reached by the {nodes} nodes that found the cluster (HA_MIN_NODES)",
            f"set HA_MIN_NODES to {quorum}",
            asked.origin,
        )
    elif quorum > needed:
        yield warning(
            "HA_QUORUM_SIZE",
            f"with {quorum} votes of {nodes} nodes only {nodes - quorum} may be lost; a majority is {needed}",
            "",
            asked.origin,
        )
    yield from _risk(view)


def _risk(view: View) -> Iterator[Problem]:
    accepted = view.text("CLUSTER_ACCEPT_RISK") == "two_owners"
    if view.on("SPLIT_BRAIN_PREVENTION"):
        if accepted:
            yield warning(
                "CLUSTER_ACCEPT_RISK",
                "the risk two_owners is accepted, but nothing takes it: SPLIT_BRAIN_PREVENTION is on",
                "take it out",
                view.origin("CLUSTER_ACCEPT_RISK"),
            )
    elif accepted:
        yield warning(
            "SPLIT_BRAIN_PREVENTION",
            "two copies of a workload may run: an owner without a majority runs on while the others start it anew",
            "run `mltbctl status` for who takes this risk; add a witness (CLUSTER_ROLE=witness) to need it no more",
            view.origin("SPLIT_BRAIN_PREVENTION"),
        )
    else:
        yield error(
            "SPLIT_BRAIN_PREVENTION",
            "without it two copies of a workload may run: an owner without a majority is not stopped",
            'add a witness (CLUSTER_ROLE=witness), or type the risk: `CLUSTER_ACCEPT_RISK = "two_owners"`',
            view.origin("SPLIT_BRAIN_PREVENTION"),
        )


def _voters(view: View) -> Iterator[Problem]:
    if not view.on("CLUSTER_ENABLED") or view.joins:
        return
    voters = view.voters
    if voters == 2:
        yield warning(
            "HA_MIN_NODES",
            "two nodes cannot both be safe and available: when one is lost, the other has no majority",
            "add a third machine with CLUSTER_ROLE=witness: it votes and runs nothing; the other way is a typed risk,"
            " see CLUSTER_ACCEPT_RISK",
            view.origin("HA_MIN_NODES"),
        )
    elif voters % 2 == 0:
        yield warning(
            "HA_MIN_NODES",
            f"{voters} voters survive no more losses than {voters - 1}: {(voters - 1) // 2}",
            f"run {voters - 1} or {voters + 1} voters, or make one an observer (CLUSTER_ROLE=observer)",
            view.origin("HA_MIN_NODES"),
        )


def _and(words: tuple[str, ...]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


RULES: tuple[Callable[[View], Iterator[Problem]], ...] = (
    _not_built, _runs_without, _needs_cluster, _copies, _intervals, _lease, _quorum, _voters, seeds, families, ports,
    security, identity, roles, nowhere, planned_stops, checks,
)  # fmt: skip
