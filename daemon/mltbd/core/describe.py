"""The words for every decision, in one place: the log, the history and `mltbctl explain` say the same."""

from __future__ import annotations

from mltb_transport.messages import Grant
from mltbd.core.failover import Candidate, Facts, Policy, best, preference
from mltbd.state.audit import FAILED, RUNNING, Event

CHOICE_CHARS_MAX = 300
ELECTION_CAUSES = {
    "silence": "was silent",
    "restart": "was silent",
    "broken": "was lost: its connections broke",
    "transfer": "handed over",
}
RELEASE_CAUSES = {
    "moved": "was asked to move it",
    "leaving": "is leaving",
    "failed": "could not keep it running",
    "restarted": "came back without knowing whether it still ran",
    "drained": "is to be empty",
    "lost": "is lost",
}

VOTER_CAUSES = {
    "promoted": "{node} became a voter",
    "lost": "the disk of {node} that was a voter is gone",
    "removed": "{node} was removed",
    "admitted": "{node} is let in again",
    "recovered": "{node} went on alone after the majority was lost",
}


# -- notes of the log --------------------------------------------------------------------------------------------


def grants(command: Grant) -> str:
    return f"grants {command.workload} to {command.owner}: {command.cause} {command.reason}".rstrip()


def leads(term: int, voters: list[str]) -> str:
    return f"leads term {term}, elected by {' '.join(voters)}"


def voters_change(cause: str, node: str, voters: list[str]) -> str:
    return f"{VOTER_CAUSES[cause].format(node=node)}: the voters are {' '.join(voters)}"


def follows(leader: str, term: int) -> str:
    return f"follows {leader} in term {term}"


def steps_down(term: int, why: str) -> str:
    return f"steps down in term {term}: {why}"


# -- why this node -----------------------------------------------------------------------------------------------


def choice(policy: Policy, facts: Facts, command: Grant) -> str:
    """Why this node and none of the others."""
    operation = facts.operation
    if operation is not None and facts.placement.asked_to_move and operation.target == command.owner:
        return f"{command.owner} is where the {operation.cause} leads"
    chosen = next((c for c in facts.candidates if c.node == command.owner), None)
    if chosen is None:
        return ""
    workload = command.workload
    others = [c for c in facts.candidates if c.node != command.owner]
    unable = "; ".join(f"{c.node}: {', '.join(c.reasons)}" for c in others if not c.eligible)
    second = best(policy, workload, tuple(others))
    if second is None:
        words = f"{command.owner} is the only node that can"
    elif preference(policy, workload, chosen) > preference(policy, workload, second):
        words = f"{command.owner} goes on; {second.node} would come first"
    else:
        words = f"{command.owner} comes before {second.node}: {_ahead(policy, workload, chosen, second)}"
    return (f"{words} ({unable})" if unable else words)[:CHOICE_CHARS_MAX]


def _ahead(policy: Policy, workload: str, first: Candidate, second: Candidate) -> str:
    (place, _), (other, _) = preference(policy, workload, first), preference(policy, workload, second)
    if place < other:
        return "it stands first in the configured order"
    if policy.spread and first.load < second.load:
        return f"it runs fewer others, {first.load} against {second.load}"
    if first.priority > second.priority:
        return f"priority {first.priority} over {second.priority}"
    return "equal priority, and its name is the first"


# -- the history -------------------------------------------------------------------------------------------------


def sentence(event: Event) -> str:
    """One event in one line."""
    words = _SENTENCES.get(event.kind, _other)(event)
    if event.state == FAILED and event.error and event.error not in words:
        words += f"; failed: {event.error}"
    return words


def _founding(event: Event) -> str:
    return f"cluster {event.reason} founded with {' '.join(event.votes)}"


def _election(event: Event) -> str:
    led = f"{event.node} leads term {event.term}"
    if not event.source:
        return f"{led}: the first leader"
    if event.source == event.node:
        began_anew = "its daemon began anew" if event.cause == "restart" else "no quorum stood behind it for a while"
        return f"{led} again: {began_anew}"
    return f"{led}: {event.source} {ELECTION_CAUSES.get(event.cause, event.cause)}"


def _transfer(event: Event) -> str:
    return f"{event.node} goes on leading: {event.error}"


def _move(event: Event) -> str:
    name, node, source = event.workload, event.node, event.source
    running = event.state == RUNNING
    if event.kind == "placement":
        verb = "is to start" if running else "starts"
        return f"{name} {verb} on {node}" + (f": {event.reason}" if event.reason else "")
    by = f", asked for by {event.operator}" if event.operator else ""
    why = f": {event.reason}" if event.reason else ""
    verb = "is moving" if running else "was to move" if event.state == FAILED else "moved"
    return f"{name} {verb} from {source or 'nowhere'} to {node} ({event.kind}{by}){why}"


def _release(event: Event) -> str:
    return f"{event.source} gave {event.workload} back: it {RELEASE_CAUSES.get(event.cause, event.cause)}"


def _cancel_failback(event: Event) -> str:
    return f"no automatic failback of {event.workload}" + (f", says {event.operator}" if event.operator else "")


def _hook(event: Event) -> str:
    return f"{event.cause} of {event.workload} failed on {event.node}: {event.error}"


def _voters(event: Event) -> str:
    what = VOTER_CAUSES[event.kind].format(node=event.node)
    by = f", asked for by {event.operator}" if event.operator else ""
    return f"{what}{by}: the voters are {' '.join(event.votes)}" + (f" ({event.reason})" if event.reason else "")


def _control(event: Event) -> str:
    what = _CONTROLS[event.kind].format(node=event.node)
    by = f", asked for by {event.operator}" if event.operator else ""
    return f"{what}{by}" + (f": {event.reason}" if event.reason else "")


def _level(event: Event) -> str:
    return f"the protocol level rose from {event.reason}: all members speak it"


def _other(event: Event) -> str:
    """Of a kind that has no words of its own: what it concerns, who asked and why."""
    about = " ".join(part for part in (event.kind.replace("_", " "), event.workload, event.node) if part)
    by = f", asked for by {event.operator}" if event.operator else ""
    return f"{about}{by}" + (f": {event.reason}" if event.reason else "")


_CONTROLS = {
    "pause": "no automatic moves",
    "resume": "automatic moves are on",
    "drain_node": "{node} is to be empty",
    "undrain_node": "{node} takes workloads again",
}
_SENTENCES = {
    **dict.fromkeys(_CONTROLS, _control),
    "founding": _founding,
    "election": _election,
    "transfer": _transfer,
    "placement": _move,
    "failover": _move,
    "switchover": _move,
    "failback": _move,
    "drain": _move,
    "handover": _move,
    "rollback": _move,
    "release": _release,
    "cancel_failback": _cancel_failback,
    "hook": _hook,
    "level": _level,
    **dict.fromkeys(VOTER_CAUSES, _voters),
}
