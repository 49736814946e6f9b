"""The leader at work: confirms leases, judges requests, places workloads. Idle on every other node."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from mltb_transport.messages import (
    Command,
    Entry,
    Grant,
    Move,
    Release,
    Renew,
    Renewed,
    Settled,
    Started,
)
from mltb_transport.records import Record
from mltbd.core import describe, quorum
from mltbd.core.chronicle import Chronicle, repeats
from mltbd.core.consensus import Consensus
from mltbd.core.effects import Reply
from mltbd.core.events import Ask
from mltbd.core.failover import HOUR_S, Candidate, Facts, Policy, decide, hold_down
from mltbd.core.leadership import Leadership
from mltbd.core.lease import Renewals, may_pass_at
from mltbd.core.log import InvariantViolation
from mltbd.core.membership import Membership
from mltbd.core.operator import candidates_of, judge
from mltbd.core.outbox import Outbox
from mltbd.core.owner import Owner
from mltbd.core.timing import Timing
from mltbd.state.machine import State
from mltbd.state.placements import WORKLOADS_MAX

QUEUED_MAX = 256
BEHIND_MAX = 64
"""Entries a node may lag and still be given a workload: its grant comes by the same log, behind them."""
ASKS_MAX = 64
TAKEOVER_FIRST_S = 30.0
FULL_FIRST_S = 1.0
"""A leader whose disk is full hands over to whoever has answered for this long."""


@dataclass(frozen=True, slots=True)
class Read:
    """A request that waits for proof that we still lead."""

    request: int


class Placer:
    """Everything a leader does beyond the log. What it remembers of a reign ends with it."""

    def __init__(
        self,
        me: str,
        policy: Policy,
        timing: Timing,
        consensus: Consensus,
        state: State,
        membership: Membership,
        owner: Owner,
        out: Outbox,
    ) -> None:
        self.me = me
        self.policy = policy
        self.timing = timing
        self.consensus = consensus
        self.state = state
        self.membership = membership
        self.owner = owner
        self.moved_at: deque[float] = deque(maxlen=64)  # changes of owner, as this node saw them applied
        self.led_at: deque[float] = deque(maxlen=64)  # changes of leader
        self._out = out
        self._reign: Leadership | None = None
        self._renewals = Renewals()
        self._chronicle = Chronicle(timing)
        self._queued: list[tuple[str, Renew]] = []
        self._asks: dict[int, tuple[Ask, dict[str, Any]]] = {}  # log index -> who waits for it, with what answer
        self._reads: set[int] = set()  # requests that wait for a quorum's word
        self._operations_seen: dict[int, float] = {}
        self._work_at = float("-inf")

    # -- what happens ----------------------------------------------------------------------------------------

    @property
    def current(self) -> bool:
        """We lead, and our state holds every placement that was ever committed."""
        return self.consensus.in_charge and self.state.applied == self.consensus.commit

    def next_deadline(self) -> float:
        # Until our state is current there is nothing to decide; the event that makes it so leads on to `work`.
        return self._work_at if self._reign is not None and self.current else float("inf")

    def look_again(self, now: float) -> None:
        self._work_at = now

    def applied(self, entry: Entry, now: float) -> None:
        """An entry took effect, here as on every node."""
        self._work_at = now
        command = entry.command
        if isinstance(command, Grant) and self._reign is not None:
            self._renewals.note(command.workload, now)  # Time for the new owner to ask for the first time.
        self._chronicle.applied(entry, now)
        if entry.index in self._asks:
            self._reply_applied(*self._asks.pop(entry.index), entry)

    def renew(self, sender: str, request: Renew, now: float, wall: int) -> None:
        """The owner asks to run on. Confirmed only by a round that begins now or later."""
        self._notice_reign()
        if self._reign is None:
            return
        if not self.current:
            if len(self._queued) < QUEUED_MAX:
                self._queued.append((sender, request))
            return
        placement = self.state.placements.get(request.workload)
        if placement.owner != sender or placement.token != request.token:
            cause = f"token {placement.token} belongs to {placement.owner or 'nobody'}"
            self._answer(sender, Renewed(request.workload, request.token, request.nonce, False, cause), wall)
            return
        if self._pending(request.workload):
            return  # A grant or a release is on its way through the log: no promise about the old token.
        if not self._hears_us(sender, now):
            return  # Our answer would be lost too, and promises nobody hears would pin the workload there for ever.
        if self.consensus.confirm((sender, request), now):
            self._renewals.note(request.workload, now)

    def _hears_us(self, node: str, now: float) -> bool:
        """Whether this node acknowledged us lately, or we have not led for long enough to know."""
        reign = self._must()
        peer = reign.peers.get(node)
        heard_at = reign.won_at if peer is None else max(peer.acked_at, reign.won_at)
        return node == self.me or now - heard_at <= self.timing.election_s

    def confirmed(self, wall: int) -> bool:
        """A quorum stands behind us: tell whoever waited for that. Whether anybody did."""
        tags, self.consensus.confirmations = self.consensus.confirmations, []
        others = self.consensus.confirmations
        for tag in tags:
            match tag:
                case (str() as sender, Renew() as request):
                    self._answer(sender, Renewed(request.workload, request.token, request.nonce, True), wall)
                case Read(number):
                    self._reads.discard(number)
                    self._out.put(Reply(number, result={"leader": self.me, "index": self.consensus.commit}))
                case _:
                    others.append(tag)
        return len(tags) > len(others)

    def _answer(self, sender: str, answer: Renewed, wall: int) -> None:
        if sender == self.me:
            self.owner.renewed(answer, wall)
        else:
            self._out.send(sender, answer)

    def suggested(self, sender: str, command: Command, now: float, wall: int) -> None:
        """A node reports on its own workload. Repeats and strangers' words are dropped."""
        if not self.current or not isinstance(command, Release | Started | Settled):
            return
        placement = self.state.placements.get(command.workload)
        if placement.owner != sender or placement.token != command.token:
            return
        if any(repeats(command, entry.command) for entry in self.consensus.log.after(self.state.applied)):
            return
        self.consensus.propose(self._chronicle.reported(command, now), now, wall)

    # -- operators -------------------------------------------------------------------------------------------

    def asked(self, ask: Ask, now: float, wall: int) -> None:
        """A request from the control plane; every one gets exactly one Reply."""
        if not self.current or self._reign is not self.consensus.reign:
            why = "no leader with a quorum can be reached"
            self._out.put(Reply(ask.request, "no_quorum", why, "mltbctl status"))
            return
        if ask.verb == "confirm":
            if self.consensus.confirm(Read(ask.request), now):
                self._reads.add(ask.request)
            else:
                self._out.put(Reply(ask.request, "unavailable", "too many requests wait", "try again"))
            return
        facts = self.facts(ask.workload, now)
        verdict = judge(ask, facts, self.policy)
        result: dict[str, Any] = {
            "operation": None, "workload": ask.workload, "from": facts.placement.owner or None,
            "to": verdict.target or None, "message": verdict.message,
            "plan": {"quorum": self._quorum_words(now), "candidates": candidates_of(facts)},
        }  # fmt: skip
        if verdict.code or ask.dry_run or verdict.command is None:
            extra = result if not verdict.code else {"candidates": candidates_of(facts)}
            self._out.put(Reply(ask.request, verdict.code, verdict.message, verdict.hint, extra))
            return
        index = self.consensus.propose(verdict.command, now, wall) if len(self._asks) < ASKS_MAX else None
        if index is None:
            self._out.put(Reply(ask.request, "unavailable", "leadership is changing hands", "try again"))
            return
        result["operation"] = index if isinstance(verdict.command, Move) else None
        self._asks[index] = (ask, result)

    def _reply_applied(self, ask: Ask, result: dict[str, Any], entry: Entry) -> None:
        operation = self.state.placements.operations.get(entry.index)
        if isinstance(entry.command, Move) and operation is not None and operation.error:
            self._out.put(Reply(ask.request, "refused", operation.error, "mltbctl status"))
            return
        self._out.put(Reply(ask.request, result=result))

    def _drop_asks(self) -> None:
        for ask, _ in self._asks.values():
            why = "leadership was lost: the request may or may not have taken effect"
            self._out.put(Reply(ask.request, "unknown_outcome", why, "mltbctl status"))
        self._asks.clear()
        for number in sorted(self._reads):
            self._out.put(Reply(number, "no_quorum", "no quorum confirms that this node leads", "mltbctl status"))
        self._reads.clear()

    # -- placing ---------------------------------------------------------------------------------------------

    def work(self, now: float, wall: int) -> bool:
        """Decide what is due. True when something was proposed or answered."""
        self._notice_reign()
        if self._reign is None or not self.current:
            return False
        queued, self._queued = self._queued, []
        for sender, request in queued:
            self.renew(sender, request, now, wall)
        if now < self._work_at:
            return bool(queued)
        self._work_at = float("inf")
        proposed = False
        for workload in self._workloads():
            proposed |= self._place(workload, now, wall)
        self._take_turns(now)
        return proposed or bool(queued)

    def _notice_reign(self) -> None:
        """Forget what was remembered of another reign, before anything is remembered of this one."""
        if self._reign is not self.consensus.reign:
            self._reign = self.consensus.reign
            self._renewals = Renewals()
            self._chronicle.forget()
            self._queued.clear()
            self._operations_seen.clear()
            self._drop_asks()

    def _workloads(self) -> list[str]:
        names = set(self.state.placements.by_workload) | set(self.owner.ready(self._must().won_at))
        for peer in self._must().peers.values():
            names.update(peer.ready)
        return sorted(names)[:WORKLOADS_MAX]

    def _place(self, workload: str, now: float, wall: int) -> bool:
        if self._pending(workload):
            return False
        facts = self.facts(workload, now)
        command = decide(self.policy, facts, now)
        if facts.placement.owner and not facts.lease_over:
            self._work_at = min(self._work_at, self._pass_at(workload))
        if command is None:
            return False
        if isinstance(command, Grant):
            renewed_at = self._renewals.at(workload)
            command = self._chronicle.granted(command, facts, self.policy, self._must(), renewed_at, now)
            self._out.note("info", describe.grants(command))
        return self.consensus.propose(command, now, wall) is not None

    def _pending(self, workload: str) -> bool:
        """Whether an entry that changes the owner is in the log but not yet in the state."""
        return any(
            isinstance(entry.command, Grant | Release | Move) and entry.command.workload == workload
            for entry in self.consensus.log.after(self.state.applied)
        )

    def _pass_at(self, workload: str) -> float:
        return may_pass_at(self._must(), self._renewals.at(workload), self.timing)

    def renewed_at(self, workload: str) -> float:
        """When this leader last received a renewal that it may have confirmed."""
        return self._renewals.at(workload)

    def facts(self, workload: str, now: float) -> Facts:
        """What is known about one workload at this moment."""
        placement = self.state.placements.get(workload)
        operation = self.state.placements.operation_of(workload)
        reign = self._must()
        seen = self._operations_seen.setdefault(operation.id, now) if operation else now
        alive = reign.alive(now, self.consensus.silence_s)
        return Facts(
            placement=placement,
            operation=operation,
            candidates=tuple(self._candidate(node, workload, now) for node in sorted({self.me, *reign.peers})),
            lease_over=bool(placement.owner) and now >= self._pass_at(workload),
            complete=set(reign.voters) <= set(alive) or now - reign.won_at > self.consensus.silence_s,
            moved_at=tuple(self.moved_at),
            operation_age_s=now - seen,
        )

    def _candidate(self, node: str, workload: str, now: float) -> Candidate:
        reign, record = self._must(), self.membership.record(node)
        priority = record.priority if record is not None else 0
        if node == self.me:
            ready, behind, since = self.owner.ready(now), 0, reign.won_at
            silent_s = 0.0
        else:
            peer = reign.peers[node]
            ready, since = peer.ready, peer.since
            behind = self.consensus.commit - peer.match_index
            silent_s = now - peer.acked_at
        reasons = []
        if silent_s > self.consensus.silence_s:
            reasons.append("unreachable" if silent_s == float("inf") else f"unreachable for {silent_s:.1f} s")
        elif workload not in ready:
            reasons.append(_why_not_ready(workload, record))
        if behind > BEHIND_MAX and not reasons:
            reasons.append(f"{behind} entries behind")
        return Candidate(node, priority, tuple(reasons), max(0.0, now - since))

    # -- leadership goes where it belongs --------------------------------------------------------------------

    def hand_over(self, now: float) -> bool:
        """We leave: pass leadership on. False when there is nobody, or nothing, left to wait for."""
        reign = self.consensus.reign
        if reign is None:
            return False
        if self.current and all(p.started or not p.owner for p in self.state.placements.by_workload.values()):
            alive = reign.alive(now, self.consensus.silence_s)
            heirs = [node for node in alive if reign.counts(node) and not self._is_leaving(node)]
            if not heirs:
                return False
            heirs.sort(key=lambda node: (-self._priority(node), node))
            self.consensus.transfer(heirs[0], now)
        return True

    def _take_turns(self, now: float) -> None:
        """A voter of higher priority that has been well for long enough leads instead of us."""
        reign = self._must()
        if self.owner.leaving or reign.transfer or any(p.moving for p in self.state.placements.by_workload.values()):
            return
        lately = sum(now - at < HOUR_S for at in self.led_at)
        full = self.owner.health.full
        wait_s = hold_down(TAKEOVER_FIRST_S, lately) if not full else FULL_FIRST_S
        mine = self._priority(self.me) if not full else -1  # Anybody who is fit leads better than a full disk.
        for node in sorted(reign.alive(now, self.consensus.silence_s), key=lambda n: (-self._priority(n), n)):
            if self._priority(node) <= mine:
                return
            if not self._is_fit(node):
                continue
            if reign.counts(node) and now - max(reign.peers[node].since, reign.won_at) >= wait_s:
                if self.consensus.transfer(node, now):
                    self.led_at.append(now)  # Counts at once: a transfer that fails must not be tried for ever.
                return

    def _is_fit(self, node: str) -> bool:
        record = self.membership.record(node)
        return record is not None and not record.troubles and record.state != "LEAVING"

    def _is_leaving(self, node: str) -> bool:
        record = self.membership.record(node)
        return record is not None and record.state == "LEAVING"

    def _priority(self, node: str) -> int:
        record = self.membership.record(node)
        return record.priority if record is not None else 0

    def _quorum_words(self, now: float) -> str:
        reign = self._must()
        alive = [n for n in reign.alive(now, self.consensus.silence_s) if n in reign.voters]
        return f"{len(alive)}/{len(reign.voters)}"

    def tolerance(self, now: float) -> int:
        """How many more voters may be lost."""
        reign = self._must()
        alive = [n for n in reign.alive(now, self.consensus.silence_s) if n in reign.voters]
        return quorum.tolerance(len(reign.voters), len(alive), self.consensus.quorum_size)

    def _must(self) -> Leadership:
        reign = self.consensus.reign
        if reign is None:
            raise InvariantViolation("a leader's work without a reign")
        return reign


def _why_not_ready(workload: str, record: Record | None) -> str:
    if record is not None and record.role == "witness":
        return "a witness: votes only"
    if record is not None and record.state == "LEAVING":
        return "leaving"
    if record is not None and record.troubles:
        return "; ".join(record.troubles)
    for view in record.workloads if record is not None else ():
        if view.workload == workload and view.reason:
            return f"it failed there lately: {view.reason}"
    return f"cannot run `{workload}` now: not configured there, or it failed there lately"
