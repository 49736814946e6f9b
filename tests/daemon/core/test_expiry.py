"""The clock of locks on a leader in charge: what it says when, what it says again, and what it forgets."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Entry
from mltb_transport.store import (
    ACQUIRE,
    EXPIRE,
    EXTEND,
    INTERNAL,
    OPEN,
    RELEASE,
    WITHDRAW,
    Batch,
    Command,
    packed,
    unpacked,
)
from mltbd.core import commands as commands_module
from mltbd.core import expiry as expiry_module
from mltbd.core.commands import Commands
from mltbd.core.expiry import AGAIN_S, WAIT_SLACK_S, Expiry
from mltbd.core.timing import RHO
from mltbd.state.locks import Lock
from mltbd.state.machine import State
from tests.daemon.core.core_kit import TIMING, WALL, Member

NEVER = float("inf")
HELD_S = 2.0 * (1 + 2 * RHO)
"""By the clock of its holder it has been two seconds then, whatever the rates of both."""


class Clock:
    """n1 leads and its clock runs. What is told is applied at once, what the clock says when the test wants it."""

    def __init__(self) -> None:
        self.member = Member()
        self.consensus = self.member.consensus
        self.state = State()
        self.commands = Commands(self.consensus, self.member.out, 1)
        self.expiry = Expiry(1, self.consensus, self.state, self.commands)
        self.seq = 0
        self.now = 0.0
        self.lead()

    def lead(self) -> None:
        """Wins, and has its first entry committed."""
        self.now = self.member.lead("n2")
        self.member.acked("n2", 1, self.consensus.log.last_index, self.now)
        self.apply()

    def apply(self) -> None:
        for entry in self.consensus.log.after(self.state.applied):
            self.state.apply(entry)
        self.expiry.work(self.now)
        self.commands.work(self.now, WALL, self.state.applied)

    def tell(self, kind: int, *args: str | int) -> str:
        """A client's command; the id of the lock or waiter that came of it."""
        self.seq += 1
        self.consensus.propose(Batch((packed("c", self.seq, kind, *args).body,)), self.now, WALL)
        self.apply()
        ((_, _, outcome),) = self.state.done
        return str(outcome[1]) if len(outcome) > 1 else ""

    def acquire(self, ttl_ms: int = 2000, wait_ms: int = 0, delay_ms: int = 0) -> str:
        return self.tell(ACQUIRE, "l", ttl_ms, wait_ms, delay_ms, "holder")

    def at(self, now: float) -> list[Command]:
        """What the clock says at this moment, into the log and not applied."""
        self.now = now
        before = self.consensus.log.last_index
        self.expiry.work(now)
        self.commands.work(now, WALL, self.state.applied)
        entries: tuple[Entry, ...] = self.consensus.log.after(before)
        bodies = [body for entry in entries if isinstance(entry.command, Batch) for body in entry.command.commands]
        return [command for command in map(unpacked, bodies) if command is not None]

    @property
    def lock(self) -> Lock:
        lock = self.state.store.locks.get("l")
        assert lock is not None
        return lock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_an_expiry_names_what_it_was_measured_for(clock: Clock) -> None:
    clock.acquire()
    assert clock.expiry.next_deadline() == pytest.approx(clock.now + HELD_S)
    over = clock.now + HELD_S
    assert clock.at(over - 0.0001) == []
    (said,) = clock.at(over)
    assert (said.kind, said.arguments) == (EXPIRE, ("l", clock.lock.token, clock.lock.generation, clock.consensus.term))
    assert said.client.startswith(INTERNAL)


def test_what_was_said_is_said_again_until_it_has_come_true(clock: Clock) -> None:
    clock.acquire()
    over = clock.now + HELD_S
    assert len(clock.at(over)) == 1
    assert clock.at(over + TIMING.election_s - 0.001) == []
    assert len(clock.at(over + TIMING.election_s)) == 1
    clock.apply()
    assert clock.at(over + 3 * TIMING.election_s) == []
    assert clock.expiry.next_deadline() == NEVER


