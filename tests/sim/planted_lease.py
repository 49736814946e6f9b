"""Planted bugs in lease, takeover and ownership; the same idea as planted.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mltb_transport.messages import Release, Renew
from mltbd.core import lease
from mltbd.core.consensus import Consensus
from mltbd.core.effects import Arm, Effect
from mltbd.core.election import Tally
from mltbd.core.events import Event, Received
from mltbd.core.leadership import Leadership
from mltbd.core.lease import Hold, Renewals
from mltbd.core.node import Node
from mltbd.core.owner import Letting, Owner
from mltbd.core.placer import Placer
from mltbd.core.timing import Timing
from mltbd.core.workload import Patience, Workload
from mltbd.state.placements import Placement
from tests.sim.cluster import Shape
from tests.sim.mixes import Mix
from tests.sim.planted import FIVE, THREE, Bug, mostly, of
from tests.sim.scenario import draw_shape

LONG_AGO_S = 1e6
OVERLAP = ("one at a time",)


def impatient(seed: int) -> Shape:
    """Gives a workload up soon, and forgives soon."""
    return replace(draw_shape(seed), patience=Patience(1, 0.1))


def impatient_three(seed: int) -> Shape:
    return replace(impatient(seed), roles=("voter",) * 3, priorities=(100,) * 3)


TOP = of("voter", "voter", "voter", priorities=(900, 100, 100))
THREE_FAST = of("voter", "voter", "voter", lease_s=1.0)


def uneven(seed: int) -> Shape:
    """Two are configured with half the lease of the third."""
    return replace(THREE(seed), lease_shares=(1.0, 0.5, 0.5))


# -- how long ----------------------------------------------------------------------------------------------------


def counted_from_answer(patch: pytest.MonkeyPatch) -> None:
    """The deadline counts from when the answer came, not from when we asked."""
    handle = Node.handle
    clock = [0.0]

    def remember(self: Node, event: Event, now: float, wall: int) -> list[Effect]:
        clock[0] = now
        return handle(self, event, now, wall)

    def deadline(_asked_at: float, timing: Timing) -> float:
        return clock[0] + timing.hold_s

    patch.setattr(Node, "handle", remember)
    patch.setattr(lease, "deadline", deadline)


def age_ignored(patch: pytest.MonkeyPatch) -> None:
    """A new leader believes that no other leader was ever acknowledged."""
    patch.setattr(Tally, "age_min", property(lambda _self: LONG_AGO_S))


def unknown_age_is_old(patch: pytest.MonkeyPatch) -> None:
    """A restarted voter says that it acknowledged nobody for ages."""
    age = Consensus._age

    def old(self: Consensus, now: float) -> float:
        return LONG_AGO_S if self.acked_at is None else age(self, now)

    patch.setattr(Consensus, "_age", old)


def own_renewals_ignored(patch: pytest.MonkeyPatch) -> None:
    """A leader forgets what it confirmed itself while it waited."""
    patch.setattr(Renewals, "at", lambda _self, _workload: float("-inf"))


def short_wait(patch: pytest.MonkeyPatch) -> None:
    """The others wait for no longer than the owner counts: no room for slow clocks and slow deaths."""
    whole = Placer._pass_at

    def less(self: Placer, workload: str) -> float:
        timing = self.timing
        return whole(self, workload) - timing.lease_s + timing.hold_s - timing.grace_s

    patch.setattr(Placer, "_pass_at", less)


def own_lease_waited(patch: pytest.MonkeyPatch) -> None:
    """A leader waits for the lease that it is configured with, whoever granted the placement."""
    patch.setattr("mltbd.core.placer.lease_of", lambda _placement, timing: float(timing.lease_s))


def own_lease_held(patch: pytest.MonkeyPatch) -> None:
    """An owner runs for the lease that it is configured with, whoever granted the placement."""
    patch.setattr(Timing, "within", lambda self, _lease_s: self)


# -- who is told that the lease goes on --------------------------------------------------------------------------


def confirmed_alone(patch: pytest.MonkeyPatch) -> None:
    """A leader confirms a renewal without asking anybody whether it still leads."""

    def at_once(self: Consensus, tag: object, _now: float) -> bool:
        self.confirmations.append(tag)
        return True

    patch.setattr(Consensus, "confirm", at_once)


def confirmed_by_old_round(patch: pytest.MonkeyPatch) -> None:
    """A round that a quorum acknowledged before the request came is good enough."""

    def earlier(self: Leadership, tag: object) -> bool:
        self._waiting.append((self.confirmed_round, tag))
        return True

    patch.setattr(Leadership, "confirm", earlier)


def _renews(patch: pytest.MonkeyPatch, *, current: bool, pending: bool) -> None:
    """The rules of `Placer.renew` with these two taken out or left in."""
    whole = Placer.renew

    def renew(self: Placer, sender: str, request: Renew, now: float, wall: int) -> None:
        placement = self.state.placements.get(request.workload)
        mine = placement.owner == sender and placement.token == request.token
        ripe = self.current or not current
        quiet = not pending or not self._pending(request.workload)
        if self.consensus.reign is not None and mine and ripe and quiet:
            if self.consensus.confirm((sender, request, lease.lease_of(placement, self.timing)), now):
                self._renewals.note(request.workload, now)
        else:
            whole(self, sender, request, now, wall)

    patch.setattr(Placer, "renew", renew)


def pending_ignored(patch: pytest.MonkeyPatch) -> None:
    """A renewal is confirmed while a grant to another, or a release, is on its way through the log."""
    _renews(patch, current=True, pending=False)


def not_current(patch: pytest.MonkeyPatch) -> None:
    """A new leader confirms renewals before it knows all that was committed; nor does it look at what is on its way."""
    _renews(patch, current=False, pending=False)


# -- the owner ---------------------------------------------------------------------------------------------------


def released_while_running(patch: pytest.MonkeyPatch) -> None:
    """The token is given back when the workload was told to stop, not when it is gone."""

    def let_go(self: Owner, workload: Workload, placement: Placement, cause: str, now: float, wall: int) -> None:
        self.holds.pop(workload.name, None)
        self._letting[workload.name] = Letting(Release(workload.name, placement.token, cause), now)
        workload.stop(wall, self._out)

    patch.setattr(Owner, "_let_go", let_go)


def runs_after_release(patch: pytest.MonkeyPatch) -> None:
    """A token that was given back is used again while the placement still shows it."""
    follow = Owner._follow

    def forget(self: Owner, workload: Workload, *rest: Any) -> None:
        letting = self._letting.get(workload.name)
        if letting is not None and letting.tell_at > float("-inf") and letting.release.cause == "failed":
            del self._letting[workload.name]
        follow(self, workload, *rest)

    patch.setattr(Owner, "_follow", forget)


def lease_from_disk(patch: pytest.MonkeyPatch) -> None:
    """A restarted owner goes on where its log says it was: the token is its own, and its lease has just begun."""
    claim = Owner._claim
    seen: list[float] = [0.0]
    tick = Owner.tick

    def note(self: Owner, placements: dict[str, Placement], applied: int, now: float, wall: int) -> None:
        seen[0] = now
        tick(self, placements, applied, now, wall)

    def trust(self: Owner, name: str, token: int) -> Hold:
        known = self.holds.get(name)
        hold = claim(self, name, token)
        if hold is not known and token <= self._granted_after:
            hold.until = seen[0] + self.timing.hold_s
            self._out.put(Arm(name, token, hold.until))
        return hold

    patch.setattr(Owner, "tick", note)
    patch.setattr(Owner, "_claim", trust)
    _always_fresh(patch)


def _always_fresh(patch: pytest.MonkeyPatch) -> None:
    why = Owner._why_let_go

    def never_restarted(self: Owner, workload: Workload, placement: Placement) -> str:
        cause = why(self, workload, placement)
        return "" if cause == "restarted" else cause

    patch.setattr(Owner, "_why_let_go", never_restarted)


def old_token_resumed(patch: pytest.MonkeyPatch) -> None:
    """A restarted owner asks for its old token again, though it may have given it back; and old messages count."""
    _always_fresh(patch)
    old_runs_heard(patch)


def old_runs_heard(patch: pytest.MonkeyPatch) -> None:
    """Messages of an earlier run of a node are taken for its own."""
    received = Node._received

    def deaf(self: Node, event: Received, now: float, wall: int) -> None:
        self._senders._incarnations.clear()
        received(self, event, now, wall)

    patch.setattr(Node, "_received", deaf)


def nonces_again(patch: pytest.MonkeyPatch) -> None:
    """Each run of the daemon numbers its requests from 1: a late answer to an earlier one fits."""
    init = Owner.__init__

    def begin(self: Owner, *arguments: Any, **named: Any) -> None:
        init(self, *arguments, **named)
        self._nonce = 0

    patch.setattr(Owner, "__init__", begin)


TAKEOVER = mostly(isolate=5, split=3, one_way=3, crash_daemon=4, pause=4, lag=2)
APART = Mix({"isolate": 5, "split": 3, "crash_daemon": 1}, pause_s=(0.5, 4.0), aim=0.9, back_s=(3.0, 8.0))
RETURNS = Mix({"slow_disk": 6, "isolate": 6}, pause_s=(0.1, 1.0), back_s=(0.7, 2.0))
UNSURE = Mix({"slow_disk": 6, "isolate": 5, "dethrone": 4, "lag": 3}, pause_s=(0.1, 1.5))
OUTSIDER = Mix({"outsider": 1}, pause_s=(4.0, 9.0), aim=0.9)
STUTTER = Mix({"stutter": 1}, pause_s=(2.0, 8.0), aim=0.95, back_s=(1.0, 6.0))
UPS_AND_DOWNS = Mix({"unstartable": 6, "exit": 1, "lag": 4}, pause_s=(0.1, 1.0), back_s=(0.05, 0.8))
RESIGN = Mix({"resign": 4, "ask": 1}, pause_s=(1.0, 4.0), aim=0.8)
GIVING = mostly(stop=5, ask=8, exit=3, unstartable=4, lag=4, isolate=2)

LEASE_BUGS = (
    Bug("counted from answer", counted_from_answer, (*OVERLAP, "cut off stops"), STUTTER, THREE_FAST),
    Bug("age ignored", age_ignored, OVERLAP, TAKEOVER),
    Bug("unknown age is old", unknown_age_is_old, OVERLAP, OUTSIDER, TOP),
    Bug("own renewals ignored", own_renewals_ignored, OVERLAP, TAKEOVER),
    Bug("short wait", short_wait, OVERLAP, APART, THREE_FAST),
    Bug("own lease waited", own_lease_waited, OVERLAP, APART, uneven),
    Bug("own lease held", own_lease_held, OVERLAP, APART, uneven),
    Bug("confirmed alone", confirmed_alone, OVERLAP, APART, THREE_FAST),
    Bug("confirmed by old round", confirmed_by_old_round, OVERLAP, TAKEOVER, FIVE),
    Bug("pending ignored", pending_ignored, OVERLAP, RETURNS, THREE_FAST),
    Bug("not current", not_current, OVERLAP, UNSURE, THREE_FAST),
    Bug("released while running", released_while_running, OVERLAP, GIVING),
    Bug("runs after release", runs_after_release, OVERLAP, UPS_AND_DOWNS, impatient),
    Bug("lease from disk", lease_from_disk, OVERLAP, mostly(crash_machine=6, isolate=4, crash_daemon=4)),
    Bug("old token resumed", old_token_resumed, OVERLAP, RESIGN, impatient_three, first=54),
    Bug("nonces again", nonces_again, (*OVERLAP, "cut off stops"), STUTTER, THREE),
)
