"""What operators hold still, as `status` shows it: the pause and the drained nodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mltb_transport.addresses import spelled
from mltb_transport.records import TWO_OWNERS, Record
from mltbd.core.node import Node
from mltbd.runtime.instants import instant
from mltbd.state.copies import family, home_of, is_copy


def paused_view(node: Node, now: float) -> dict[str, Any] | None:
    """`until` is by the wall clock of who paused; `remaining_seconds` as this node counts it. None when not paused."""
    paused = node.state.controls.paused
    if paused is None:
        return None
    left_s = node.placer.watch.ends_at(node.state.controls) - now
    return {
        "since": instant(paused.since),
        "until": instant(paused.since + round(paused.seconds * 1000)) if paused.seconds else None,
        "by": paused.operator,
        "reason": paused.reason or None,
        "remaining_seconds": round(max(0.0, left_s), 1) if paused.seconds else None,
    }


def drained_view(node: Node, name: str) -> dict[str, Any] | None:
    """Since when, by whom and why this member is to be empty; None when it is not."""
    drained = node.state.controls.drained.get(name)
    if drained is None:
        return None
    return {"since": instant(drained.since), "by": drained.operator, "reason": drained.reason or None}


def alerts(node: Node) -> list[tuple[str, str]]:
    """What an operator should know of pauses and drains, as (kind, message)."""
    found = []
    controls, placements = node.state.controls, node.state.placements.by_workload
    if controls.paused is not None:
        why = f": {controls.paused.reason}" if controls.paused.reason else ""
        found.append(("paused", f"no automatic moves: paused by {controls.paused.operator}{why}"))
    for name in controls.drained:
        still = [workload for workload, placement in sorted(placements.items()) if placement.owner == name]
        if still:
            runs = ", ".join(f"`{workload}`" for workload in still)
            found.append(("draining", f"{name} is drained and still runs {runs}"))
    return found


def risk_alerts(records: list[Record]) -> list[tuple[str, str]]:
    """Risks that operators of these nodes have typed: shown everywhere for as long as they are taken."""
    takers = [record.node for record in records if TWO_OWNERS in record.risks]
    if not takers:
        return []
    words = "a workload may run twice: without a majority it is not stopped there"
    return [("risk", f"SPLIT_BRAIN_PREVENTION is off on {', '.join(takers)}: {words}")]


def form_alerts(records: list[Record]) -> list[tuple[str, str]]:
    """Workloads that are singletons for some nodes and none for others: then one of the two forms has to wait."""
    able: dict[str, set[str]] = {}
    for record in records:
        for name in record.ready:
            able.setdefault(name, set()).add(record.node)
    found = []
    for name in sorted(name for name in able if not is_copy(name)):
        copies = sorted(home_of(other) for other in able if is_copy(other) and family(other) == name)
        if copies:
            once = ", ".join(sorted(able[name]))
            words = "until they agree it runs in the one way or the other, not in both"
            found.append(("mixed", f"`{name}` is a singleton on {once} and none on {', '.join(copies)}: {words}"))
    return found


def key_alerts(records: list[Record], refusing: Iterable[tuple[str, int]]) -> list[tuple[str, str]]:
    """Peers that end our connections for their keys: nothing else tells a newcomer why nobody talks to it."""
    names = {(record.address, record.port): record.node for record in records}
    found = []
    for where in sorted(refusing):
        who = f"{names[where]} ({spelled(*where)})" if where in names else spelled(*where)
        found.append(("secret", f"{who} refuses our key: it has another CLUSTER_SECRET, see mltbctl doctor"))
    return found
