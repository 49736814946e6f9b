"""What a node knows, as the contract shows it to people and scripts. Pure reading: nothing here changes a node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mltb_transport.records import Record, WorkloadView
from mltbd.core import quorum
from mltbd.core.failover import failback_in
from mltbd.core.lease import deadline
from mltbd.core.node import Node
from mltbd.core.peers import UNREACHABLE, Member
from mltbd.core.retreat import spent, way_back
from mltbd.core.voting import LEADER
from mltbd.runtime import control_views, level_views
from mltbd.runtime.instants import instant
from mltbd.runtime.unmet import unmet, unmet_view
from mltbd.state.copies import is_copy
from mltbd.state.placements import Operation, Placement


def has_quorum(node: Node, now: float) -> bool:
    """Whether a quorum stood behind our leader a moment ago, as far as this node can tell."""
    consensus = node.consensus
    if consensus.reign is not None:
        return consensus.in_charge and now - consensus.reign.confirmed_at <= consensus.silence_s
    return bool(consensus.leader) and now - consensus.heard_at <= consensus.silence_s


def age(node: Node, now: float) -> float | None:
    """Seconds since this picture was up to date with a leader, confirmed by a quorum; None while there is none: after
    a start nothing is known before a leader has told what is committed."""
    fresh_at = node.freshness.fresh_at(node.state.applied)
    return None if fresh_at is None or not node.state.applied else round(max(0.0, now - fresh_at), 3)


def reachable(node: Node, now: float) -> set[str]:
    """The members that were heard lately: by the leader when there is one, else by us."""
    consensus = node.consensus
    if consensus.reign is not None:
        return set(consensus.reign.alive(now, consensus.silence_s))
    if has_quorum(node, now):
        return {*consensus.alive, node.me}
    fresh_s = node.config.timing.lease_s
    return {m.record.node for m in node.membership.members(now) if m.silent_s <= fresh_s}


def status(
    node: Node, now: float, lead: dict[str, Any] | None = None, refusing: Iterable[tuple[str, int]] = ()
) -> dict[str, Any]:
    """The dict of `mltbctl status -o json`. `lead`: what the leader added, see `leader_facts`.

    `refusing`: where our connections are ended for their keys.
    """
    lead = leader_facts(node, now) if node.consensus.role == LEADER else lead or {}
    near = reachable(node, now)
    members = [member_view(node, member, near, now, lead) for member in node.membership.members(now)]
    members = sorted(members + [unmet_view(node, name) for name in unmet(node)], key=lambda member: str(member["id"]))
    known = [member.record for member in node.membership.members(now)]
    workloads = [workload_view(node, name, near, now, lead) for name in workload_names(node)]
    cluster = cluster_view(node, members, workloads, near, now)
    cluster["protocol"] = level_views.cluster_view(node, lead)
    failover = failover_view(node, workloads, near, now, lead)
    return {
        "schema": 1,
        "view": _view(node, now),
        "cluster": cluster,
        "nodes": members,
        "workloads": workloads,
        "failover": failover,
        "locks": {"held": node.state.store.locks.held},
        "state_revision": node.state.store.revision,
        "alerts": [
            {"kind": kind, "message": message}
            for kind, message in alerts(node, known, members, workloads, cluster, failover["mode"])
            + control_views.key_alerts(known, refusing)
        ],
    }


def _view(node: Node, now: float) -> dict[str, Any]:
    """`known` is false where no leader has told anything yet; the picture is then at least as old as this run."""
    age_s = age(node, now)
    since_s = round(now - node.freshness.began_at, 3) if age_s is None else age_s
    return {
        "node": node.me,
        "age_seconds": since_s,
        "known": age_s is not None,
        "waiting_for": node.waiting_for() or None,
    }


def leader_facts(node: Node, now: float) -> dict[str, Any]:
    """What only the leader knows: leases of others and the failback countdown, by workload; how far others are behind,
    by node; whether it moves things."""
    reign = node.consensus.reign
    if not node.placer.current or reign is None:
        return {}
    lags = {name: max(0, node.consensus.commit - peer.match_index) for name, peer in reign.peers.items()}
    lags[node.me] = node.consensus.commit - node.state.applied
    leases, failbacks = {}, {}
    for name, placement in node.state.placements.by_workload.items():
        facts = node.placer.facts(name, now)
        if placement.owner:
            timing = node.config.timing.within(placement.lease_s)
            leases[name] = round(max(0.0, deadline(node.placer.renewed_at(name), timing) - now), 3)
        failbacks[name] = failback_in(node.config.policy, facts, now)
    return {
        "leases": leases,
        "failbacks": failbacks,
        "lags": lags,
        "level_waits": node.levels.waits(now),
        "mode": _mode(node),
    }


def _mode(node: Node) -> str:
    return "automatic" if node.config.policy.automatic else "manual"


def member_view(node: Node, member: Member, near: set[str], now: float, lead: dict[str, Any]) -> dict[str, Any]:
    """`lag` is the leader's word, None without it: what gossip says of others is seconds old."""
    record = member.record
    leads = record.node == node.consensus.leader and has_quorum(node, now)
    answers = record.node in near and member.state != UNREACHABLE
    return {
        "id": record.node,
        "address": record.address,
        "port": record.port,
        "state": "LEADER" if leads else member.state,
        "role": record.role,
        "priority": record.priority,
        "health": record.health if answers else "UNKNOWN",
        "incarnation": record.incarnation,
        "answers": answers,
        "last_seen_seconds": round(member.silent_s, 3),
        "rtt_ms": None if member.rtt_s is None else round(member.rtt_s * 1000, 2),
        "applied_index": _applied(node, record),
        "lag": lead.get("lags", {}).get(record.node),
        "version": record.version,
        "protocol": level_views.member_view(record),
        "voter": node.consensus.voters.get(record.node) == record.store,
        "troubles": list(record.troubles) if answers else [],
        "drained": control_views.drained_view(node, record.node),
    }


