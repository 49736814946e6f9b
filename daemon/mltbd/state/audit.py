"""What happened, and why: the last events of the cluster, worked out from the log alone. Same entries, same history.

A change of place is one event from the entry that began it (its id) until the workload runs; each entry on the way
adds the phase that ended with it. Everything else is an event of one entry.

Since when a workload was down is known only of a change that begins with one of OPENINGS.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypedDict, Unpack

from mltb_transport.history import Phase
from mltb_transport.messages import CancelFailback, Entry, Founding, Grant, Move, NoOp, Release, Started
from mltb_transport.supervision import Hooked
from mltb_transport.voters import ChangeVoters
from mltbd.state.dumps import row, rows, unrow
from mltbd.state.placements import Placement, Placements

EVENTS_MAX = 2000
TEXT_CHARS_MAX = 500
"""Of a reason, a choice or an error: an event must stay small wherever its words came from."""
PHASES_MAX = 32
"""Of one event: a workload may be granted to the same node again and again before it starts."""
OPENINGS = ("detect", "stop")
"""Phases at whose beginning the workload was known to run."""
RUNNING, DONE, FAILED = "running", "done", "failed"
MOVES = ("placement", "failover", "switchover", "failback", "drain", "handover", "rollback")


@dataclass(frozen=True, slots=True)
class Event:
    """`by` led and decided; `source` ran (or led) before, `node` after it. Times are wall milliseconds."""

    id: int  # index of the entry that began it
    kind: str
    at: int
    term: int
    by: str = ""
    workload: str = ""
    source: str = ""
    node: str = ""
    cause: str = ""
    reason: str = ""
    choice: str = ""  # why this node
    operator: str = ""
    votes: tuple[str, ...] = ()
    phases: tuple[Phase, ...] = ()
    state: str = DONE
    error: str = ""
    token: int = 0
    ended: int = 0  # wall of the last entry that added to it
    changed: int = 0  # index of that entry


class Facts(TypedDict, total=False):
    """What `Audit.note` may be told beside the kind."""

    workload: str
    source: str
    node: str
    cause: str
    reason: str
    choice: str
    operator: str
    votes: tuple[str, ...]
    phases: tuple[Phase, ...]
    state: str
    error: str
    token: int


class Audit:
    """The last EVENTS_MAX events by id. `apply` follows placements and elections, `note` is for everything else."""

    def __init__(self) -> None:
        self.events: dict[int, Event] = {}
        self.leader = ""
        """Who won the last election that was applied."""

    def note(self, entry: Entry, kind: str, **facts: Unpack[Facts]) -> None:
        """This entry is an event of its own, of this kind."""
        for name in ("reason", "choice", "error"):
            if name in facts:
                facts[name] = facts[name][:TEXT_CHARS_MAX]
        self._keep(Event(entry.index, kind, entry.wall, entry.term, self.leader, ended=entry.wall, **facts), entry)

    def apply(self, entry: Entry, before: Placement, placements: Placements) -> None:
        """`before`: the placement that the entry speaks of, as it was; `placements`: all of them after it."""
        after = placements.get(before.workload)
        match entry.command:
            case ChangeVoters() as command:
                names = tuple(voter.node for voter in command.voters)
                self.note(
                    entry, command.cause, node=command.node, reason=command.reason, operator=command.operator,
                    votes=names,
                )  # fmt: skip
            case Founding(_, name, voters):
                self.note(entry, "founding", reason=name, votes=tuple(voter.node for voter in voters))
            case NoOp() as command:
                self._elected(entry, command)
            case Move() as command:
                self._asked(entry, command, before, placements)
            case Release() as command if before.owner and not after.owner:
                self._released(entry, command, before)
            case Grant() as command if after.token == entry.index:
                self._granted(entry, command, before, after)
            case Started() as command if after.started and not before.started:
                self._started(entry, command)
            case Hooked() as command if after.hooked == command.number != before.hooked and not command.ok:
                self.note(
                    entry, "hook", workload=command.workload, node=after.owner, cause=command.hook, state=FAILED,
                    error=command.detail, token=command.token,
                )  # fmt: skip
            case CancelFailback() as command:
                self.note(entry, "cancel_failback", workload=command.workload, operator=command.operator)
            case _:
                pass
        for number in (before.moving, entry.index):
            self._close_failed(entry, number, placements)

    # -- one entry each --------------------------------------------------------------------------------------

    def _elected(self, entry: Entry, command: NoOp) -> None:
        before = self.leader
        if command.leader:
            self.leader = command.leader
            self.note(
                entry, "election", source=before, node=command.leader, cause=command.cause, votes=command.votes,
                phases=command.phases,
            )  # fmt: skip
        elif command.cause:
            self.note(entry, "transfer", node=before, state=FAILED, error=command.cause)

    def _asked(self, entry: Entry, command: Move, before: Placement, placements: Placements) -> None:
        operation = placements.operations.get(entry.index)
        self.note(
            entry, command.cause, workload=command.workload, source=before.owner or before.home, node=command.target,
            cause="asked" if command.operator else "", reason=command.reason, operator=command.operator,
            state=RUNNING if operation is not None and not operation.error else FAILED,
            error=operation.error if operation is not None else "",
        )  # fmt: skip

    def _released(self, entry: Entry, command: Release, before: Placement) -> None:
        asked = self.events.get(before.moving)
        if asked is not None and asked.state == RUNNING and not asked.token:
            # Of one that did not run yet, a stop would tell of a downtime that began with it.
            stop = (Phase("stop", _took(command.took_s, asked, entry)),) if before.started else ()
            self._go_on(entry, asked, *stop)
        else:
            planned = before.started and command.took_s > 0
            self.note(
                entry, "release", workload=command.workload, source=before.owner, cause=command.cause,
                token=command.token, phases=(Phase("stop", command.took_s),) if planned else (),
            )  # fmt: skip

    def _granted(self, entry: Entry, command: Grant, before: Placement, after: Placement) -> None:
        phases = self._led_up(command, before)
        begun = self.events.get(before.moving)
        if begun is not None and begun.state == RUNNING and not phases:
            # Measured by nobody when the leader changed in between; the wall clocks still tell.
            phases = (Phase("grant", _took(0.0, begun, entry)),)
        if begun is not None and begun.state == RUNNING and after.moving == begun.id:
            choice = (command.choice or begun.choice)[:TEXT_CHARS_MAX]
            self._go_on(entry, replace(begun, node=command.owner, token=entry.index, choice=choice), *phases)
        else:
            if begun is not None and begun.state == RUNNING and not begun.token:
                phases = (*begun.phases, *phases)  # It stopped for a move that leads elsewhere now.
            elif given := self._given_back(before):
                phases = (*given.phases, *(phases or (Phase("grant", _took(0.0, given, entry)),)))
            self.note(
                entry, command.cause, workload=command.workload, source=before.owner or before.home,
                node=command.owner, reason=command.reason, choice=command.choice, phases=phases,
                state=RUNNING, token=entry.index,
            )  # fmt: skip

    def _led_up(self, command: Grant, before: Placement) -> tuple[Phase, ...]:
        """The phases of a grant, without `detect` where the owner's last sign of life tells nothing of the workload.

        It had not started it; or it was lost under an earlier leader, another node, which was seen later than it.
        """
        elected = any(phase.name == "election" for phase in command.phases)
        reign = next((e for e in reversed(self.events.values()) if e.kind == "election"), None) if elected else None
        if before.started and (not elected or (reign is not None and reign.source == before.owner)):
            return command.phases
        return tuple(phase for phase in command.phases if phase.name != "detect")

    def _given_back(self, before: Placement) -> Event | None:
        """The planned stop by which the last owner gave this token back; None where it was no such stop."""
        for event in reversed(self.events.values()):
            if event.token == before.token and event.workload == before.workload:
                return event if event.kind == "release" and event.phases else None
        return None

    def _started(self, entry: Entry, command: Started) -> None:
        for event in reversed(self.events.values()):
            if event.token == command.token and event.state == RUNNING:
                start = Phase("start", _took(command.took_s, event, entry))
                self._go_on(entry, replace(event, state=DONE), start)
                return

    # -- the events ------------------------------------------------------------------------------------------

    def _go_on(self, entry: Entry, event: Event, *phases: Phase) -> None:
        self._keep(replace(event, phases=_bounded((*event.phases, *phases)), ended=entry.wall), entry)

    def _close_failed(self, entry: Entry, number: int, placements: Placements) -> None:
        """A move that failed by this entry is told so in its own event."""
        event, operation = self.events.get(number), placements.operations.get(number)
        if event is not None and operation is not None and event.state == RUNNING and operation.error:
            error = operation.error[:TEXT_CHARS_MAX]
            self._keep(replace(event, state=FAILED, error=error, ended=entry.wall), entry)

    def _keep(self, event: Event, entry: Entry) -> None:
        self.events[event.id] = replace(event, changed=entry.index)
        while len(self.events) > EVENTS_MAX:
            del self.events[next(iter(self.events))]

    # -- snapshots -------------------------------------------------------------------------------------------

    def dump(self) -> list[Any]:
        """Everything, as plain lists; see `load`."""
        return [self.leader, [_dumped(event) for event in self.events.values()]]

    @classmethod
    def load(cls, dumped: list[Any]) -> Audit:
        """The inverse of `dump`. Raises ValueError for what no release up to this one dumped."""
        audit = cls()
        found = rows(dumped, "a history")
        if len(found) != 2 or type(found[0]) is not str:
            raise ValueError("a history has a leader and events")
        audit.leader = found[0]
        audit.events = {event.id: event for event in (_loaded(fields) for fields in rows(found[1], "events"))}
        return audit


def _bounded(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """No more than PHASES_MAX: an opening takes in what follows it, for it holds the downtime; else the oldest go."""
    over = len(phases) - PHASES_MAX
    if over <= 0 or phases[0].name not in OPENINGS:
        return phases[-PHASES_MAX:]
    first = Phase(phases[0].name, sum(phase.seconds for phase in phases[: over + 1]))
    return (first, *phases[over + 1 :])


def _took(measured_s: float, event: Event, entry: Entry) -> float:
    """As the leader measured it, else by the wall clocks of the entries."""
    return measured_s or max(0.0, (entry.wall - event.ended) / 1000)


_LISTS = (Event.__slots__.index("votes"), Event.__slots__.index("phases"))
_TYPES = tuple(map(type, row(Event(0, "", 0, 0))))


def _dumped(event: Event) -> list[Any]:
    values = row(event)
    votes, phases = _LISTS
    values[votes], values[phases] = list(event.votes), [row(phase) for phase in event.phases]
    return values


def _loaded(dumped: object) -> Event:
    values = list(rows(dumped, "an event"))
    votes, phases = _LISTS
    if not phases < len(values) <= len(Event.__slots__):
        raise ValueError(f"an event of {len(values)} fields")
    names = rows(values[votes], "votes")
    steps = tuple(unrow(Phase, phase) for phase in rows(values[phases], "phases"))
    for place, (value, plain) in enumerate(zip(values, _TYPES, strict=False)):
        if type(value) is not plain and place not in _LISTS:
            raise ValueError(f"Event.{Event.__slots__[place]} is {value!r}")
    if not all(type(name) is str for name in names):
        raise ValueError("a vote is no name")
    values[votes], values[phases] = tuple(names), steps
    return Event(*values)
