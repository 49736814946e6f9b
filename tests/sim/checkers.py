"""The promises, each judged from the history alone: TRUE, FALSE with the reason, or UNKNOWN, which fails as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mltb_transport.messages import Entry, Founding, Grant, Move
from mltb_transport.voters import ChangeVoters
from tests.sim.cluster import WORKLOAD
from tests.sim.control_checkers import drained_stay_empty, pause_holds, pauses_last
from tests.sim.copy_checkers import copies_at_home, copies_everywhere, once_or_everywhere
from tests.sim.history import (
    Applied,
    Began,
    Broke,
    Closed,
    Cut,
    Deposed,
    Down,
    Healed,
    Held,
    History,
    Joined,
    Kept,
    Leads,
    Replied,
    Spoke,
    Up,
    Voted,
    Vouched,
    WentAlone,
)
from tests.sim.level_checkers import log_keeps_its_level, raised_when_all_speak, spoken_only
from tests.sim.recovery_checkers import Line, left_behind_stay_apart, line_of, no_number_twice
from tests.sim.wrong import Undecided, Wrong

TRUE, FALSE, UNKNOWN = "true", "false", "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one checker found. `why` is empty when all is well."""

    checker: str
    answer: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.checker}: {self.answer}{f', {self.why}' if self.why else ''}"


def nothing_broke(history: History) -> None:
    """No node contradicted itself, raised an error or spun."""
    for happening in history:
        if isinstance(happening, Broke):
            raise Wrong(f"{happening.node} at {happening.at:.3f}: {happening.error}")


def one_leader_per_term(history: History) -> None:
    leaders: dict[int, str] = {}
    for happening in history:
        if isinstance(happening, Leads):
            rival = leaders.setdefault(happening.term, happening.node)
            if rival != happening.node:
                raise Wrong(f"{rival} and {happening.node} both lead term {happening.term}")
    if not leaders:
        raise Undecided("nobody ever led")


def votes_stand(history: History) -> None:
    """A voter, which is a node with its disk, never gives two votes in one term, whatever restarts lie between.

    A new disk under the same name is another voter: that nobody counts it for the old one, "one leader per term" sees.
    """
    votes: dict[tuple[str, int], str] = {}
    for happening in history:
        if isinstance(happening, Voted):
            before = votes.setdefault((happening.store, happening.term), happening.candidate)
            if before != happening.candidate:
                raise Wrong(f"{happening.node} voted for {before} and {happening.candidate} in term {happening.term}")


def terms_never_fall(history: History) -> None:
    """What an earlier run claimed to others, the next one remembers (on the same disk)."""
    spoken: dict[str, int] = {}
    for happening in history:
        if isinstance(happening, Spoke):
            spoken[happening.store] = max(spoken.get(happening.store, 0), happening.term)
        elif isinstance(happening, Began) and happening.term < spoken.get(happening.store, 0):
            raise Wrong(f"{happening.node} began in term {happening.term} after speaking in {spoken[happening.store]}")


def logs_match(history: History) -> None:
    """Same index and term: same entry, and the same before it."""
    seen: dict[tuple[int, int], tuple[Entry, int]] = {}
    for happening in history:
        if not isinstance(happening, Held | Leads):
            continue
        before = happening.base[1]
        for entry in happening.log:
            known = seen.setdefault((entry.index, entry.term), (entry, before))
            if known != (entry, before):
                raise Wrong(f"{happening.node} has {entry} after term {before}, elsewhere {known}")
            before = entry.term


def committed_is_stable(history: History) -> None:
    """What anybody applied, everybody applies there, with the same state after it; later leaders have it.

    In each cluster by itself, where a node went on alone.
    """
    lines = [Line()]
    for happening in history:
        if isinstance(happening, WentAlone):
            lines.append(Line(happening.index, happening.term))
        elif isinstance(happening, Applied):
            _applied_as_elsewhere(line_of(lines, happening.entry.index - 1), happening)
        elif isinstance(happening, Kept):
            line = line_of(lines, happening.index)
            if line.term_at(happening.index) != happening.term:
                raise Wrong(f"{happening.node} keeps a snapshot of entry {happening.index}, which nobody applied")
            known = line.digests.setdefault(happening.index, happening.digest)
            if known != happening.digest:
                raise Wrong(f"snapshot of {happening.index} on {happening.node}: {happening.digest}, else {known}")
        elif isinstance(happening, Leads):
            base, base_term = happening.base
            line = line_of(lines, base + len(happening.log))
            # One that was elected before, and only now counts its votes, need not know of later terms.
            earlier = [place for place, term in enumerate(line.terms, start=1) if term < happening.term]
            due = line.base + max(earlier, default=0)
            whole = base >= due or list(happening.log[: due - base]) == line.entries[base - line.base : due - line.base]
            if line.term_at(base) != base_term or not whole:
                raise Wrong(f"{happening.node} leads term {happening.term} without all that was committed")
    if not lines[0].entries:
        raise Undecided("nothing was ever applied")


