"""Locks through the SDK: what is acquired, kept, released and lost, and how long a holder may believe."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mltb_transport.calls import Call
from mltb_transport.channel import Channel
from mltb_transport.store import ACQUIRE, unpacked
from mltbctl import locks
from mltbctl.client import Client, HeldLock, Lock, LockLost, LockNotAcquired, UnknownOutcome, Unreachable
from mltbctl.clock import boottime
from mltbctl.lock_keeper import Lost
from mltbctl.locks import RATE, RESERVE_S_MAX, myself, proven_s
from tests.mltbctl.fake_daemon import FakeDaemon, Refusal
from tests.mltbctl.fake_store import FakeStore
from tests.waiting import until

Serve = Callable[..., FakeDaemon]


def held(ttl: float, began: float) -> HeldLock:
    answer = {"lock_id": "x", "token": 1, "ttl_seconds": ttl, "extend_seconds": 10.0, "holder": "h"}
    return HeldLock("k", answer, began)


def test_acquire_extend_release(store: FakeStore) -> None:
    with Client() as node:
        mine = node.locks.acquire("deploy", ttl=20)
        assert (mine.name, mine.token, mine.ttl, mine.holder) == ("deploy", 1, 20, myself())
        assert 19 < mine.remaining() < 20
        with pytest.raises(LockNotAcquired, match=f"held by `{myself()}`") as caught:
            node.locks.acquire("deploy", holder="other")
        assert caught.value.details["holder"] == myself()
        node.locks.extend(mine, ttl=40)
        assert mine.remaining() > 30
        shown = node.locks.show("deploy")
        assert shown is not None
        assert shown["lock_id"] == mine.lock_id
        assert [lock["name"] for lock in node.locks.list()] == ["deploy"]
        assert node.locks.list("x") == []
        assert node.locks.release(mine) is True
        assert node.locks.release(mine) is False
        with pytest.raises(LockLost):
            node.locks.extend(mine)
        assert node.locks.show("deploy") is None
        assert node.locks.acquire("deploy").token > mine.token
    assert store.daemons[0].calls[0][1]["wait"] == 0


@pytest.mark.parametrize(
    ("ttl", "wait"), [(0, 0), (-1, 0), (float("inf"), 0), (float("nan"), 0), (1, -1), (1, 1e12), (90_000, 0)]
)
@pytest.mark.usefixtures("store")
def test_times_have_limits(ttl: float, wait: float) -> None:
    with Client() as node:
        with pytest.raises(ValueError):
            node.lock("k", ttl=ttl, wait=wait)
        with pytest.raises(ValueError):
            node.locks.acquire("k", ttl=ttl, wait=wait)


@pytest.mark.parametrize("ttl", [0.1, 1.0, 30.0, 3600.0])
def test_the_holder_stops_believing_before_the_daemon_does(ttl: float) -> None:
    """The daemon counts `ttl` of its seconds from a moment not before the request; both clocks may be off by RATE."""
    mine = held(ttl, 0.0)
    slowest_here = mine.until / (1 - RATE)
    fastest_there = ttl / (1 + RATE)
    assert 0 < mine.reserve_s <= RESERVE_S_MAX
    assert slowest_here <= fastest_there - mine.reserve_s + 1e-9
    assert mine.until > 0.85 * ttl


def test_remaining_counts_from_before_the_request() -> None:
    began = boottime() - 5
    mine = held(10, began)
    assert 4.5 < mine.remaining() < 5
    mine.extended({"ttl_seconds": 10}, began - 3)
    assert mine.until == began + proven_s(10, RESERVE_S_MAX), "an older proof takes nothing away"
    assert held(4, began).remaining() == 0


@pytest.mark.parametrize("method", ["lock_acquire", "lock_extend"])
def test_an_answer_that_is_long_on_its_way_proves_less(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    ahead_s = 0.0
    monkeypatch.setattr(locks, "boottime", lambda: boottime() + ahead_s)
    real = store.daemons[0].answers[method]

    def slow(params: dict[str, Any]) -> dict[str, Any]:
        nonlocal ahead_s
        answer = real(params)
        ahead_s = 5.0
        return answer

    store.daemons[0].answers[method] = slow
    with Client() as node:
        mine = node.locks.acquire("k", ttl=30)
        if method == "lock_extend":
            node.locks.extend(mine, ttl=60)
        assert mine.remaining() < mine.ttl - 5


def test_lost_looks_at_the_clock_itself() -> None:
    lost = Lost()
    lost.moment = boottime() + 60
    assert not lost.is_set()
    lost.moment = boottime()
    assert lost.is_set()
    told: list[int] = []
    lost.then(lambda: told.append(1))
    lost.set()
    lost.set()
    lost.then(lambda: told.append(2))
    assert told == [1, 2]


def test_a_block_holds_the_lock_and_releases_it(store: FakeStore) -> None:
    with Client() as node:
        with node.lock("deploy", ttl=20, holder="me") as lock:
            assert lock.token == store.lines["deploy"][0].token
            assert lock.lock_id == store.lines["deploy"][0].lock_id
            assert 18 < lock.remaining() < 20
            assert not lock.lost.is_set()
            with pytest.raises(LockNotAcquired, match="held by `me`"), node.lock("deploy"):
                raise AssertionError("two holders")
        assert not lock.lost.is_set()
        assert node.locks.show("deploy") is None
        with pytest.raises(RuntimeError):
            lock.acquire()


def test_a_waiter_gets_it_when_it_is_released(store: FakeStore) -> None:
    with Client() as node:
        first = node.locks.acquire("k", ttl=30)
        tokens: list[int] = []

        def wait() -> None:
            with node.lock("k", ttl=30, wait=30) as lock:
                tokens.append(lock.token)

        waiter = threading.Thread(target=wait)
        waiter.start()
        until(lambda: len(store.lines["k"]) == 2)
        node.locks.release(first)
        waiter.join(15)
    assert tokens
    assert tokens[0] > first.token


@pytest.mark.parametrize(("ttl", "interval"), [(2.4, 10.0), (30.0, 0.8)])
def test_it_extends_itself(store: FakeStore, ttl: float, interval: float) -> None:
    """At a third of its time, or as often as its node wants it."""
    store.extend = interval
    with Client() as node, node.lock("k", ttl=ttl) as lock:
        first = lock.held.until
        until(lambda: extensions(store) >= 2)
        assert until(lambda: lock.held.until > first + 0.7)
        assert not lock.lost.is_set()
        assert store.lines["k"][0].lock_id == lock.lock_id
        assert extensions(store) < 10, "and not more often"


def extensions(store: FakeStore) -> int:
    return sum(method == "lock_extend" for method, _ in store.daemons[0].calls)


def test_where_its_node_wants_no_extensions_it_lasts_for_its_time(store: FakeStore) -> None:
    store.extend = 0.0
    with Client() as node:
        lock = node.lock("k", ttl=0.6)
        with pytest.raises(LockLost, match="DISTRIBUTED_LOCK_AUTO_EXTEND off"), lock:
            lock.lost.wait(5)
        assert lock.remaining() == 0
    assert extensions(store) == 0


def test_without_a_time_it_gets_that_of_its_node(store: FakeStore) -> None:
    store.ttl = 7.0
    with Client() as node:
        with node.lock("k") as lock:
            assert (lock.held.ttl, lock.held.extend_s) == (7.0, 7.0 / 3)
        assert node.locks.acquire("k", ttl=5).ttl == 5


def test_a_long_wait_is_followed_by_an_extension(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was granted at some unknown moment of the wait is proven again before it is handed out."""
    ahead_s = 0.0
    monkeypatch.setattr(locks, "boottime", lambda: boottime() + ahead_s)
    got: list[HeldLock] = []
    with Client() as node:
        first = node.locks.acquire("k", ttl=60)
        waiter = threading.Thread(target=lambda: got.append(node.locks.acquire("k", ttl=30, wait=50)))
        waiter.start()
        until(lambda: len(store.lines["k"]) == 2)
        ahead_s = 25.0
        node.locks.release(first)
        waiter.join(15)
    assert store.daemons[0].calls[-1][0] == "lock_extend"
    assert got[0].until > boottime() + 45


