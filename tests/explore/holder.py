"""One whole Node under exploration, a guard that lets the workload live as long as it may, a clock in whole steps."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from mltb_transport.messages import (
    Answer,
    Append,
    AppendAnswer,
    Election,
    Entry,
    Message,
    Propose,
    Renew,
    Renewed,
    TimeoutNow,
)
from mltbd.core.effects import Arm, Effect, Save, Send, StartWorkload, StopWorkload
from mltbd.core.election import PRE
from mltbd.core.events import Event, GuardSays, Lost, Received, Recovered, Saved, Strain, Tick
from mltbd.core.failover import Policy
from mltbd.core.node import Node
from mltbd.core.node_config import NodeConfig
from mltbd.core.timing import Timing
from mltbd.core.voting import LEADER
from tests.explore.member import Does, Even, View, frozen

STEPS = Timing(
    lease_s=3.0, hold_s=2.0, kill_s=1.0, grace_s=0.0, renew_s=1.0, heartbeat_s=1.0, election_s=1.0, step_s=0.0,
    election_max_s=1.0,
)  # fmt: skip
"""The lease to the last digit: what was asked for at 0 lives until 3, and from 3 on another may run."""
CARRIED = (Append, AppendAnswer, Election, Answer, TimeoutNow, Renew, Renewed, Propose)
FOREVER_S = 1e9
WORKLOAD = "main"
CLUSTER = "cluster"


@dataclass(slots=True)
class Run:
    """The workload as the guard has it."""

    token: int
    deadline: float
    stopping: bool = False


class Holder:
    """As Member, for a Node. Its disk is fast; its daemon may crash, and the guard lives on."""

    def __init__(self, me: str, nodes: tuple[str, ...], entries: tuple[Entry, ...], preferred: str) -> None:
        self.me = me
        self.nodes = nodes
        self.policy = Policy(preferred={WORKLOAD: (preferred, *(n for n in nodes if n != preferred))})
        self.term, self.vote, self.entries = 1, "", entries
        self.now = 0.0
        self.incarnation = 0
        self.armed = (-1, 0.0)
        self.run: Run | None = None
        self._start()

    def _start(self) -> None:
        self.incarnation += 1
        self.sent: list[tuple[str, Message]] = []
        config = NodeConfig(
            self.me, CLUSTER, STEPS, heartbeat_s=FOREVER_S, node_timeout_s=FOREVER_S, policy=self.policy,
            workloads=(WORKLOAD,),
        )  # fmt: skip
        recovered = Recovered(f"disk-{self.me}", self.incarnation, self.term, self.vote, self.entries)
        self.node = Node(config, recovered, Even(), self.now)
        self._perform(self.node.start(self.now, 0))
        if self.run is not None:
            self._feed(GuardSays("running", WORKLOAD, self.run.token, 1, deadline=self.run.deadline))

    # -- what happens ----------------------------------------------------------------------------------------

    def arrives(self, sender: str, message: Message) -> list[tuple[str, Message]]:
        self._feed(Received(sender, 1, CLUSTER, message))
        return self._said()

    def does(self, event: Does) -> list[tuple[str, Message]]:
        """stand (the connection to the leader broke; every pre-vote is won), beat, ask, moves on, ended, crash."""
        match event.what:
            case "stand":
                self._stand()
            case "beat":
                self._feed(Tick())
            case "ask":
                self._feed(Strain(0.0))
            case "moves on":
                self.now += 1.0
                if self.run is not None and self.now >= self.run.deadline + STEPS.kill_s:
                    self._gone("deadline")
            case "ended":
                self._gone("stopped")
            case "crash":
                self._start()
        return self._said()

    def _stand(self) -> None:
        core = self.node.consensus
        if core.leader:
            self._feed(Lost(core.leader))
        term = core.term + 1
        self._feed(Tick())
        self.sent = [(to, m) for to, m in self.sent if not isinstance(m, Election) or m.stage != PRE]
        for voter, store in list(core.voters.items()):
            if voter != self.me and core.term < term:
                self._feed(Received(voter, 1, CLUSTER, Answer(term, PRE, True, 0.0, store)))

    def _feed(self, event: Event) -> None:
        self._perform(self.node.handle(event, self.now, 0))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(to, message) if isinstance(message, CARRIED):
                    self.sent.append((to, message))
                case Save(number, term, vote, entries):
                    self.term, self.vote = term, vote
                    if entries:
                        self.entries = (*self.entries[: entries[0].index - 1], *entries)
                    self._feed(Saved(number))
                case Arm(_, token, deadline):
                    self._arm(token, deadline)
                case StartWorkload(_, token):
                    self._run(token)
                case StopWorkload(_, token):
                    if self.run is not None and self.run.token == token:
                        self.run.stopping = True
                case _:
                    pass

    def _said(self) -> list[tuple[str, Message]]:
        said, self.sent = self.sent, []
        self.node.check()
        return said

    # -- the guard -------------------------------------------------------------------------------------------

    def _arm(self, token: int, deadline: float) -> None:
        if token < self.armed[0]:
            return
        self.armed = (token, max(deadline, self.armed[1] if token == self.armed[0] else deadline))
        if self.run is not None and self.run.token == token:
            self.run.deadline = max(self.run.deadline, deadline)

    def _run(self, token: int) -> None:
        if self.run is not None or self.armed[0] != token or self.now >= self.armed[1]:
            self._feed(GuardSays("failed", WORKLOAD, token, cause="cannot be started"))
            return
        self.run = Run(token, self.armed[1])
        self._feed(GuardSays("running", WORKLOAD, token, 1, deadline=self.run.deadline))

    def _gone(self, cause: str) -> None:
        if self.run is not None:
            token, self.run = self.run.token, None
            self._feed(GuardSays("gone", WORKLOAD, token, cause=cause))

    # -- what is seen ----------------------------------------------------------------------------------------

    def key(self) -> Hashable:
        """Who is known of other members, and what is only told to people, is left out."""
        node = self.node
        owner, placer = node.owner, node.placer
        parts: tuple[Any, ...] = (
            node.consensus, owner.holds, owner.workloads, owner._letting, owner._started_tell_at, owner._nonce,
            placer._renewals, placer._queued, placer._work_at, placer.moved_at, placer._operations_seen,
            owner._requests, owner._granted_after, owner._adopted, node._now, node._leader_seen,
            node._senders._incarnations,
        )  # fmt: skip
        current = placer._reign is node.consensus.reign
        run = self.run and (self.run.token, self.run.deadline, self.run.stopping)
        own = (self.term, self.vote, self.entries, self.now, self.incarnation, self.armed, run, node.state.applied)
        return own, current, frozen(parts)

    def view(self) -> View:
        core = self.node.consensus
        return View(
            core.role == LEADER, core.term, core.commit, core.log.after(0), self.entries, tuple(sorted(core.voters)),
            0, core.may_stand, runs=self.run.token if self.run is not None else 0,
            ends=self.run is not None and self.run.stopping,
            asks=min((hold.ask_at for hold in self.node.owner.holds.values()), default=FOREVER_S) <= self.now,
            beats=self.node.next_deadline() <= self.now and core.role == LEADER,
        )  # fmt: skip