def _applied_as_elsewhere(line: Line, happening: Applied) -> None:
    entry = happening.entry
    if entry.index > line.end + 1:
        raise Wrong(f"{happening.node} applied entry {entry.index}, nobody {line.end + 1}")
    if entry.index == line.end + 1:
        line.entries.append(entry)
        line.terms.append(happening.term)
    elif line.entries[entry.index - line.base - 1] != entry:
        raise Wrong(f"{happening.node} applied {entry}, elsewhere {line.entries[entry.index - line.base - 1]}")
    if happening.digest:
        known = line.digests.setdefault(entry.index, happening.digest)
        if known != happening.digest:
            raise Wrong(f"after {entry.index}: {happening.node} has {happening.digest}, else {known}")


def snapshots_are_kept(history: History) -> None:
    """A snapshot that was said to be on disk is there when the next run begins."""
    vouched: dict[str, int] = {}
    for happening in history:
        if isinstance(happening, Vouched):
            vouched[happening.store] = max(vouched.get(happening.store, 0), happening.index)
        elif isinstance(happening, Began) and happening.last < vouched.get(happening.store, 0):
            raise Wrong(f"{happening.node} began with {happening.last}, it vouched for {vouched[happening.store]}")


def one_at_a_time(history: History) -> None:
    """At most one live workload of a name at any instant."""
    live: dict[str, Up] = {}
    for happening in history:
        if isinstance(happening, Up):
            other = live.get(happening.workload)
            if other is not None:
                raise Wrong(
                    f"`{happening.workload}` starts on {happening.node} (token {happening.token}) at"
                    f" {happening.at:.4f} while it lives on {other.node} (token {other.token})"
                )
            live[happening.workload] = happening
        elif isinstance(happening, Down):
            del live[happening.workload]


def tokens_grow(history: History) -> None:
    """Whoever starts has the youngest token of all that ever ran, granted to that node and to no earlier disk of it."""
    owners: dict[tuple[str, int], str] = {}
    highest: dict[str, int] = {}
    disks: dict[str, str] = {}
    ran: dict[tuple[str, int], str] = {}
    for happening in history:
        if isinstance(happening, Began):
            disks[happening.node] = happening.store
        elif isinstance(happening, Up):
            disk = disks.get(happening.node, "")
            if ran.setdefault((happening.workload, happening.token), disk) != disk:
                raise Wrong(f"{happening.node} starts under token {happening.token} of an earlier disk of its name")
        if isinstance(happening, Applied) and isinstance(happening.entry.command, Grant):
            grant = happening.entry.command
            owners[grant.workload, happening.entry.index] = grant.owner
        elif isinstance(happening, Up):
            if happening.token < highest.get(happening.workload, 0):
                raise Wrong(
                    f"{happening.node} starts under token {happening.token} after {highest[happening.workload]} ran"
                )
            highest[happening.workload] = happening.token
            # The one who starts may apply the grant in the same step, so the record of it may follow.
    for happening in history:
        if isinstance(happening, Up):
            owner = owners.get((happening.workload, happening.token))
            if owner != happening.node:
                raise Wrong(f"{happening.node} ran token {happening.token}, granted to {owner}")


def cut_off_stops(history: History, lease_s: float) -> None:
    """An owner that hears nobody has stopped within the lease; the only voter needs to hear nobody."""
    cut: dict[str, float] = {}
    live: dict[tuple[str, str], float] = {}
    alone, youngest = "", 0
    for happening in history:
        if isinstance(happening, Applied) and happening.entry.index > youngest:
            youngest, command = happening.entry.index, happening.entry.command
            if isinstance(command, Founding | ChangeVoters):
                alone = command.voters[0].node if len(command.voters) == 1 else ""
                cut.pop(alone, None)
        if isinstance(happening, WentAlone):
            alone, youngest = happening.node, happening.index
            cut.pop(alone, None)
        if isinstance(happening, Closed):
            for node in cut:
                _stopped_in_time(node, happening.at, cut, live, lease_s)
        if not isinstance(happening, Cut | Joined | Up | Down):
            continue
        node, at = happening.node, happening.at
        if isinstance(happening, Up):
            if node in cut and at > cut[node] + lease_s:
                raise Wrong(f"{node} starts at {at:.3f}, cut off since {cut[node]:.3f}")
            live[node, happening.workload] = at
        elif isinstance(happening, Down):
            _stopped_in_time(node, at, cut, live, lease_s)
            del live[node, happening.workload]
        elif isinstance(happening, Joined):
            _stopped_in_time(node, at, cut, live, lease_s)
            cut.pop(node, None)
        elif alone != node:
            cut[node] = at


def _stopped_in_time(
    node: str, at: float, cut: dict[str, float], live: dict[tuple[str, str], float], lease_s: float
) -> None:
    if node in cut and any(name == node for name, _ in live) and at > cut[node] + lease_s:
        raise Wrong(f"{node} still ran at {at:.3f}, cut off since {cut[node]:.3f} with a lease of {lease_s:g} s")