def test_what_has_no_room_is_said_soon(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    clock.acquire()
    over = clock.now + HELD_S
    monkeypatch.setattr(commands_module, "QUEUE_MAX", 0)
    assert clock.at(over) == []
    monkeypatch.undo()
    assert clock.at(over + AGAIN_S - 0.001) == []
    assert len(clock.at(over + AGAIN_S)) == 1


def test_an_extension_is_measured_from_when_it_took_effect(clock: Clock) -> None:
    lock_id, began = clock.acquire(), clock.now
    assert clock.at(began + 1.5) == []
    clock.tell(EXTEND, "l", lock_id, 0)
    assert clock.at(began + HELD_S) == []
    assert clock.expiry.next_deadline() == pytest.approx(began + 1.5 + HELD_S)
    (said,) = clock.at(began + 1.5 + HELD_S)
    assert said.arguments[2] == clock.lock.generation


def test_a_delay_ends_by_a_word_of_its_own(clock: Clock) -> None:
    clock.acquire(delay_ms=1000)
    assert len(clock.at(clock.now + HELD_S)) == 1
    clock.apply()
    closed = clock.now
    assert clock.at(closed + 0.9999) == []
    (said,) = clock.at(closed + 1.0)
    assert (said.kind, said.arguments) == (OPEN, ("l", clock.lock.generation, clock.consensus.term))
    clock.apply()
    assert clock.state.store.locks.get("l") is None
    assert clock.at(closed + 60.0) == []
    assert clock.expiry.next_deadline() == NEVER


def test_a_waiter_is_measured_from_its_own_beginning(clock: Clock) -> None:
    clock.acquire(ttl_ms=60_000)
    began = clock.now
    first = clock.acquire(wait_ms=1000)
    assert clock.at(began + 0.5) == []
    second = clock.acquire(wait_ms=1000)
    assert clock.at(began + 1.0 + WAIT_SLACK_S - 0.0001) == []
    (said,) = clock.at(began + 1.0 + WAIT_SLACK_S)
    assert (said.kind, said.arguments) == (WITHDRAW, ("l", first))
    clock.apply()
    assert [said.arguments[1] for said in clock.at(began + 1.5 + WAIT_SLACK_S)] == [second]


def test_a_waiter_that_became_the_holder_waits_no_longer(clock: Clock) -> None:
    holder = clock.acquire(ttl_ms=60_000)
    clock.acquire(ttl_ms=60_000, wait_ms=1000)
    clock.tell(RELEASE, "l", holder)
    assert clock.at(clock.now + 1.0 + WAIT_SLACK_S) == []


def test_a_shorter_time_than_the_last_holder_had_ends_at_its_own_end(clock: Clock) -> None:
    began = clock.now
    clock.tell(RELEASE, "l", clock.acquire(ttl_ms=60_000))
    clock.acquire()
    assert len(clock.at(began + HELD_S)) == 1
    clock.apply()
    assert clock.at(began + 61.0) == []
    assert clock.expiry.next_deadline() == NEVER


def test_what_is_gone_takes_no_room_and_what_is_held_still_ends(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry_module, "PRUNE_MIN", 0)
    for _ in range(3):
        clock.tell(RELEASE, "l", clock.acquire())
    assert clock.expiry.next_deadline() == NEVER
    clock.tell(ACQUIRE, "long", 60_000, 0, 0, "holder")
    clock.acquire()
    for _ in range(5):
        clock.tell(RELEASE, "m", clock.tell(ACQUIRE, "m", 9000, 0, 0, "holder"))
    assert clock.expiry.next_deadline() == pytest.approx(clock.now + HELD_S)
    assert [said.arguments[0] for said in clock.at(clock.now + HELD_S)] == ["l"]


def test_who_leads_again_begins_every_time_anew(clock: Clock) -> None:
    clock.acquire()
    assert clock.at(clock.now + 1.9) == []
    clock.consensus.thaw(clock.now)
    assert clock.at(clock.now + 1.0) == []
    clock.lead()
    began = clock.now
    assert clock.at(began + HELD_S - 0.0001) == []
    (said,) = clock.at(began + HELD_S)
    assert said.arguments == ("l", clock.lock.token, clock.lock.generation, clock.consensus.term)


def test_a_follower_measures_nothing_and_keeps_no_list(clock: Clock) -> None:
    clock.acquire()
    assert not clock.state.store.locks.touched
    clock.consensus.thaw(clock.now)
    clock.state.store.locks.touched["l"] = None
    assert clock.at(clock.now + 60.0) == []
    assert clock.expiry.next_deadline() == NEVER
    assert not clock.state.store.locks.touched