def _applied(node: Node, record: Record) -> int:
    if record.node == node.me:
        return node.state.applied
    if node.consensus.reign is not None and record.node in node.consensus.reign.peers:
        return min(node.consensus.commit, node.consensus.reign.peers[record.node].match_index)
    return record.applied


def cluster_view(
    node: Node, members: list[dict[str, Any]], workloads: list[dict[str, Any]], near: set[str], now: float
) -> dict[str, Any]:
    consensus = node.consensus
    voters = consensus.voters
    quorate = has_quorum(node, now)
    present = len((near & voters.keys()) - set(wiped(node)))
    none_lost = present == len(voters)
    nodes_fit = all(m["state"] in ("ACTIVE", "LEADER") and not m["troubles"] for m in members)
    workloads_run = all(w["state"] == "RUNNING" and _well(w) for w in workloads)
    if not voters or (node.consensus.log.last_index <= 1 and not quorate):
        state = "FORMING"  # Nobody has led it yet.
    elif _leaders_seen(node, now) > 1:
        state = "SPLIT_BRAIN"
    elif not quorate:
        state = "NO_QUORUM"
    else:
        state = "STABLE" if none_lost and nodes_fit and workloads_run else "DEGRADED"
    return {
        "name": node.state.name or node.config.cluster_name,
        "id": node.cluster or None,
        "state": state,
        "is_healthy": state == "STABLE",
        "term": consensus.term,
        "leader": consensus.leader if quorate else None,
        "quorum": {
            "voters": len(voters),
            "needed": quorum.needed(len(voters), consensus.quorum_size) if voters else 0,
            "reachable": present,
            "has_quorum": quorate,
        },
        "failure_tolerance": quorum.tolerance(len(voters), present, consensus.quorum_size) if quorate else 0,
        "total_nodes": len(members),
        "active_nodes": sum(m["state"] in ("ACTIVE", "LEADER") and m["id"] in near for m in members),
        "paused": control_views.paused_view(node, now),
    }


def _well(workload: dict[str, Any]) -> bool:
    """Not known to be ill: a workload that was just started is not called ill before its checks have spoken."""
    return bool(workload["health"] != "UNHEALTHY")


def wiped(node: Node) -> list[str]:
    """Voters that came back with another disk: they follow, and their vote is gone."""
    records = {name: node.membership.record(name) for name in node.consensus.voters}
    return [name for name, record in records.items() if record and record.store != node.consensus.voters[name]]


def _leaders_seen(node: Node, now: float) -> int:
    """Members that call themselves leader of the youngest term, and spoke within a lease."""
    fresh = [m for m in node.membership.members(now) if m.silent_s <= node.config.timing.lease_s]
    term = max((m.record.term for m in fresh), default=0)
    return sum(m.record.leader == m.record.node and m.record.term == term for m in fresh)