def acknowledged_survives(history: History) -> None:
    """An operation that was acknowledged stands in the log at its number, for ever: a move, or a grant unasked for.

    Or stood in the one that went on alone, and is in its snapshot.
    """
    entries = {entry.index: entry for h in history if isinstance(h, WentAlone) for entry in h.entries}
    entries |= {h.entry.index: h.entry for h in history if isinstance(h, Applied)}
    for happening in history:
        if isinstance(happening, Replied) and not happening.code and happening.operation:
            entry = entries.get(happening.operation)
            if entry is None:
                raise Wrong(f"operation {happening.operation} was acknowledged and is nowhere")
            if _target(entry) != happening.target:
                raise Wrong(f"operation {happening.operation} to {happening.target} turned into {entry}")


def _target(entry: Entry) -> str:
    match entry.command:
        case Move(target=target):
            return target
        case Grant(owner=owner):
            return owner
    return ""


def runs_again(history: History, leader_s: float, runs_s: float, within_s: float) -> None:
    """After healing: a leader within `leader_s`, the workload `runs_s` later, and both still there `within_s` after."""
    healed = next((h.at for h in history if isinstance(h, Healed)), None)
    if healed is None:
        raise Undecided("the faults never ended")
    leaders: set[str] = set()
    live = 0
    led_at = ran_at = None
    closed_at = max((h.at for h in history if isinstance(h, Closed)), default=0.0)
    for happening in history:
        if isinstance(happening, Leads):
            leaders.add(happening.node)
        elif isinstance(happening, Deposed):
            leaders.discard(happening.node)
        elif isinstance(happening, Up | Down) and happening.workload == WORKLOAD:
            live += 1 if isinstance(happening, Up) else -1
        if happening.at < healed:
            continue
        if led_at is None and leaders:
            led_at = happening.at
        if led_at is not None and ran_at is None and live:
            ran_at = happening.at
    if led_at is None or led_at > healed + leader_s:
        raise Wrong(f"no leader within {leader_s:.2f} s of healing at {healed:.2f}: {led_at}")
    if ran_at is None or ran_at > led_at + runs_s:
        raise Wrong(f"not running within {runs_s:.2f} s of the leader at {led_at:.2f}: {ran_at}")
    if closed_at < ran_at + within_s:
        raise Undecided(f"observed only until {closed_at:.2f}, running since {ran_at:.2f}")
    if len(leaders) != 1 or live != 1:
        raise Wrong(f"in the end {len(leaders)} lead and {live} run")


def check_safety(history: History, lease_s: float) -> list[Verdict]:
    """Every promise that holds whatever happens."""
    rules: dict[str, Callable[[], None]] = {
        "nothing broke": lambda: nothing_broke(history),
        "one leader per term": lambda: one_leader_per_term(history),
        "votes stand": lambda: votes_stand(history),
        "terms never fall": lambda: terms_never_fall(history),
        "logs match": lambda: logs_match(history),
        "committed is stable": lambda: committed_is_stable(history),
        "snapshots are kept": lambda: snapshots_are_kept(history),
        "left behind stay apart": lambda: left_behind_stay_apart(history),
        "no number twice": lambda: no_number_twice(history),
        "one at a time": lambda: one_at_a_time(history),
        "tokens grow": lambda: tokens_grow(history),
        "cut off stops": lambda: cut_off_stops(history, lease_s),
        "acknowledged survives": lambda: acknowledged_survives(history),
        "pause holds": lambda: pause_holds(history),
        "pauses last": lambda: pauses_last(history),
        "drained stay empty": lambda: drained_stay_empty(history),
        "copies at home": lambda: copies_at_home(history),
        "once or everywhere": lambda: once_or_everywhere(history),
    }
    return [_judge(name, rule) for name, rule in rules.items()]


def check_liveness(history: History, leader_s: float, runs_s: float, within_s: float) -> Verdict:
    return _judge("runs again", lambda: runs_again(history, leader_s, runs_s, within_s))


def check_levels(history: History, patience_s: float, fresh_s: float) -> list[Verdict]:
    """The promises to whoever upgrades a cluster node by node. `fresh_s`: a leader takes nobody who was silent for as
    long for present."""
    return [
        _judge("spoken only", lambda: spoken_only(history)),
        _judge("log keeps its level", lambda: log_keeps_its_level(history)),
        _judge("raised when all speak", lambda: raised_when_all_speak(history, patience_s, fresh_s)),
    ]


def check_copies(history: History, homes: tuple[str, ...]) -> Verdict:
    return _judge("copies everywhere", lambda: copies_everywhere(history, homes))


def _judge(name: str, rule: Callable[[], None]) -> Verdict:
    try:
        rule()
    except Wrong as wrong:
        return Verdict(name, FALSE, str(wrong))
    except Undecided as undecided:
        return Verdict(name, UNKNOWN, str(undecided))
    return Verdict(name, TRUE)
