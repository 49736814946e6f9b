"""The SDK in an event loop: the same answers, many calls at once, and nothing kept by what was cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from inspect import signature
from typing import Any

import pytest

from mltbctl.async_client import AsyncClient, AsyncLocks, AsyncState
from mltbctl.client import Client, Conflict, Entry, LockLost, LockNotAcquired
from mltbctl.locks import Locks
from mltbctl.store_client import State
from tests.mltbctl.fake_store import FakeStore
from tests.waiting import until


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 60))


def public(kind: type) -> dict[str, set[str]]:
    calls = {name: value for name, value in vars(kind).items() if not name.startswith("_") and callable(value)}
    return {name: set(signature(call).parameters) for name, call in calls.items()}


@pytest.mark.parametrize(("sync", "other"), [(Client, AsyncClient), (State, AsyncState), (Locks, AsyncLocks)])
def test_the_same_calls(sync: type, other: type) -> None:
    expected = public(sync)
    expected.pop("verdict", None)
    hidden = {"reserve_s", "timeout"}  # for Lock alone
    assert {name: parameters - hidden for name, parameters in expected.items()} == public(other)


def test_state(store: FakeStore) -> None:  # noqa: ARG001
    async def story() -> None:
        async with AsyncClient() as node:
            put = await node.state.set("k", {"a": 1})
            assert put == Entry("k", {"a": 1}, 1, 1)
            assert await node.state.get("k") == put
            assert await node.state.compare_and_swap("k", 7, 2) == Conflict(put)
            assert await node.state.list("k") == [put]
            assert [change.value async for change in node.state.watch("k", after=0, idle=0.05)] == [{"a": 1}]
            assert await node.state.delete("k") is True

    run(story())


def test_many_calls_at_once(store: FakeStore) -> None:
    async def story() -> None:
        async with AsyncClient(timeout=30) as node:
            held = await node.locks.acquire("k", ttl=60)
            waiting = asyncio.create_task(node.locks.acquire("k", ttl=60, wait=30))
            await asyncio.gather(*(node.state.set(f"{number}", number) for number in range(40)))
            assert not waiting.done()
            await node.locks.release(held)
            assert (await waiting).token > held.token
            with pytest.raises(LockNotAcquired):
                await node.locks.acquire("k")

    run(story())
    assert len(store.entries) == 40


def test_a_block_holds_the_lock(store: FakeStore) -> None:
    async def story() -> None:
        async with AsyncClient() as node:
            async with node.lock("k", ttl=60) as lock:
                assert lock.token == store.lines["k"][0].token
                assert lock.name == "k"
                assert lock.remaining() > 50
                assert not lock.lost.is_set()
            assert await node.locks.show("k") is None

    run(story())


def test_the_loop_is_told_of_a_loss(store: FakeStore) -> None:
    async def hold(node: AsyncClient) -> None:
        async with node.lock("k", ttl=0.6) as lock:
            store.release({"name": "k", "lock_id": lock.lock_id})
            assert await lock.lost.wait()
            assert lock.lost.is_set()

    async def story() -> None:
        async with AsyncClient() as node:
            with pytest.raises(LockLost):
                await hold(node)

    run(story())


def test_a_cancelled_wait_keeps_nothing(store: FakeStore) -> None:
    async def story() -> None:
        async with AsyncClient() as node:
            held = await node.locks.acquire("k", ttl=60)

            async def enter() -> None:
                async with node.lock("k", ttl=60, wait=30):
                    raise AssertionError("it was cancelled")

            waiting = asyncio.create_task(enter())
            await asyncio.to_thread(until, lambda: len(store.lines["k"]) == 2)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await node.locks.release(held)
            # The thread gets it, sees that nobody wants it any more, and gives it back.
            await asyncio.to_thread(until, lambda: not store.lines["k"])

    run(story())
