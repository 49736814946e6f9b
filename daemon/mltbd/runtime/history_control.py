"""The history as the control plane shows it: pages of events, one event with what belongs to it. Pure reading."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mltb_transport.replies import ParamsError
from mltbd.core.describe import sentence
from mltbd.core.node import Node
from mltbd.runtime.instants import instant
from mltbd.state.audit import DONE, FAILED, MOVES, OPENINGS, Event

PAGE_EVENTS_MAX = 200
PAGE_CHARS_MAX = 128 * 1024
"""Far below what one answer may hold."""
NAME_CHARS_MAX = 255

STANDING = ("order", "grant")
"""Phases in which nobody can have run the workload. It may run before the end of `start`: that is when it was told."""

Answer = tuple[bool, dict[str, Any]]


def downtime_s(event: Event) -> float | None:
    """The longest the workload can have been down. None where nobody knows since when, or `was_down` is false."""
    if not was_down(event) or not event.phases or event.phases[0].name not in OPENINGS:
        return None
    return round(sum(phase.seconds for phase in event.phases), 3)


def downtime_at_least_s(event: Event) -> float | None:
    """The shortest; None where `was_down` is false."""
    if not was_down(event):
        return None
    return round(sum(phase.seconds for phase in event.phases if phase.name in STANDING), 3)


def was_down(event: Event) -> bool:
    """Whether this change of place is over, of a workload that ran before."""
    return event.kind in MOVES and event.state == DONE and bool(event.source)


def event_view(event: Event) -> dict[str, Any]:
    """One event, as scripts get it; `text` is the sentence people get."""
    return {
        "id": event.id,
        "kind": event.kind,
        "at": instant(event.at, thousandths=True),
        "ended": instant(event.ended, thousandths=True),
        "changed": event.changed,
        "state": event.state,
        "text": sentence(event),
        "workload": event.workload or None,
        "from": event.source or None,
        "to": event.node or None,
        "cause": event.cause or None,
        "reason": event.reason or None,
        "choice": event.choice or None,
        "operator": event.operator or None,
        "leader": event.by or None,
        "term": event.term,
        "token": event.token or None,
        "votes": list(event.votes),
        "phases": [{"name": phase.name, "seconds": round(phase.seconds, 3)} for phase in event.phases],
        "downtime_seconds": downtime_s(event),
        "downtime_at_least_seconds": downtime_at_least_s(event),
        "error": event.error or None,
    }


def events(node: Node, params: dict[str, Any]) -> Answer:
    """The events that changed after entry `after`, oldest change first, as many as fit; `more` when that is not all.

    With `newest` at most that many, the last ones.
    """
    after, since, newest = _number(params, "after"), _number(params, "since"), _number(params, "newest")
    kind, workload = _text(params, "kind"), _text(params, "workload")
    found = [
        event
        for event in node.state.audit.events.values()
        if event.changed > after and event.at >= since
        if kind in ("", event.kind) and workload in ("", event.workload)
    ]
    found.sort(key=lambda event: (event.changed, event.id))
    found = found[-newest:] if newest else found
    page: list[dict[str, Any]] = []
    chars = 0
    for event in found[:PAGE_EVENTS_MAX]:
        view = event_view(event)
        chars += len(json.dumps(view))
        if chars > PAGE_CHARS_MAX:
            break
        page.append(view)
    while page and len(page) < len(found) and found[len(page)].changed == page[-1]["changed"]:
        page.pop()  # Both or none of two that changed at once: the next page begins after this change.
    last = page[-1]["changed"] if page else max(after, node.state.applied)
    return True, {"node": node.me, "events": page, "last": last, "more": len(page) < len(found)}


def event(node: Node, params: dict[str, Any]) -> Answer:
    """One event by its id or by the index of the entry that ended it; without `id` the last that mattered.

    `event` is null when nothing that matters has happened yet. Beside it what belongs to its story.
    """
    told = node.state.audit.events
    number = _number(params, "id")
    chosen = _find(told, number) if number else _last(told)
    if number and chosen is None:
        held = f"the history holds {min(told)} to {max(told)}" if told else "the history is empty"
        return False, {"code": "failed", "message": f"no event {number}: {held}", "hint": "mltbctl events"}
    founding = next((e for e in told.values() if e.kind == "founding"), None)
    body: dict[str, Any] = {
        "node": node.me,
        "event": None if chosen is None else event_view(chosen),
        "founding": None if founding is None else event_view(founding),
        "placements": [
            {"workload": p.workload, "owner": p.owner or None, "since": instant(p.since, thousandths=True)}
            for _, p in sorted(node.state.placements.by_workload.items())
        ],
    }
    if chosen is not None:
        body |= {name: None if e is None else event_view(e) for name, e in _company(told, chosen).items()}
    return True, body


def _find(told: dict[int, Event], number: int) -> Event | None:
    if number in told:
        return told[number]
    return next((event for event in told.values() if event.changed == number), None)


def _last(told: dict[int, Event]) -> Event | None:
    """The youngest change of place; where there was none but the first, the youngest election but the first."""
    changes = [e for e in told.values() if e.kind in MOVES and (e.source or e.kind != "placement")]
    elections = [e for e in told.values() if e.kind == "election" and e.source]
    mattered = changes or elections
    return mattered[-1] if mattered else None


def _company(told: dict[int, Event], chosen: Event) -> dict[str, Event | None]:
    """The events its story needs: the election it began with, the giving back before it, what came instead of it."""
    before = [e for e in told.values() if e.id < chosen.id]
    same = [e for e in before if e.workload == chosen.workload and chosen.workload]
    held_election = any(phase.name == "election" for phase in chosen.phases) and chosen.kind != "election"
    released = same[-1] if same and same[-1].kind == "release" else None
    followed = told.get(chosen.changed)  # Of a move that failed because another took its place.
    return {
        "election": next((e for e in reversed(before) if e.kind == "election"), None) if held_election else None,
        "release": released if chosen.kind in MOVES else None,
        "followed_by": followed if chosen.state == FAILED and followed is not chosen else None,
    }


def _number(params: dict[str, Any], name: str) -> int:
    value = params.get(name, 0)
    if type(value) is not int or not 0 <= value < 2**63:
        raise ParamsError(f"`{name}` is a number, not negative")
    return value


def _text(params: dict[str, Any], name: str) -> str:
    value = params.get(name, "")
    if type(value) is not str or len(value) > NAME_CHARS_MAX:
        raise ParamsError(f"`{name}` is a short text")
    return value


METHODS: dict[str, Callable[[Node, dict[str, Any]], Answer]] = {"events": events, "event": event}
