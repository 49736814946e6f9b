"""A lock that extends itself, once it is given back: nobody may rely on it any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mltbctl.client import AsyncClient, Client, LockLost, LockNotAcquired
from mltbctl.lock_keeper import Lock
from tests.mltbctl.fake_daemon import Later
from tests.mltbctl.fake_store import FakeStore
from tests.waiting import until


def test_nobody_may_rely_on_what_was_given_back(store: FakeStore) -> None:
    with Client() as node:
        with node.lock("k", ttl=20) as lock:
            assert lock.held.remaining() > 18
        assert (lock.remaining(), lock.held.remaining()) == (0, 0)
        single = node.locks.acquire("k", ttl=20)
        node.locks.release(single)
        assert (single.remaining(), single.token) == (0, lock.token + 1)
        with pytest.raises(LockLost), node.lock("k", ttl=20) as lock:
            store.release({"name": "k", "lock_id": lock.lock_id})
        assert lock.held.remaining() == 0


def test_an_extension_that_comes_too_late_gives_no_time(store: FakeStore) -> None:
    """Its answer comes when the lock was given back already."""
    real, asked, goes_on = store.daemons[0].answers["lock_extend"], threading.Event(), threading.Event()

    def late(params: dict[str, Any]) -> dict[str, Any]:
        asked.set()
        body = real(params)
        raise Later(lambda: body if goes_on.is_set() else None)

    store.daemons[0].answers["lock_extend"] = late
    with Client() as node:
        with node.lock("k", ttl=3) as lock:
            assert asked.wait(15)
        goes_on.set()
        assert lock._keeper is not None
        lock._keeper.join(15)
        assert (lock.remaining(), lock.held.remaining()) == (0, 0)
        assert not lock.lost.is_set()


def enter(lock: Lock) -> None:
    with lock:
        raise AssertionError("two blocks of one lock")


def elsewhere(work: Callable[[], None]) -> list[BaseException]:
    """What it raises in another thread."""
    raised: list[BaseException] = []

    def noted() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=noted)
    thread.start()
    thread.join(15)
    return raised


def test_a_second_block_is_refused_and_takes_nothing_from_the_first(store: FakeStore) -> None:
    with Client() as node, node.lock("k", ttl=20) as lock:
        (error,) = elsewhere(lambda: enter(lock))
        assert isinstance(error, RuntimeError)
        assert [grant.lock_id for grant in store.lines["k"]] == [lock.lock_id]
        assert lock.remaining() > 18


def test_a_second_block_is_refused_while_the_first_one_waits(store: FakeStore) -> None:
    with Client() as node:
        before = node.locks.acquire("k", ttl=60)
        lock, leave, tokens = node.lock("k", ttl=60, wait=30), threading.Event(), list[int]()

        def hold() -> None:
            with lock:
                tokens.append(store.lines["k"][0].token)
                assert leave.wait(15)

        first = threading.Thread(target=hold)
        first.start()
        until(lambda: len(store.lines["k"]) == 2)
        with pytest.raises(RuntimeError):
            enter(lock)
        node.locks.release(before)
        until(lambda: tokens)
        assert [grant.token for grant in store.lines["k"]] == tokens
        leave.set()
        first.join(15)
        assert not store.lines["k"]


def test_a_lock_that_was_not_free_may_be_tried_again(store: FakeStore) -> None:
    async def tried_again() -> None:
        async with AsyncClient() as node:
            lock = node.lock("k", ttl=20)
            with pytest.raises(LockNotAcquired):
                await lock.__aenter__()
            store.release({"name": "k", "lock_id": lock_id})
            async with lock:
                with pytest.raises(RuntimeError):
                    await lock.__aenter__()
                assert [grant.lock_id for grant in store.lines["k"]] == [lock.lock_id]

    asked = {"client": "other", "seq": 1, "name": "k", "ttl": 60, "wait": 0, "holder": ""}
    lock_id = store.acquire(asked)["lock_id"]
    with Client() as node:
        lock = node.lock("k", ttl=20)
        with pytest.raises(LockNotAcquired):
            enter(lock)
        with pytest.raises(LockNotAcquired):
            lock.acquire()
        asyncio.run(tried_again())
        lock.acquire()
        assert lock.close() is None
