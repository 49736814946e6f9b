"""What an operator asked for, judged by the facts: a command to propose, or a refusal that says why and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mltb_transport.messages import CancelFailback, Command, Move
from mltbd.core.events import Ask
from mltbd.core.failover import Facts, Policy, best, failback_target, preference
from mltbd.state.placements import WORKLOADS_MAX, Operation, Placements


@dataclass(frozen=True, slots=True)
class Verdict:
    """`command` is to be proposed when there is neither a `code` nor a dry run. An empty command: nothing to do.

    `operation`: nothing to do because this one, under way, does it.
    """

    command: Command | None = None
    target: str = ""
    code: str = ""
    message: str = ""
    hint: str = ""
    operation: int | None = None


def crowded(ask: Ask, placements: Placements) -> Verdict | None:
    """Why this workload is not placed at all: there are too many; None when there is room for it."""
    if placements.has_room_for(ask.workload):
        return None
    why = f"`{ask.workload}` is not placed: {WORKLOADS_MAX} workloads are known already"
    return Verdict(code="refused", message=why, hint="mltbctl status")


def judge(ask: Ask, facts: Facts, policy: Policy) -> Verdict:
    """The decision on one request; `candidates_of` makes the list that goes with it."""
    placement = facts.placement
    if not placement.token and not any(candidate.eligible for candidate in facts.candidates):
        return Verdict(code="refused", message=f"no node can run a workload `{ask.workload}`", hint="mltbctl status")
    if ask.verb == "cancel_failback":
        return Verdict(CancelFailback(ask.workload, ask.operator))
    if 0 < ask.at < placement.changed:
        late = f"`{ask.workload}` has changed since the plan of index {ask.at}, at index {placement.changed}"
        return Verdict(code="refused", message=late, hint=f"mltbctl {ask.verb} --dry-run")
    if placement.asked_to_move and facts.operation is not None and not _is_stranded(facts):
        moves = _under_way(ask, facts.operation)
        repeated = ask.target == moves.target if ask.target else ask.verb == facts.operation.cause
        return moves if repeated else Verdict(code="refused", message=moves.message, hint="mltbctl status --watch")
    match ask.verb:
        case "switchover":
            return _switchover(ask, facts)
        case "failover":
            return _failover(ask, facts, policy)
        case "failback":
            return _failback(ask, facts, policy)
    return Verdict(code="usage", message=f"unknown request `{ask.verb}`", hint="mltbctl --help")


def _is_stranded(facts: Facts) -> bool:
    """The move under way cannot get on by itself, so another may take its place: its owner or its target is lost."""
    if facts.placement.owner:
        return facts.lease_over
    target = facts.operation.target if facts.operation is not None else ""
    return not any(c.node == target and c.eligible for c in facts.candidates)


def _under_way(ask: Ask, operation: Operation) -> Verdict:
    message = f"operation {operation.id} moves `{ask.workload}` to {operation.target} already"
    return Verdict(target=operation.target, message=message, operation=operation.id)


def _stays(ask: Ask, facts: Facts) -> Verdict:
    """Its owner is the right one: it runs there already, or the move that brings it there is not over yet."""
    if facts.operation is not None:
        return _under_way(ask, facts.operation)
    owner = facts.placement.owner
    return Verdict(target=owner, message=f"`{ask.workload}` is on {owner} already")


def _switchover(ask: Ask, facts: Facts) -> Verdict:
    placement = facts.placement
    if not ask.target:
        return Verdict(code="usage", message="a switchover needs a target", hint="mltbctl switchover --to NODE")
    if not placement.owner or facts.lease_over:
        what = f"`{ask.workload}` has no healthy owner to switch from"
        return Verdict(code="refused", message=what, hint=f"mltbctl failover --to {ask.target}")
    return _to(ask.target, ask, facts, "switchover")


def _failover(ask: Ask, facts: Facts, policy: Policy) -> Verdict:
    if ask.target:
        return _to(ask.target, ask, facts, "failover")
    chosen = best(policy, ask.workload, facts.candidates, but=facts.placement.owner)
    if chosen is None:
        return Verdict(code="refused", message=f"no other node can take over `{ask.workload}`", hint="mltbctl nodes")
    return _to(chosen.node, ask, facts, "failover")


def _failback(ask: Ask, facts: Facts, policy: Policy) -> Verdict:
    placement = facts.placement
    if not placement.owner or facts.lease_over:
        return Verdict(code="refused", message=f"`{ask.workload}` runs nowhere now", hint="mltbctl failover")
    ahead = failback_target(policy, facts)
    target = ahead.node if ahead is not None else _as_good(placement.home, facts, policy)
    if not target or target == placement.owner:
        return _stays(ask, facts)
    return _to(target, ask, facts, "failback")


def _as_good(home: str, facts: Facts, policy: Policy) -> str:
    """The node it ran on before, if that is no worse a place than its owner."""
    by_id = {c.node: preference(policy, facts.placement.workload, c) for c in facts.candidates}
    here = by_id.get(facts.placement.owner)  # None: a new leader has not met the owner yet.
    return home if here is not None and home in by_id and by_id[home] <= here else ""


def _to(target: str, ask: Ask, facts: Facts, cause: str) -> Verdict:
    placement = facts.placement
    if target == placement.owner and not facts.lease_over:
        return _stays(ask, facts)
    candidate = next((c for c in facts.candidates if c.node == target), None)
    if candidate is None:
        known = ", ".join(c.node for c in facts.candidates)
        return Verdict(code="usage", message=f"no node `{target}` here, only {known}", hint="mltbctl nodes")
    if not candidate.eligible:
        able = [c.node for c in facts.candidates if c.eligible and c.node != placement.owner]
        verb = "switchover" if ask.verb == "failback" else ask.verb
        hint = f"mltbctl {verb} --to {able[0]}" if able else "mltbctl nodes"
        if candidate.reasons == ("drained",):
            hint = f"mltbctl node undrain {target}"
        return Verdict(code="refused", message=f"{target} cannot take over `{ask.workload}`", hint=hint)
    over = placement.moving if placement.asked_to_move else 0
    move = Move(ask.workload, placement.token, target, cause, ask.reason, ask.operator, ask.at, over)
    return Verdict(move, target)


def candidates_of(facts: Facts, workload: str = "") -> list[dict[str, Any]]:
    """The verdict per candidate, as the contract shows it; with the name of the `workload` where there are several."""
    of = {"workload": workload} if workload else {}
    return [of | {"node": c.node, "eligible": c.eligible, "reasons": list(c.reasons)} for c in facts.candidates]
