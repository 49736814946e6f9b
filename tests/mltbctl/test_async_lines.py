"""An AsyncClient in a child of its process, with more calls than threads were once, and where something runs out."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mltbctl import hub
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