@pytest.mark.parametrize("code", ["no_quorum", "unknown_outcome", "failed"])
def test_a_grant_that_cannot_be_proven_is_no_refusal(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """`no_quorum` promises that nothing was done; but the lock was granted, and is kept from others for its time."""

    def failing(_: dict[str, Any]) -> dict[str, Any]:
        raise Refusal(code=code, message="the extension went wrong")

    ahead_s = 0.0
    monkeypatch.setattr(locks, "boottime", lambda: boottime() + ahead_s)
    real = store.daemons[0].answers["lock_acquire"]

    def slow(params: dict[str, Any]) -> dict[str, Any]:
        nonlocal ahead_s
        answer = real(params)
        ahead_s = 15.0
        return answer

    store.daemons[0].answers |= {"lock_acquire": slow, "lock_extend": failing}
    with Client(timeout=0.2) as node:
        with pytest.raises(UnknownOutcome, match="went wrong"):
            node.locks.acquire("k", ttl=30)
        assert node.locks.show("k") is not None


def test_a_grant_that_nobody_takes_any_more_is_given_back(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when Ctrl-C comes while the answer is on its way."""
    real = Channel.ask

    def cut(channel: Channel, call: Call, deadline: float) -> bool:
        went = real(channel, call, deadline)
        command = unpacked(call.body)
        if command is not None and command.kind == ACQUIRE and command.arguments[2]:
            raise KeyboardInterrupt
        return went

    with Client() as node:
        monkeypatch.setattr(Channel, "ask", cut)
        with pytest.raises(KeyboardInterrupt):
            node.locks.acquire("k", ttl=60, wait=30)
        assert store.lines["k"] == []
        assert node.locks.acquire("k", ttl=60).token == 2


def unanswered(_: dict[str, Any]) -> dict[str, Any]:
    raise Refusal(code="no_quorum", message="the leader is gone")


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def lose(node: Client, ttl: float, how: Callable[[Lock], object]) -> Lock:
    """Hold a lock until it is lost; the block ends with LockLost."""
    lock = node.lock("k", ttl=ttl)

    def hold() -> None:
        with lock:
            how(lock)

    with pytest.raises(LockLost):
        hold()
    assert lock.lost.is_set()
    assert lock.remaining() == 0
    return lock


def test_it_is_lost_when_it_cannot_be_extended(store: FakeStore) -> None:
    store.daemons[0].answers["lock_extend"] = unanswered
    with Client() as node:
        lose(node, 0.6, lambda lock: until(lambda: lock.lost.wait(5)))


def test_a_block_that_is_left_while_it_begins_keeps_nothing(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Ctrl-C, say: `__exit__` is not called then, and the lock would be extended for ever."""
    keep = Lock.keep

    def interrupted(lock: Lock) -> None:
        keep(lock)
        raise KeyboardInterrupt

    monkeypatch.setattr(Lock, "keep", interrupted)
    with Client() as node:
        lock = node.lock("k", ttl=60)
        with pytest.raises(KeyboardInterrupt):
            lock.__enter__()
        assert not store.lines["k"]
        assert lock._keeper is not None
        lock._keeper.join(30)
        assert not lock._keeper.is_alive()


def test_a_lock_that_nobody_can_extend_is_given_back(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with Client() as node:
        with pytest.raises(Unreachable, match="new thread"), node.lock("k", ttl=60):
            raise AssertionError("it was not entered")
        assert not store.lines["k"]
        lock = node.lock("k", ttl=60)
        lock.acquire()
        with pytest.raises(Unreachable, match="new thread"):
            lock.keep()
        assert lock.close() is None
    assert not store.lines["k"]


@pytest.mark.usefixtures("store")
def test_what_is_no_failure_of_ours_is_a_try_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that extends lives as long as the lock: or nobody would be told that it is lost."""
    with Client() as node:
        lock = node.lock("k", ttl=3)
        left = [OSError(24, "too many open files"), ValueError("of whatever")]
        extend = node.locks.extend

        def hindered(*args: Any, **more: Any) -> HeldLock:
            if left:
                raise left.pop()
            return extend(*args, **more)

        monkeypatch.setattr(lock._locks, "extend", hindered)
        with lock:
            first = lock.held.until
            until(lambda: lock.held.until > first)
        left += [OSError(24, "too many open files")] * 1000
        lock = node.lock("k", ttl=0.6)
        monkeypatch.setattr(lock._locks, "extend", hindered)
        with pytest.raises(LockLost, match="OSError"), lock:
            assert threading.Event.wait(lock.lost, 15)


def test_the_moment_of_loss_is_before_the_grant_of_the_next(store: FakeStore) -> None:
    with Client() as node:
        lock = node.lock("k", ttl=0.6)
        lock.acquire()
        lock.keep()
        store.daemons[0].answers["lock_extend"] = unanswered
        other = node.locks.acquire("k", ttl=5, wait=20)
        assert lock.lost.is_set()
        assert lock.lost.moment < store.lines["k"][0].until - other.ttl, "lost before the other was granted"
        assert lock.close() is not None


def test_it_is_lost_when_somebody_releases_it(store: FakeStore) -> None:
    def release(lock: Lock) -> None:
        store.release({"name": "k", "lock_id": lock.lock_id})

    def release_and_wait(lock: Lock) -> None:
        release(lock)
        assert lock.lost.wait(15), "the next extension tells"

    with Client() as node:
        lose(node, 0.6, release_and_wait)
        lose(node, 60, release)


def test_a_child_releases_nothing_of_its_parents(store: FakeStore) -> None:
    with Client() as node, node.lock("k", ttl=60) as lock:
        pid = os.fork()
        if pid == 0:  # pragma: no cover
            os._exit(0 if lock.close() is None else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert store.lines["k"][0].lock_id == lock.lock_id


def test_an_error_of_the_block_comes_first(store: FakeStore) -> None:
    def fail(node: Client) -> None:
        with node.lock("k", ttl=60) as lock:
            store.release({"name": "k", "lock_id": lock.lock_id})
            raise KeyError("of the block")

    with Client() as node, pytest.raises(KeyError) as caught:
        fail(node)
    assert "lock was lost" in caught.value.__notes__[0]


def test_a_daemon_that_is_away_at_the_end_is_no_loss_and_not_waited_for(store: FakeStore) -> None:
    """No longer than any call, however long the lock would still be ours."""
    with Client(timeout=0.3) as node:
        with node.lock("k", ttl=3000) as lock:
            store.daemons[0].answers["lock_release"] = unanswered
            began = boottime()
        assert boottime() - began < 60
    assert not lock.lost.is_set()
