"""One question asked of several worlds: who leads, who runs what, how long it was down, what may be lost after that."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from mltbd.core import quorum
from mltbd.core.operator import candidates_of
from mltbd.whatif.faults import Fault
from mltbd.whatif.position import Position
from mltbd.whatif.world import World, WorldError

SEEDS = 7
CALM_S = 1.0
SETTLED_S = 1.0
"""What holds for this long is how it ends."""
SLACK_S = 5.0
SHORT_S = 0.05
"""In these worlds processes stop and start in no time: what is left of so short a downtime is theirs alone."""


@dataclass(slots=True)
class Outcome:
    """One world's end. Downtimes and owners by workload."""

    leader_before: str
    leader: str
    before: dict[str, str]
    owners: dict[str, str]
    down_s: dict[str, float]
    tolerance: int
    overlaps: int
    why_not: dict[str, list[str]] = field(default_factory=dict)


def ask(position: Position, fault: Fault, seeds: int = SEEDS) -> dict[str, Any]:
    """The answer, as the control plane shows it. Raises WorldError when a world cannot be brought to its end."""
    return _told(position, fault, [play(position, fault, seed) for seed in range(1, seeds + 1)])


def play(position: Position, fault: Fault, seed: int) -> Outcome:
    """One world from the present position, through the fault, to where it comes to rest."""
    timing = position.config.timing
    world = World(position, seed)
    long_s = 2 * timing.lease_s + 2 * min(timing.election_max_s, timing.lease_s) + SLACK_S
    wanted = {name for mate in position.mates for name, _ in mate.runs}
    world.run_for(long_s, lambda: world.leader is not None and wanted <= set(world.owners()))
    if world.leader is None and _has_quorum(position, _left(position, None)):
        raise WorldError(f"the present cluster found no leader within {long_s:.0f} s")
    _restore_leader(world, position.leader, long_s)
    world.run_for(CALM_S + world.dice.uniform(0, timing.renew_s))
    world.run_for(long_s, lambda: wanted <= set(world.owners()))
    before, led = world.owners(), world.leader
    began = world.now
    _strike(world, fault)
    world.run_for(timing.renew_s)
    _come_to_rest(world, set(before), long_s)
    return Outcome(
        leader_before=led.me if led is not None else "",
        leader=world.leader.me if world.leader is not None else "",
        before=before,
        owners=world.owners(),
        down_s=_downtimes(world, set(before), began),
        tolerance=world.leader.placer.tolerance(world.now) if world.leader is not None else 0,
        overlaps=_overlaps(world),
        why_not=_why_not(world, set(before)),
    )


def _restore_leader(world: World, leader: str, patience_s: float) -> None:
    """Whoever won in this world hands over to the present leader, by the core's own transfer."""
    for _ in range(3):
        now_leads = world.leader
        if now_leads is None or now_leads.me == leader or leader not in world.boxes:
            return
        now_leads.placer.consensus.transfer(leader, world.now)
        world.boxes[now_leads.me].nudge()
        world.run_for(patience_s / 4, lambda: world.leader is not None and world.leader.me == leader)


def _strike(world: World, fault: Fault) -> None:
    world.blocked.update(fault.apart)
    for name in fault.nodes:
        box = world.boxes.get(name)
        if box is not None and fault.verb == "kill":
            box.power_off()
        elif box is not None and fault.verb == "stop":
            box.ask_to_stop()


def _come_to_rest(world: World, workloads: set[str], long_s: float) -> None:
    """Until all runs somewhere and stays so, or until nothing more can be expected."""
    until = world.now + long_s
    while world.now < until:
        timing = world.position.config.timing
        if not world.run_for(until - world.now, lambda: world.leader is not None and workloads <= set(world.owners())):
            return
        # An owner that was cut off still runs, for as long as its lease.
        seen, led = world.owners(), world.leader
        world.run_for(max(SETTLED_S, timing.lease_s))
        if world.owners() == seen and world.leader is led:
            return


def _downtimes(world: World, workloads: set[str], began: float) -> dict[str, float]:
    """How long each was without a process, until it runs again; absent where it does not."""
    found = {}
    for workload in workloads:
        lives = [life for life in world.lives if life.workload == workload and life.at >= began]
        down_s, since = 0.0, None
        for life in lives:
            if not life.up:
                since = life.at
            elif since is not None:
                down_s, since = down_s + life.at - since, None
        if since is None:
            found[workload] = down_s
    return found


def _overlaps(world: World) -> int:
    """How often a second process tree of one workload began. Where every node obeys its lease, anything but 0 is a bug
    of the core."""
    alive: Counter[str] = Counter()
    overlaps = 0
    for life in world.lives:
        alive[life.workload] += 1 if life.up else -1
        overlaps += life.up and alive[life.workload] > 1
    return overlaps


def _why_not(world: World, workloads: set[str]) -> dict[str, list[str]]:
    """For each that runs nowhere: why, in the words of the leader's own verdicts."""
    leader = world.leader
    found: dict[str, list[str]] = {}
    for workload in sorted(workloads - set(world.owners())):
        if leader is None:
            found[workload] = []
            continue
        verdicts = candidates_of(leader.placer.facts(workload, world.now))
        found[workload] = [f"{v['node']}: {', '.join(v['reasons'])}" for v in verdicts if not v["eligible"]]
    return found


