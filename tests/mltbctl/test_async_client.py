"""The SDK in an event loop: the same answers, many calls at once, and nothing kept by what was cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from mltbctl.async_client import AsyncClient, AsyncLocks, AsyncState, AsyncWatch
from mltbctl.client import Client, Conflict, Entry, LockLost, LockNotAcquired, Timeout, UnknownOutcome, Unreachable
from mltbctl.locks import Locks
from mltbctl.store_client import State, Watch
from tests.mltbctl.fake_daemon import FakeDaemon, Later, Silence
from tests.mltbctl.fake_store import FakeStore
from tests.waiting import until


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 60))


def public(kind: type) -> dict[str, set[str]]:
    found = {name: value for name, value in vars(kind).items() if not name.startswith("_")}
    return {name: set(signature(it).parameters) if callable(it) else set() for name, it in found.items()}


@pytest.mark.parametrize(
    ("sync", "other"),
    [(Client, AsyncClient), (State, AsyncState), (Locks, AsyncLocks), (Watch, AsyncWatch)],
    ids=lambda kind: kind.__name__,
)
def test_the_same_calls(sync: type, other: type) -> None:
    expected = public(sync)
    expected.pop("timeout_s", None)
    assert public(other) == {name: given - {"timeout"} for name, given in expected.items()}, "asyncio.timeout does that"


@pytest.mark.usefixtures("store")
def test_state() -> None:
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


@pytest.mark.usefixtures("store")
def test_a_watch_that_was_awaited_has_begun() -> None:
    async def story() -> None:
        async with AsyncClient() as node:
            watch = await node.state.watch("w/")
            await node.state.set("w/a", 1)
            assert (await anext(watch)).value == 1
            assert watch.revision == 1
            later = node.state.watch("w/", idle=0.05)
            assert (later.revision, (await later).revision) == (0, 1)
            watch.close()
            assert [change async for change in watch] == [change async for change in later] == []

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


def test_a_lock_that_nobody_can_extend_is_given_back(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def story() -> None:
        async with AsyncClient() as node:
            await node.state.set("k", 1)
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", no_thread)
                with pytest.raises(Unreachable, match="new thread"):
                    await node.lock("k", ttl=60).__aenter__()
            assert not store.lines["k"]

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
            assert [grant.lock_id for grant in store.lines["k"]] == [held.lock_id], "it has left the line"
            assert await node.locks.release(held)
            assert not store.lines["k"]

    run(story())


@pytest.mark.parametrize("turns", range(4))
def test_who_is_cancelled_while_leaving_the_block_keeps_nothing(store: FakeStore, turns: int) -> None:
    async def story() -> None:
        async with AsyncClient(timeout=30) as node:
            leaving = asyncio.Event()

            async def work() -> None:
                async with node.lock("k", ttl=60):
                    leaving.set()

            task = asyncio.create_task(work())
            await leaving.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await asyncio.to_thread(until, lambda: not store.lines["k"])

    run(story())


@pytest.mark.parametrize("turns", range(4))
def test_who_is_cancelled_twice_keeps_nothing(store: FakeStore, turns: int) -> None:
    async def story() -> None:
        async with AsyncClient(timeout=30) as node:
            held = await node.locks.acquire("k", ttl=60)
            waiting = asyncio.create_task(node.locks.acquire("k", ttl=60, wait=30))
            await asyncio.to_thread(until, lambda: len(store.lines["k"]) == 2)
            waiting.cancel()
            for _ in range(turns):
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await asyncio.to_thread(until, lambda: [each.lock_id for each in store.lines["k"]] == [held.lock_id])

    run(story())


@pytest.mark.parametrize("waits", [False, True], ids=["holds", "waits"])
@pytest.mark.parametrize("turns", range(3))
def test_a_loop_that_ends_at_that_moment_leaves_nothing(store: FakeStore, turns: int, waits: bool) -> None:
    """asyncio.run cancels whatever is under way, what undoes it included."""
    asked = {"client": "other", "seq": 1, "name": "k", "ttl": 60, "wait": 0, "holder": ""}
    before = [store.acquire(asked)["lock_id"]] if waits else []

    node = AsyncClient(timeout=30)

    async def story() -> None:
        async def work() -> None:
            async with node.lock("k", ttl=60, wait=30):
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await asyncio.to_thread(until, lambda: len(store.lines.get("k", ())) == 1 + waits)
        if not waits:
            await node.state.get("k")  # So that it is inside.
        task.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)

    run(story())
    assert [each.lock_id for each in store.lines["k"]] == before
    run(node.close())


@pytest.mark.usefixtures("store")
def test_of_several_tasks_each_change_is_told_to_one() -> None:
    async def story() -> None:
        async with AsyncClient(timeout=30) as node:
            watch = await node.state.watch("w/")
            several = [asyncio.create_task(anext(watch)) for _ in range(2)]
            await asyncio.sleep(0)
            for number in range(2):
                await node.state.set("w/k", number)
            assert sorted([(await each).value for each in several]) == [0, 1]

    run(story())


def test_a_watch_that_two_tasks_begin_misses_nothing(store: FakeStore) -> None:
    """One by awaiting it, the other by its first step; it began twice, and the later beginning left changes out."""
    real, asked = store.daemons[0].answers["state_list"], list[str]()

    def first_is_slow(params: dict[str, Any]) -> dict[str, Any]:
        asked.append(params["prefix"])
        if len(asked) > 1:
            return real(params)
        store.set({"key": "w/a", "value": "1"})
        body = real(params)
        raise Later(lambda: body if store.revision >= 2 else None)

    async def story() -> None:
        async with AsyncClient(timeout=30) as node:
            watch = node.state.watch("w/")
            begun, following = asyncio.ensure_future(watch), asyncio.create_task(anext(watch))
            await asyncio.to_thread(until, lambda: asked)
            await node.state.set("w/b", 2)
            assert await begun is watch
            assert (await following).key == "w/b"

    store.daemons[0].answers["state_list"] = first_is_slow
    run(story())
    assert len(asked) == 1


@pytest.mark.usefixtures("store")
def test_who_waits_no_longer_for_a_loss_is_forgotten() -> None:
    async def story() -> None:
        async with AsyncClient() as node, node.lock("k", ttl=60) as lock:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(lock.lost.wait(), 0.01)
            assert lock._lock.lost._listeners == []

    run(story())


def test_a_client_that_was_closed_inside_a_block_opens_anew(store: FakeStore) -> None:
    async def story() -> None:
        node = AsyncClient()
        async with node.lock("k", ttl=60):
            await node.close()
        assert not store.lines["k"]
        await node.state.set("k", 1)
        await node.close()

    run(story())


def test_what_was_granted_to_one_who_is_cancelled_is_given_back(store: FakeStore) -> None:
    """The daemon's answer is on its way, or never comes."""
    granted = asyncio.Event()
    real = store.daemons[0].answers["lock_acquire"]

    async def story() -> None:
        loop = asyncio.get_running_loop()

        def mute(params: dict[str, Any]) -> dict[str, Any]:
            answer = real(params)
            if not granted.is_set():
                loop.call_soon_threadsafe(granted.set)
                raise Silence
            return answer

        store.daemons[0].answers["lock_acquire"] = mute
        async with AsyncClient(timeout=30) as node:
            asking = asyncio.create_task(node.locks.acquire("k", ttl=60))
            await granted.wait()
            assert len(store.lines["k"]) == 1
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert not store.lines["k"]

    run(story())


