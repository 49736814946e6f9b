"""What an AsyncClient does with threads, files and connections: in a child, where they run out, at its end."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mltbctl import async_client, hub
from mltbctl.async_client import AsyncClient
from mltbctl.client import Client, Timeout, Unreachable
from tests.mltbctl.fake_daemon import FakeDaemon, Silence
from tests.mltbctl.fake_store import FakeStore
from tests.mltbctl.test_async_client import run
from tests.waiting import until

Serve = Callable[..., FakeDaemon]


def test_a_child_has_threads_and_readers_of_its_own(store: FakeStore) -> None:
    """What its parent had is dead, or locked for good: it may not even be closed."""
    store.daemons[0].answers["ping"] = lambda _: {"node": "n2"}
    node = AsyncClient(timeout=5)

    async def use() -> None:
        await node.ping()
        await node.state.set("k", 1)

    run(use())
    (channel,) = hub._channels.values()
    with channel._mutex:  # As some thread of the parent has it.
        pid = os.fork()
        if pid == 0:  # pragma: no cover
            signal.alarm(20)
            try:
                run(use())
                run(node.close())
                os._exit(0)
            finally:
                os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    run(node.close())


def test_calls_that_wait_for_a_thread_keep_their_timeout(serve: Serve) -> None:
    def silent(_: Any) -> Any:
        raise Silence

    serve(ping=silent)

    async def story() -> None:
        async with AsyncClient(timeout=0.5) as node:
            began = time.monotonic()
            outcomes = await asyncio.gather(*(node.ping() for _ in range(100)), return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {Timeout}
            assert time.monotonic() - began < 2.9, "sixteen at a time would take seven times as long"

    run(story())


def test_nobody_waits_for_a_call_when_the_process_ends(serve: Serve) -> None:
    def silent(_: Any) -> Any:
        raise Silence

    daemon = serve(ping=silent)
    script = (
        "import asyncio; from mltbctl.client import AsyncClient\n"
        f"asyncio.run(asyncio.wait_for(AsyncClient({str(daemon.path)!r}, timeout=100).ping(), 0.2))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert "TimeoutError" in ended.stderr.splitlines()[-1]


def test_calls_and_threads_are_limited(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_: Any) -> Any:
        raise Silence

    serve(ping=silent)
    monkeypatch.setattr(async_client, "CALLS_MAX", 2)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def story() -> None:
        async with AsyncClient(timeout=0.3) as node:
            outcomes = await asyncio.gather(*(node.ping() for _ in range(5)), return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {Timeout}
            assert "too many calls are under way" in " ".join(map(str, outcomes))
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", start)
                with pytest.raises(Unreachable, match="can't start new thread"):
                    await node.ping()

    run(story())


@pytest.mark.parametrize("what", ["dup", "add_reader"])
def test_a_moment_without_descriptors_is_over_with_the_next_call(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    async def story() -> None:
        async with AsyncClient(path, timeout=30) as node:
            with monkeypatch.context() as patch:
                patch.setattr(*((os, "dup", full) if what == "dup" else (asyncio.get_running_loop(), what, full)))
                with pytest.raises(Unreachable, match="can be made: Too many open files"):
                    await node.state.get("k")
            assert await node.state.get("k") is not None

    path = str(store.daemons[0].path)
    with Client(path) as other:
        other.state.set("k", 1)  # So that there is a connection.
        run(story())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts files as Linux shows them")
@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_a_call_under_way_is_answered_after_the_client_was_closed(store: FakeStore, shared: bool) -> None:
    """Of a connection that another client goes on using, too; and then this loop reads it no more."""
    path = str(store.daemons[0].path)

    async def story() -> None:
        node, other = AsyncClient(path, timeout=30), Client(path, timeout=30)
        if shared:
            other.state.set("k", 1)
        held = await node.locks.acquire("k", ttl=60)
        before = len(os.listdir("/proc/self/fd"))
        waiting = asyncio.create_task(node.locks.acquire("k", ttl=60, wait=60))
        await asyncio.to_thread(until, lambda: len(store.lines["k"]) == 2)
        await node.close()
        store.release({"name": "k", "lock_id": held.lock_id})
        assert (await asyncio.wait_for(waiting, 15)).token > held.token
        await asyncio.to_thread(until, lambda: len(os.listdir("/proc/self/fd")) < before)
        other.close()

    run(story())
    assert len([method for method, _ in store.daemons[0].calls if method == "lock_acquire"]) == 2, "not asked again"


@pytest.fixture
def mute(runtime: Path) -> Iterator[str]:
    """The path of a daemon that hangs: it listens, and says nothing."""
    path = runtime / "mltb" / "n9.sock"
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(64)
        yield str(path)


@contextmanager
def occupied() -> Iterator[None]:
    """The default pool of the running loop is full meanwhile."""
    over = threading.Event()
    pool = ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(pool)
    pool.submit(over.wait)
    try:
        yield
    finally:
        over.set()


def test_connecting_waits_for_no_other_work(store: FakeStore, mute: str) -> None:
    """Neither for what fills the pool of the loop nor for a daemon that hangs."""

    async def story() -> None:
        async with AsyncClient(mute, timeout=30) as hung, AsyncClient(str(store.daemons[0].path), timeout=30) as node:
            with occupied():
                waiting = [asyncio.create_task(hung.state.get("k")) for _ in range(100)]
                await asyncio.sleep(0)
                before = threading.active_count()
                await asyncio.wait_for(node.state.set("k", 1), 10)
                assert threading.active_count() <= before + 1, "one thread is enough for all"
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)

    began = time.monotonic()
    run(story())
    assert time.monotonic() - began < 15, "nobody waited for the thread in the end"


def test_a_connection_is_not_waited_for_beyond_the_timeout(mute: str) -> None:
    """Whoever began to make it may have more time."""

    async def story() -> None:
        async with AsyncClient(mute, timeout=0.2) as node:
            waiting = asyncio.create_task(node.locks.acquire("k", wait=20))
            await asyncio.sleep(0)
            with pytest.raises(Unreachable, match="no connection in time"):
                await asyncio.wait_for(node.state.get("k"), 10)
            waiting.cancel()

    run(story())


def test_the_way_to_the_leader_holds_up_nobody(store: FakeStore, mute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked meanwhile goes through the connection that there is."""
    monkeypatch.setattr(hub, "FOLLOW_S", 20.0)
    store.daemons[0].leader = "n9 10.0.0.9:7947"

    async def story() -> None:
        async with AsyncClient(str(store.daemons[0].path), mute, timeout=30) as node:
            began = time.monotonic()
            for number in range(3):
                await node.state.set("k", number)
            assert time.monotonic() - began < 10
            assert node._lines._reader(asyncio.get_running_loop())._openings, "it is looked for"

    run(story())