# -- in words ----------------------------------------------------------------------------------------------------


def _left(position: Position, fault: Fault | None) -> list[set[str]]:
    """The groups of nodes that are up and can still talk to each other, each from one node's point of view."""
    gone = set(fault.nodes) if fault is not None and fault.verb in ("kill", "stop") else set()
    up = [mate.node for mate in position.mates if mate.up and mate.node not in gone]
    apart = set(fault.apart) if fault is not None else set()
    return [{other for other in up if (name, other) not in apart} for name in up]


def _has_quorum(position: Position, groups: list[set[str]]) -> bool:
    needed = quorum.needed(len(position.voters), position.config.quorum_size)
    stores = {voter.node: voter.store for voter in position.snapshot.voters}
    real = {mate.node for mate in position.mates if stores.get(mate.node) == mate.store}
    return any(len(group & real) >= needed for group in groups)


def _told(position: Position, fault: Fault, outcomes: list[Outcome]) -> dict[str, Any]:
    groups = _left(position, fault)
    leaders = Counter(outcome.leader for outcome in outcomes)
    quorate = _has_quorum(position, groups)
    workloads = [_workload(position, name, outcomes, quorate) for name in sorted(outcomes[0].before)]
    tolerance = min(outcome.tolerance for outcome in outcomes) if quorate else 0
    body = {
        "fault": str(fault),
        "runs": len(outcomes),
        "leader": {"before": outcomes[0].leader_before or None, "after": _counted(leaders)},
        "quorum": {
            "voters": len(position.voters),
            "needed": quorum.needed(len(position.voters), position.config.quorum_size),
            "left": max((len(group & set(position.voters)) for group in groups), default=0),
            "has_quorum": quorate,
        },
        "workloads": workloads,
        "failure_tolerance": tolerance,
        "overlaps": sum(outcome.overlaps for outcome in outcomes),
    }
    return body | {"lines": [*_lines(body), *_twice(position, body)]}


def _workload(position: Position, name: str, outcomes: list[Outcome], quorate: bool) -> dict[str, Any]:
    owners = Counter(outcome.owners.get(name, "") for outcome in outcomes)
    downs = [outcome.down_s[name] for outcome in outcomes if name in outcome.down_s and name in outcome.owners]
    why = ""
    if owners[""] and not quorate:
        why = "no quorum is left, so nobody may take it over"
    elif owners[""] and not position.config.policy.automatic:
        why = "failover is manual: an operator must run `mltbctl failover`"
    elif owners[""]:
        reasons = next((outcome.why_not[name] for outcome in outcomes if outcome.why_not.get(name)), [])
        why = "; ".join(reasons) or "no node could take it in time"
    return {
        "name": name,
        "before": outcomes[0].before.get(name),
        "after": _counted(owners),
        "downtime_seconds": {"min": round(min(downs), 2), "max": round(max(downs), 2)} if downs else None,
        "why_not": why or None,
    }


def _counted(counter: Counter[str]) -> list[dict[str, Any]]:
    """In how many worlds it ended so, the most frequent first; null for nobody."""
    return [{"node": name or None, "runs": runs} for name, runs in sorted(counter.items(), key=lambda c: (-c[1], c[0]))]


def _lines(body: dict[str, Any]) -> list[str]:
    """The answer in sentences."""
    votes = body["quorum"]
    left = f"{votes['left']} of {votes['voters']} voters are left, {votes['needed']} are needed"
    lines = [f"quorum: {left}" + ("" if votes["has_quorum"] else ": there is none")]
    before, after = body["leader"]["before"], _names(body["leader"]["after"])
    lines.append(f"leader: {before or 'nobody'} " + ("stays" if after == before else f"is followed by {after}"))
    lines += [_workload_line(workload) for workload in body["workloads"]]
    if body["quorum"]["has_quorum"]:
        more = body["failure_tolerance"]
        lines.append(f"then: {more or 'not one'} more {'voters' if more > 1 else 'voter'} may be lost")
    return lines


def _twice(position: Position, body: dict[str, Any]) -> list[str]:
    """Where a workload ran twice at once, and who does not end it with its lease."""
    if not body["overlaps"]:
        return []
    free = ", ".join(mate.node for mate in position.mates if not mate.lease_enforced)
    why = f": SPLIT_BRAIN_PREVENTION is off on {free}" if free else ""
    return [f"twice: {body['overlaps']} times in {body['runs']} runs one began while another of it still ran{why}"]


def _workload_line(workload: dict[str, Any]) -> str:
    name, before, after = workload["name"], workload["before"], _names(workload["after"])
    span = workload["downtime_seconds"]
    if span is None:
        return f"{name}: it runs nowhere any more: {workload['why_not']}"
    if after == before and not span["max"]:
        return f"{name}: it runs on, on {before}"
    where = f"it comes back on {after}" if after == before else f"it moves from {before} to {after}"
    seldom = f"; in some runs nowhere: {workload['why_not']}" if workload["why_not"] else ""
    if span["max"] < SHORT_S:
        return f"{name}: {where}, down for no longer than it takes to stop and start{seldom}"
    return f"{name}: {where}, down for {span['min']:.1f} to {span['max']:.1f} s{seldom}"


def _names(counted: list[dict[str, Any]]) -> str:
    return " or ".join(each["node"] or "nobody" for each in counted)