def test_the_calls_of_a_turn_travel_together_and_need_no_threads(store: FakeStore) -> None:
    async def story() -> None:
        async with AsyncClient(timeout=10) as node:
            await node.state.set("first", 1)
            before = set(threading.enumerate())
            entries = await asyncio.gather(*(node.state.set(f"k{number}", number) for number in range(50)))
            assert sorted(entry.value for entry in entries) == list(range(50))
            found = await asyncio.gather(*(node.state.get(f"k{number}") for number in range(50)))
            assert [entry.value for entry in found if entry] == list(range(50))
            assert not set(threading.enumerate()) - before  # Those of others may end meanwhile.

    run(story())
    assert store.daemons[0].bundles == [1, 50, 50]


def test_tasks_and_threads_share_a_connection(store: FakeStore) -> None:
    async def story() -> None:
        path = str(store.daemons[0].path)
        with Client(path, timeout=10) as threaded:
            async with AsyncClient(path, timeout=10) as node:

                def work(number: int) -> None:
                    for turn in range(20):
                        threaded.state.set(f"{number}/{turn}", turn)

                works = [asyncio.to_thread(work, number) for number in range(3)]
                sets = [node.state.set(f"async/{number}", number) for number in range(60)]
                await asyncio.gather(*works, *sets)
                assert threaded._lines.hub() is node._client._lines.hub()

    run(story())
    assert store.executed == 120


def test_a_daemon_that_is_lost_meanwhile_is_left_for_the_next(serve: Callable[..., FakeDaemon], runtime: Path) -> None:
    store = FakeStore()
    path = runtime / "mltb" / "n1.sock"
    here = serve("n2", **store.answers())

    async def story() -> None:
        asked = threading.Event()

        def mute(params: dict[str, Any]) -> dict[str, Any]:
            store.answers()["state_set"](params)
            asked.set()
            raise Silence

        async with AsyncClient(str(path), str(here.path), timeout=10) as node:
            with FakeDaemon(path, {"state_set": mute}):
                setting = asyncio.create_task(node.state.set("k", 1))
                assert await asyncio.to_thread(asked.wait, 30)
            assert (await setting).version == 1
            assert (await node.state.set("k", 2)).version == 2

    run(story())
    assert store.executed == 2


def test_no_answer_in_time(serve: Callable[..., FakeDaemon]) -> None:
    def mute(_: dict[str, Any]) -> dict[str, Any]:
        raise Silence

    serve("n2", state_set=mute, state_get=mute)

    async def story() -> None:
        async with AsyncClient(timeout=0.1) as node:
            with pytest.raises(UnknownOutcome):
                await node.state.set("k", 1)
            with pytest.raises(Timeout):
                await node.state.get("k")

    run(story())
