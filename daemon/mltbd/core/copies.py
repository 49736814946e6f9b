"""Workloads that are no singletons: each node that can runs a copy of its own, under a placement of its own.

The copy of `web` on node n1 is the workload `web@n1`: configured on n1 alone, granted to n1 alone, never moved. All
else (lease, token, guard, checks, hooks) is as for any workload. No configured name and no node id has an `@`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from mltb_transport.messages import Entry, Grant, Release
from mltbd.core.events import Ask
from mltbd.core.failover import Candidate, Facts
from mltbd.core.operator import Verdict
from mltbd.state.copies import family, home_of, is_copy
from mltbd.state.placements import Placements

DRAINED, LOST = "drained", "lost"
"""Why a copy is given back, beside what any workload is given back for: by its owner; by the leader in its place."""


def owners_of(placements: Placements, pending: Sequence[Entry]) -> dict[str, str]:
    """Who owns each workload, the grants that are on their way through the log included."""
    owners = {name: placement.owner for name, placement in placements.by_workload.items() if placement.owner}
    return owners | {e.command.workload: e.command.owner for e in pending if isinstance(e.command, Grant)}


def rival(workload: str, placements: Placements, pending: Sequence[Entry]) -> str:
    """Why `workload` may not be granted: it runs once, or everywhere, and somewhere it is still the other of the two.

    While nodes are configured anew one after the other they disagree; then whoever has it first keeps it.
    """
    owners = owners_of(placements, pending)
    if is_copy(workload):
        owner = owners.get(family(workload))
        return f"`{family(workload)}` is owned by {owner} as a singleton" if owner else ""
    copies = sorted(owner for name, owner in owners.items() if is_copy(name) and family(name) == workload)
    return f"copies of `{workload}` are owned by {', '.join(copies)}" if copies else ""


def barred(candidates: Iterable[Candidate], why: str) -> tuple[Candidate, ...]:
    """No node is a place for it, because of `why`; unchanged when there is none."""
    return tuple(replace(each, reasons=(*each.reasons, why)) if why else each for each in candidates)


def end_of_lost(facts: Facts, ready: Iterable[str]) -> Release | None:
    """The entry that ends a lost owner's claim where nobody else is to have it. `ready`: what any node could run.

    Its lease is over, so nothing runs: a copy starts anew under another token once its node is back. A singleton
    that nobody can take over ends like that only when its copies wait for it.
    """
    placement = facts.placement
    if not placement.owner or not facts.lease_over:
        return None
    workload = placement.workload
    if is_copy(workload) or any(is_copy(name) and family(name) == workload for name in ready):
        return Release(workload, placement.token, LOST)
    return None


def refusal(ask: Ask, placements: Placements) -> Verdict | None:
    """Why nobody can move this workload, and what to do instead; None when it is a singleton."""
    name = ask.workload
    if not is_copy(name) and not placements.replaced(name):
        return None
    why = f"`{family(name)}` is no singleton: every node runs its own copy, there is nothing to move"
    return Verdict(code="refused", message=why, hint=f"mltbctl node drain {home_of(name) or 'NODE'}")