def test_where_no_thread_can_be_started_no_connection_can_be_made(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def story() -> None:
        node = AsyncClient(str(store.daemons[0].path))
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(Unreachable, match="can't start new thread"):
                await node.state.set("k", 1)
        await node.state.set("k", 2)
        await node.close()

    run(story())


@pytest.mark.parametrize("loop_is_closed", [False, True])
def test_a_connection_that_nobody_wants_any_more_is_closed(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch, loop_is_closed: bool
) -> None:
    goes_on, real = threading.Event(), hub.Hub.open
    made: list[Any] = []

    def slowly(one: hub.Hub, *limits: float) -> Any:
        goes_on.wait(15)
        made.append(real(one, *limits)[0])
        return made[0], 0.0

    async def story() -> None:
        node = AsyncClient(str(store.daemons[0].path), timeout=30)
        asking = asyncio.create_task(node.state.get("k"))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait((asking,))
        await node.close()
        if not loop_is_closed:
            goes_on.set()
            await asyncio.to_thread(until, lambda: made and made[0]._shut)

    monkeypatch.setattr(hub.Hub, "open", slowly)
    run(story())
    goes_on.set()
    until(lambda: made and made[0]._shut)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts files as Linux shows them")
def test_one_loop_after_the_other_leaves_nothing_open(store: FakeStore) -> None:
    path = str(store.daemons[0].path)

    async def story() -> None:
        async with AsyncClient(path, timeout=30) as node:
            await node.state.set("k", 1)

    with Client(path, timeout=30) as other:
        other.state.set("k", 0)
        run(story())
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(4):
            run(story())
        assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts files as Linux shows them")
def test_one_client_in_many_loops_leaves_nothing_open(store: FakeStore) -> None:
    path = str(store.daemons[0].path)

    async def story() -> None:
        await node.state.set("k", 1)

    with Client(path, timeout=30) as other:
        other.state.set("k", 0)
        node = AsyncClient(path, timeout=30)
        run(story())
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(4):
            run(story())
        assert len(os.listdir("/proc/self/fd")) <= before
        run(node.close())
        assert len(os.listdir("/proc/self/fd")) < before
