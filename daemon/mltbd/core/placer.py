"""The leader at work: confirms leases, judges requests, places workloads. Idle on every other node."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace

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
from mltb_transport.supervision import Hooked, Proven
from mltbd.core import describe
from mltbd.core.anteroom import Anteroom
from mltbd.core.chronicle import Chronicle, repeats
from mltbd.core.consensus import Consensus
from mltbd.core.copies import barred, end_of_lost, owners_of, rival
from mltbd.core.desk import Desk
from mltbd.core.events import Ask
from mltbd.core.failover import Candidate, Facts, Policy, decide
from mltbd.core.holding import Watch, pending_control
from mltbd.core.leadership import Leadership
from mltbd.core.lease import Renewals, lease_of, may_pass_at
from mltbd.core.membership import Membership
from mltbd.core.outbox import Outbox
from mltbd.core.owner import Owner
from mltbd.core.succession import Succession
from mltbd.state.copies import home_of
from mltbd.state.machine import State
from mltbd.state.placements import WORKLOADS_MAX, Operation

QUEUED_MAX = 256
MOVING = (Grant, Release, Move)
BEHIND_MAX = 64
"""Entries a node may lag and still be given a workload: its grant comes by the same log, behind them."""


class Placer:
    """Everything a leader does beyond the log. What it remembers of a reign ends with it."""

    def __init__(
        self,
        policy: Policy,
        consensus: Consensus,
        state: State,
        membership: Membership,
        owner: Owner,
        out: Outbox,
        now: float,
    ) -> None:
        self.me = consensus.me
        self.policy = policy
        self.timing = consensus.timing
        self.consensus = consensus
        self.state = state
        self.membership = membership
        self.owner = owner
        self.moved_at: deque[float] = deque(maxlen=64)  # changes of owner, as this node saw them applied
        self.succession = Succession(consensus, state, membership)
        self.desk = Desk(policy, consensus, state, out, self.facts)
        self.watch = Watch(now)
        self._out = out
        self._reign: Leadership | None = None
        self._renewals = Renewals()
        self._chronicle = Chronicle(self.timing)
        self._queued: list[tuple[str, Renew]] = []
        self._anteroom = Anteroom(consensus, out)
        self._operations_seen: dict[int, float] = {}
        self._crowded = False  # there are more workloads than may be, and we have said so
        self._work_at = float("-inf")

    # -- what happens ----------------------------------------------------------------------------------------

    @property
    def current(self) -> bool:
        """Whether we can judge now."""
        return self.consensus.current(self.state.applied)

    def next_deadline(self) -> float:
        # Until our state is current there is nothing to decide; the event that makes it so leads on to `work`.
        return self._work_at if self._reign is not None and self.current else float("inf")

    def look_again(self, now: float) -> None:
        self._work_at = now

    def expects(self, command: Command, now: float) -> None:
        """This is to take effect next. Grants that move a workload are counted."""
        if isinstance(command, Grant):
            before = self.state.placements.get(command.workload)
            if before.token and command.owner != (before.owner or before.home):
                self.moved_at.append(now)

    def applied(self, entry: Entry, now: float, *, fresh: bool) -> None:
        """An entry took effect, here as on every node. `fresh`: it did not come with the disk of an earlier run."""
        self._work_at = now
        command = entry.command
        if isinstance(command, Grant) and self._reign is not None:
            self._renewals.note(command.workload, now)  # Time for the new owner to ask for the first time.
        refused = isinstance(command, Move) and self.state.placements.get(command.workload).moving != entry.index
        self._chronicle.applied(entry, now, refused=refused)
        self.watch.look(self.state.controls, now, fresh=fresh)
        self.desk.applied(entry)

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
        if self.consensus.confirm((sender, request, lease_of(placement, self.timing)), now):
            self._renewals.note(request.workload, now)

    def _hears_us(self, node: str, now: float) -> bool:
        """Whether this node acknowledged us lately, or we have not led for long enough to know."""
        reign = self.consensus.must_reign()
        peer = reign.peers.get(node)
        heard_at = reign.won_at if peer is None else max(peer.acked_at, reign.won_at)
        return node == self.me or now - heard_at <= self.timing.election_s

    def confirmed(self, wall: int) -> bool:
        """A quorum stands behind us: tell whoever waited for that. Whether anybody did."""
        if not self.consensus.confirmations:
            return False
        tags, self.consensus.confirmations = self.consensus.confirmations, []
        others = self.consensus.confirmations
        for tag in tags:
            match tag:
                case (str() as sender, Renew(workload, token, nonce), float() as lease_s):
                    self._answer(sender, Renewed(workload, token, nonce, True, lease_s=lease_s), wall)
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
        if not self.current or not isinstance(command, Release | Started | Settled | Proven | Hooked):
            return
        placement = self.state.placements.get(command.workload)
        if placement.owner != sender or placement.token != command.token:
            return
        if isinstance(command, Hooked) and command.number <= placement.hooked:
            return
        if any(repeats(command, entry.command) for entry in self.consensus.log.after(self.state.applied)):
            return
        self.consensus.propose(self._chronicle.reported(command, now), now, wall)

    # -- operators -------------------------------------------------------------------------------------------

    def asked(self, ask: Ask, now: float, wall: int) -> None:
        """A request from the control plane; every one gets exactly one Reply."""
        self._notice_reign()
        if self.current:
            self._judge(ask, now, wall)
        else:
            self._anteroom.take(ask, now)

    def _judge(self, ask: Ask, now: float, wall: int) -> None:
        reign = self.consensus.must_reign()
        quorum = f"{len(self.succession.alive(reign, now))}/{len(reign.voters)}"
        self.desk.asked(ask, self._workloads(), quorum, now, wall)

    # -- placing ---------------------------------------------------------------------------------------------

    def work(self, now: float, wall: int) -> bool:
        """Decide what is due. True when something was proposed or answered."""
        self._notice_reign()
        served = self._anteroom.serve(lambda: self.current, lambda ask: self._judge(ask, now, wall), now)
        if self._reign is None or not self.current:
            return served
        queued, self._queued = self._queued, []
        for sender, request in queued:
            self.renew(sender, request, now, wall)
        if now < self._work_at:
            return served or bool(queued)
        self._work_at = float("inf")
        if self.consensus.must_reign().transfer is not None:
            # Nothing can be proposed. Should it be given up, the entry that says so has us look again.
            return served or bool(queued)
        proposed = self._end_pause(now, wall)
        for workload in self._workloads():
            proposed |= self._place(workload, now, wall)
        if not self.owner.leaving:
            self.succession.take_turns(
                self.consensus.must_reign(), now, full=self.owner.health.full, moves=self._moves_on(now)
            )
        return proposed or served or bool(queued)

    def _end_pause(self, now: float, wall: int) -> bool:
        """A pause is over when its time is."""
        controls = self.state.controls
        over = self.watch.expired(controls, now)
        if over is None:
            self._work_at = min(self._work_at, self.watch.ends_at(controls))
            return False
        if pending_control(self.consensus.log.after(self.state.applied)):
            return False  # On its way: once it is applied we look again.
        self._out.note("info", "the pause is over: automatic moves are on")
        return self.consensus.propose(over, now, wall) is not None

    def _notice_reign(self) -> None:
        """Forget what was remembered of another reign, before anything is remembered of this one."""
        if self._reign is not self.consensus.reign:
            self._reign = self.consensus.reign
            self._renewals = Renewals()
            self._chronicle.forget()
            self._queued.clear()
            self._operations_seen.clear()
            self._crowded = False
            self._anteroom.dismiss()
            self.desk.drop()

    def _workloads(self) -> list[str]:
        """What was ever placed, and of what could be run besides as much as there is room for: the state drops more."""
        placed, new = self.state.placements.by_workload, set(self.owner.ready(self.consensus.must_reign().won_at))
        for peer in self.consensus.must_reign().peers.values():
            new.update(peer.ready or ())
        fresh = sorted(new - placed.keys())
        room = max(0, WORKLOADS_MAX - len(placed))
        if len(fresh) > room and not self._crowded:
            self._crowded = True
            self._out.note("warning", f"{fresh[room]} is not placed: {WORKLOADS_MAX} workloads are known already")
        return sorted([*placed, *fresh[:room]])

    def _place(self, workload: str, now: float, wall: int) -> bool:
        if self._pending(workload) or pending_control(self.consensus.log.after(self.state.applied)):
            return False
        facts = self.facts(workload, now)
        command = end_of_lost(facts, ()) or decide(self.policy, facts, now)
        if command is None and facts.lease_over:
            command = end_of_lost(facts, self._workloads())
        if facts.placement.owner and not facts.lease_over:
            self._work_at = min(self._work_at, self._pass_at(workload))
        if command is None:
            return False
        if isinstance(command, Grant):
            renewed_at = self._renewals.at(workload)
            command = self._chronicle.granted(command, facts, self.policy, self.consensus.must_reign(), renewed_at, now)
            command = replace(command, lease_s=float(self.timing.lease_s))
        if self.consensus.propose(command, now, wall) is None:
            return False
        if isinstance(command, Grant):
            self._out.note("info", describe.grants(command))
        return True

    def _pending(self, workload: str) -> bool:
        """Whether an entry that changes the owner is in the log but not yet in the state."""
        return any(
            isinstance(entry.command, MOVING) and entry.command.workload == workload
            for entry in self.consensus.log.after(self.state.applied)
        )

    def _moves_on(self, now: float) -> bool:
        """Whether a workload is on its way, and may still arrive: not if its new owner is lost, or takes too long."""
        for workload, placement in self.state.placements.by_workload.items():
            operation = self.state.placements.operation_of(workload)
            if operation is None or (placement.owner and now >= self._pass_at(workload)):
                continue
            if now - self._seen_at(operation, now) <= self.policy.timeout_s:
                return True
        return False

    def _seen_at(self, operation: Operation, now: float) -> float:
        """When this leader first saw it."""
        if operation.id not in self._operations_seen:
            known = self.state.placements.operations
            self._operations_seen = {id_: at for id_, at in self._operations_seen.items() if id_ in known}
            self._operations_seen[operation.id] = now
        return self._operations_seen[operation.id]

    def _pass_at(self, workload: str) -> float:
        lease_s = lease_of(self.state.placements.get(workload), self.timing)
        return may_pass_at(self.consensus.must_reign(), self._renewals.at(workload), lease_s)

    def renewed_at(self, workload: str) -> float:
        """When this leader last received a renewal that it may have confirmed."""
        return self._renewals.at(workload)

    def facts(self, workload: str, now: float) -> Facts:
        """What is known about one workload at this moment."""
        placement = self.state.placements.get(workload)
        operation = self.state.placements.operation_of(workload)
        reign = self.consensus.must_reign()
        home = home_of(workload)
        places = {home} & {self.me, *reign.peers} if home else {self.me, *reign.peers}
        load = Counter[str]() if home else self._load(workload)
        other = rival(workload, self.state.placements, self.consensus.log.after(self.state.applied))
        return Facts(
            placement=placement,
            operation=operation,
            candidates=barred([self._candidate(node, workload, load[node], now) for node in sorted(places)], other),
            lease_over=bool(placement.owner) and now >= self._pass_at(workload),
            complete=reign.all_told(now, self.consensus.silence_s),
            moved_at=tuple(self.moved_at),
            operation_age_s=now - self._seen_at(operation, now) if operation else 0.0,
            paused=self.state.controls.paused is not None,
            drained=placement.owner in self.state.controls.drained,
        )

    def _load(self, workload: str) -> Counter[str]:
        """How many other workloads each node owns, grants on their way through the log included."""
        owners = owners_of(self.state.placements, self.consensus.log.after(self.state.applied))
        return Counter(owner for name, owner in owners.items() if name != workload)

    def _candidate(self, node: str, workload: str, load: int, now: float) -> Candidate:
        reign, record = self.consensus.must_reign(), self.membership.record(node)
        priority = self.membership.priority(node)
        ready: tuple[str, ...] | None
        if node == self.me:
            ready, behind, since = self.owner.ready(now), 0, reign.won_at
            silent_s = 0.0
        else:
            peer = reign.peers[node]
            ready, since = peer.ready, peer.since
            behind = self.consensus.commit - peer.match_index
            silent_s = now - peer.acked_at
        reasons = ["drained"] if node in self.state.controls.drained else []
        if silent_s > self.consensus.silence_s:
            reasons.append("unreachable" if silent_s == float("inf") else f"unreachable for {silent_s:.1f} s")
        elif workload not in (ready or ()):
            reasons.append(_why_not_ready(workload, record, told=ready is not None))
        if behind > BEHIND_MAX and not reasons:
            reasons.append(f"{behind} entries behind")
        return Candidate(node, priority, tuple(reasons), max(0.0, now - max(since, self.watch.changed_at)), load)

    # -- leadership ------------------------------------------------------------------------------------------

    def hand_over(self, now: float) -> bool:
        """We leave: pass leadership on. False when there is nobody, or nothing, left to wait for."""
        reign = self.consensus.reign
        if reign is None:
            return False
        if self.current and all(p.started or not p.owner for p in self.state.placements.by_workload.values()):
            return self.succession.hand_over(reign, now)
        return True

    def tolerance(self, now: float) -> int:
        """How many more voters may be lost."""
        return self.succession.tolerance(self.consensus.must_reign(), now)


def _why_not_ready(workload: str, record: Record | None, *, told: bool) -> str:
    if record is not None and record.role == "witness":
        return "a witness: votes only"
    if record is not None and record.state == "LEAVING":
        return "leaving"
    if record is not None and record.troubles:
        return "; ".join(record.troubles)
    if not told:
        return "has not told yet what it could run"
    for view in record.workloads if record is not None else ():
        if view.workload == workload and view.reason:
            return f"it failed there lately: {view.reason}"
    return f"cannot run `{workload}` now: not configured there, or it failed there lately"