def workload_names(node: Node) -> list[str]:
    placements = node.state.placements
    placed = {name for name in placements.by_workload if not placements.replaced(name)}
    return sorted({*placed, *node.owner.workloads})


def workload_view(node: Node, name: str, near: set[str], now: float, lead: dict[str, Any]) -> dict[str, Any]:
    placement = node.state.placements.get(name)
    seen = _seen_by_owner(node, placement, now)
    state = _workload_state(node, placement, seen, near)
    lease = seen.hold_until if seen is not None and placement.owner == node.me else lead.get("leases", {}).get(name)
    runs = state == "RUNNING"
    return {
        "name": name,
        "singleton": not is_copy(name),
        "owner": placement.owner or None,
        "token": placement.token or None,
        "state": state,
        "since": instant((seen.since if seen is not None else 0) or placement.since),
        "pid": seen.pid if seen is not None and seen.pid and state != "UNKNOWN" else None,
        "health": seen.health if runs and seen is not None else _health_without_view(state),
        "reason": (
            (seen.reason if seen is not None and state != "UNKNOWN" else "")
            or ("" if placement.owner else placement.why)
        )
        or None,
        "restarts": seen.restarts if seen is not None else 0,
        "failback_in_seconds": _rounded(lead.get("failbacks", {}).get(name)),
        "lease_remaining_seconds": None if not placement.owner or lease is None else round(lease, 3),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _health_without_view(state: str) -> str:
    return "HEALTHY" if state == "RUNNING" else "UNKNOWN" if state in ("UNKNOWN", "STOPPED") else "UNHEALTHY"


def _seen_by_owner(node: Node, placement: Placement, now: float) -> WorkloadView | None:
    if placement.owner == node.me:
        views = node.owner.views(now)
    else:
        record = node.membership.record(placement.owner) if placement.owner else None
        views = record.workloads if record is not None else ()
    for view in views:
        if view.workload == placement.workload and (view.token == placement.token or placement.owner == node.me):
            return view
    return None


def _workload_state(node: Node, placement: Placement, seen: WorkloadView | None, near: set[str]) -> str:
    if not placement.owner:
        attempts_max = node.config.policy.max_attempts
        waits = node.config.policy.automatic and way_back(placement) in near
        return "STOPPED" if not spent(placement, attempts_max) else "BACKOFF" if waits else "FAILED"
    if placement.owner not in near:
        return "UNKNOWN"
    if seen is None and not node.consensus.leader:
        return "UNKNOWN"  # The owner does not say so, and nobody confirms its lease.
    if seen is None:
        return "RUNNING" if placement.started else "STARTING"
    return seen.state


def failover_view(
    node: Node, workloads: list[dict[str, Any]], near: set[str], now: float, lead: dict[str, Any]
) -> dict[str, Any]:
    policy = node.config.policy
    operations = list(node.state.placements.operations.values())
    last = next((o for o in reversed(operations) if o.cause == "failover" and o.started), None)
    countdown = min((f for f in lead.get("failbacks", {}).values() if f is not None), default=None)
    first = next((workload for workload in workloads if workload["singleton"]), None)
    owner = first["owner"] if first else None
    members = [m.record for m in node.membership.members(now) if m.record.role != "witness"]
    order = policy.order(first["name"]) if first else ()
    members.sort(key=lambda r: (order.index(r.node) if r.node in order else len(order), -r.priority, r.node))
    return {
        "state": _failover_state(workloads, operations, near, countdown),
        "mode": lead.get("mode") or _mode(node),
        "primary_node": owner,
        "secondary_nodes": [r.node for r in members if r.node != owner],
        "last_failover_time": instant(last.started) if last else None,
        "failback_in_seconds": None if countdown is None else round(countdown, 1),
        "last_operation": operation_view(operations[-1]) if operations else None,
    }


def _failover_state(
    workloads: list[dict[str, Any]], operations: list[Operation], near: set[str], countdown: float | None
) -> str:
    if any(w["state"] == "FAILED" and w["owner"] is None for w in workloads):
        return "FAILED"
    if any(w["owner"] and w["owner"] not in near for w in workloads):
        return "DETECTING"
    if operations and operations[-1].state == "running":
        return "FAILING_OVER"
    if countdown is not None:
        return "RECOVERING"
    last = operations[-1] if operations else None
    away = last is not None and last.cause == "failover" and last.source not in near
    return "FAILED_OVER" if away else "NORMAL"


def operation_view(operation: Operation) -> dict[str, Any]:
    """One move with its phases, in the order in which they happen."""
    marks = [("stop", operation.asked, operation.released), ("grant", operation.released, operation.granted)]
    if not operation.released and operation.granted:
        marks = [("grant", operation.asked, operation.granted)]  # The owner was lost, or there was none.
    marks.append(("start", operation.granted, operation.started))
    details = {
        "stop": f"{operation.source or 'nobody'} stops and gives the token back",
        "grant": f"token {operation.token} to {operation.owner}" if operation.token else "token to the next owner",
        "start": f"{operation.owner or operation.target} starts it",
    }
    phases, running = [], operation.state == "running"
    for name, began, ended in marks:
        state = "done" if ended else "waiting" if not began else "running" if running else "failed"
        seconds = round((ended - began) / 1000, 3) if ended and began else None
        phases.append({"name": name, "seconds": seconds, "state": state, "detail": details[name]})
    down = (operation.started - operation.asked) / 1000 if operation.started and operation.released else None
    return {
        "id": operation.id,
        "workload": operation.workload,
        "kind": operation.cause,
        "from": operation.source or None,
        "to": operation.target,
        "state": operation.state,
        "phases": phases,
        "downtime_seconds": None if down is None else round(down, 3),
        "token": operation.token or None,
        "owner": operation.owner or None,
        "reason": operation.reason or None,
        "error": operation.error or None,
    }


def alerts(
    node: Node,
    known: list[Record],
    members: list[dict[str, Any]],
    workloads: list[dict[str, Any]],
    cluster: dict[str, Any],
    mode: str,
) -> list[tuple[str, str]]:
    """What an operator should know without asking, as (kind, message). Empty when all is well."""
    found = control_views.alerts(node) + control_views.risk_alerts(known) + control_views.form_alerts(known)
    found += level_views.alerts(node, known)
    if waiting := node.waiting_for():
        found.append(("forming", waiting))
    quorum_seen = cluster["quorum"]
    if cluster["state"] == "NO_QUORUM":
        seen = f"{quorum_seen['reachable']} of {quorum_seen['voters']} voters reachable"
        found.append(("no_quorum", f"no quorum: {seen}, {quorum_seen['needed']} needed"))
    by_hand = quorum_seen["has_quorum"] and mode == "manual"
    for workload in workloads:
        name, moves_by_hand = workload["name"], by_hand and workload["singleton"]
        if workload["state"] == "FAILED" and workload["owner"] is None:
            where = ", ".join(node.state.placements.get(name).failed_on) or "every node that tried it"
            found.append(("failed", f"`{name}` failed on {where}: {workload['reason'] or 'see its log'}"))
        elif moves_by_hand and workload["owner"] is None:
            found.append(("no_owner", f"`{name}` runs nowhere and failover is manual"))
        elif moves_by_hand and workload["state"] == "UNKNOWN":
            lost = f"`{name}` was on {workload['owner']}, which is lost, and failover is manual"
            found.append(("owner_lost", f"{lost}: mltbctl failover --workload {name}"))
        elif workload["reason"]:
            where = f" on {workload['owner']}" if workload["owner"] else ""
            found.append(("unhealthy", f"`{name}`{where}: {workload['reason']}"))
    for member in members:
        found += [("check", f"{member['id']}: {why}: nothing is placed there") for why in member["troubles"]]
    lost = "came back with another disk: " + (
        "it follows, and votes again once it has caught up"
        if quorum_seen["has_quorum"]
        else "its vote is gone, and only a majority could give it a new one"
    )
    found += [("wiped", f"{name} {lost}") for name in wiped(node)]
    for strange, who in node.membership.foreign.items():
        found.append(("foreign", f"{who} is of another cluster, {strange}: both refuse each other"))
    if node.belonging.removed:
        out = f"{node.me} was removed from this cluster: wipe its disk, or let it in: mltbctl node admit {node.me}"
        found.append(("removed", out))
    if len(node.consensus.voters) == 2:
        found.append(("two_voters", "2 voters cannot lose one: add a witness"))
    return found
