"""Planted bugs in locks and state: each takes one rule out, and the clients' record must show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from mltb_transport.store import Command, Forward
from mltbd.core.effects import Reply
from mltbd.core.expiry import Expiry, Timer
from mltbd.core.reads import Reads
from mltbd.state import store as store_module
from mltbd.state.clients import Clients, Outcome
from mltbd.state.locks import Lock, Locks
from mltbd.state.store import Store
from tests.sim.mixes import Mix
from tests.sim.store_scenario import MIX

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class StoreBug:
    """One rule less. One of the checkers `caught_by` must say so within `seeds_max` seeds."""

    name: str
    plant: Plant
    caught_by: tuple[str, ...] = ("linearizable",)
    seeds_max: int = 200
    first: int = 1
    """As in Bug."""
    mix: Mix = MIX


# -- reads -------------------------------------------------------------------------------------------------------


def stale_read(patch: pytest.MonkeyPatch) -> None:
    """Every node reads what it has applied."""
    patch.setattr(Reads, "ask", lambda self, request, now: self._out.put(Reply(request)))


def leader_reads_unasked(patch: pytest.MonkeyPatch) -> None:
    """A leader reads without asking a quorum whether it still leads."""
    ask = Reads.ask

    def unasked(self: Reads, request: int, now: float) -> None:
        if self._consensus.reign is not None:
            self._out.put(Reply(request))
        else:
            ask(self, request, now)

    patch.setattr(Reads, "ask", unasked)


def new_leader_reads_at_once(patch: pytest.MonkeyPatch) -> None:
    """A leader reads before an entry of its own term is committed: it may not know yet what is."""

    class Hasty:
        def __init__(self, consensus: object) -> None:
            self._consensus = consensus

        def __getattr__(self, name: str) -> object:
            return True if name == "in_charge" else getattr(self._consensus, name)

    begin = Reads._begin

    def hasty(self: Reads, now: float) -> bool:
        consensus = self._consensus
        if consensus.reign is None:
            return False
        self._consensus = Hasty(consensus)  # type: ignore[assignment]
        try:
            return begin(self, now)
        finally:
            self._consensus = consensus

    patch.setattr(Reads, "_begin", hasty)


def follower_does_not_catch_up(patch: pytest.MonkeyPatch) -> None:
    """A follower reads as soon as the leader has spoken, whatever it has applied."""
    work = Reads.work
    patch.setattr(Reads, "work", lambda self, now, applied: work(self, now, 1 << 40))


# -- at most once ------------------------------------------------------------------------------------------------


def replay_done_again(patch: pytest.MonkeyPatch) -> None:
    """A repeated command is done again."""
    patch.setattr(Clients, "known", lambda self, client, seq, index: None)


def old_number_done(patch: pytest.MonkeyPatch) -> None:
    """Only the very last command of a client is known; an older one that comes late is done."""
    known = Clients.known

    def forgets(self: Clients, client: str, seq: int, index: int) -> Outcome | None:
        last = self._last.get(client)
        return None if last is not None and seq < last.seq else known(self, client, seq, index)

    patch.setattr(Clients, "known", forgets)


def clients_not_kept(patch: pytest.MonkeyPatch) -> None:
    """The table of clients is emptied now and then, the same on every node."""

    def strangers(self: Clients, client: str, seq: int, outcome: Outcome, index: int, *rest: Any) -> None:
        remember(self, client, seq, outcome, index, *rest)
        if index % 16 == 0:
            self._last.clear()

    remember = Clients.remember
    patch.setattr(Clients, "remember", strangers)


# -- locks -------------------------------------------------------------------------------------------------------


def double_grant(patch: pytest.MonkeyPatch) -> None:
    """A lock is given to whoever asks and does not want to wait."""
    acquire = Store._acquire

    def generous(self: Store, command: Command, entry: object) -> Outcome:
        name, _, wait_ms, _, _ = command.arguments
        if wait_ms == 0:
            self.locks._by_name.pop(name, None)
        return acquire(self, command, entry)  # type: ignore[arg-type]

    patch.setattr(Store, "_acquire", generous)


def expiry_without_compare(patch: pytest.MonkeyPatch) -> None:
    """An expiry takes the lock from whoever has it, extended or not."""

    def whoever(self: Locks, name: str, token: int, generation: int) -> Lock | None:
        lock = self.get(name)
        return lock if lock is not None and lock.held else None

    patch.setattr(Locks, "held_since", whoever)


def new_leader_counts_on(patch: pytest.MonkeyPatch) -> None:
    """A new leader takes every time that began before it for over."""
    begin = Expiry._begin

    def over(self: Expiry, timer: Timer, lock: Lock, seconds: float, now: float) -> None:
        reign = self._reign
        begin(self, timer, lock, 0.0 if reign is not None and now - reign.won_at < 0.2 else seconds, now)

    patch.setattr(Expiry, "_begin", over)


def late_revoke(patch: pytest.MonkeyPatch) -> None:
    """A deposed leader goes on measuring and passes its expiries on, and they are taken from it (etcd issue 15247)."""
    work = Expiry.work

    def goes_on(self: Expiry, now: float) -> bool:
        if self._consensus.reign is None and self._spans:
            for timer, span in list(self._spans.items()):
                command = self._command(timer, span) if span.due <= now and timer[0] == "hold" else None
                if command is not None and self._consensus.leader:
                    self._commands._out.send(self._consensus.leader, Forward(-1, (command.body,)))
                    del self._spans[timer]
            return False
        return work(self, now)

    patch.setattr(Expiry, "work", goes_on)
    patch.setattr(store_module, "_from_leader", lambda command, term, entry: True)
    patch.setattr(
        Locks,
        "held_since",
        lambda self, name, token, generation: (
            lock if (lock := self.get(name)) is not None and lock.held and lock.token == token else None
        ),
    )


def any_token_does(patch: pytest.MonkeyPatch) -> None:
    """A write does not look whether its token is the current one."""
    patch.setattr(Locks, "allows", lambda self, name, token: True)


def tokens_start_anew(patch: pytest.MonkeyPatch) -> None:
    """A token counts the holders of one lock since it was last free."""
    give = Locks._give

    def small(self: Locks, lock: Lock, waiter: object, token: int, at_ms: int) -> None:
        give(self, lock, waiter, token % 7, at_ms)  # type: ignore[arg-type]

    patch.setattr(Locks, "_give", small)


LATE = Mix(
    {"lag": 5, "slow_disk": 4, "loss": 1}, pause_s=(0.1, 1.0), back_s=(0.5, 3.0), duration_s=MIX.duration_s
)  # fmt: skip
"""What clients and leaders say is on its way for long."""

STORE_BUGS = (
    StoreBug("stale read", stale_read),
    StoreBug("leader reads unasked", leader_reads_unasked),
    StoreBug("new leader reads at once", new_leader_reads_at_once, seeds_max=600),
    StoreBug("follower does not catch up", follower_does_not_catch_up),
    StoreBug("replay done again", replay_done_again),
    StoreBug("old number done", old_number_done),
    StoreBug("clients not kept", clients_not_kept, ("linearizable", "clients are remembered"), first=2),
    StoreBug("double grant", double_grant),
    StoreBug("expiry without compare", expiry_without_compare, seeds_max=500, mix=LATE),
    StoreBug("new leader counts on", new_leader_counts_on),
    StoreBug("late revoke", late_revoke, seeds_max=500, mix=LATE, first=60),
    StoreBug("any token does", any_token_does, ("old tokens are refused",)),
    StoreBug("tokens start anew", tokens_start_anew, ("linearizable", "lock tokens grow")),
)
