"""The first number of a client, where it changes nothing: what it costs, and what is left when it is broken off."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mltbctl import settling
from mltbctl.client import AsyncClient, Client, Timeout, UnknownOutcome
from mltbctl.steps import Ask, Retreat
from tests.mltbctl.fake_daemon import Answer, FakeDaemon, Silence
from tests.mltbctl.fake_store import FakeStore
from tests.mltbctl.test_lines import Serve, in_turn, sent, silent
from tests.waiting import until

Asked = Callable[[Any], Any]


@pytest.fixture(params=["threads", "loop"])
def ask(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Do this with a client that waits for itself, or in an event loop."""

    async def in_loop(allowed_s: float, *work: Asked) -> None:
        async with AsyncClient(timeout=allowed_s) as node:
            for one in work:
                await one(node)

    def asked(*work: Asked, timeout: float = 30) -> None:
        if request.param == "loop":
            asyncio.run(in_loop(timeout, *work))
            return
        with Client(timeout=timeout) as node:
            for one in work:
                one(node)

    return asked


def names(daemon: FakeDaemon) -> list[tuple[str, int]]:
    return [(method, params["seq"]) for method, params in daemon.calls]


def interrupts(_: dict[str, Any]) -> dict[str, Any]:
    """No answer, but Ctrl-C: it ends a call of the main thread, and cancels what a loop does."""
    os.kill(os.getpid(), signal.SIGINT)
    raise Silence


def put(node: Any) -> Any:
    return node.state.set("k", 1)


def test_it_is_told_apart_from_the_change_and_comes_once(serve: Serve, ask: Callable[..., None]) -> None:
    daemon = serve("n2", **FakeStore().answers())
    ask(put, put, put)
    assert names(daemon) == [("state_delete", 1), ("state_set", 2), ("state_set", 3), ("state_set", 4)]


def test_where_little_time_was_given_the_change_comes_first(serve: Serve, ask: Callable[..., None]) -> None:
    daemon = serve("n2", **FakeStore().answers())
    ask(put, timeout=settling.FIRST_S)
    assert names(daemon) == [("state_set", 1)]


def test_who_was_forgotten_begins_with_it_again(serve: Serve, ask: Callable[..., None]) -> None:
    store = FakeStore()
    daemon = serve("n2", **store.answers())

    def forget(node: Any) -> Any:
        store.replies.clear()
        return put(node)

    ask(put, forget)
    before, after = [("state_delete", 1), ("state_set", 2)], [("state_delete", 1), ("state_set", 2)]
    assert names(daemon) == [*before, ("state_set", 3), *after]
    (first, _), (again, _), (anew, _) = sent(daemon)
    assert first == again != anew
    assert store.entries["k"]["version"] == 2


@pytest.mark.parametrize("answer", ["unknown_outcome", silent])
def test_without_an_answer_to_it_nothing_is_unsure(
    serve: Serve, ask: Callable[..., None], monkeypatch: pytest.MonkeyPatch, answer: Answer | str
) -> None:
    monkeypatch.setattr(settling, "FIRST_S", 0.0)
    daemon = serve("n2", **(FakeStore().answers() | {"state_delete": in_turn(answer)}))
    with pytest.raises(Timeout, match=r"no answer within 0\.4 s") as caught:
        ask(put, timeout=0.4)
    assert not isinstance(caught.value, UnknownOutcome)
    assert sent(daemon) == []


def test_both_share_the_time_of_the_call(
    serve: Serve, ask: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "FIRST_S", 0.0)
    real = FakeStore().answers()
    late = in_turn(*["unavailable"] * 5, real["state_delete"])  # With its pauses this takes 0.6 s.
    serve("n2", **(real | {"state_delete": late, "state_set": silent}))
    began = time.monotonic()
    with pytest.raises(UnknownOutcome, match=r"no answer within 0\.8 s"):
        ask(put, timeout=0.8)
    assert time.monotonic() - began < 0.6 + 0.8


def test_who_is_interrupted_in_it_has_asked_for_nothing(serve: Serve, ask: Callable[..., None]) -> None:
    store = FakeStore()
    daemon = serve("n2", **(store.answers() | {"lock_release": in_turn(interrupts, store.answers()["lock_release"])}))
    with pytest.raises(KeyboardInterrupt):
        ask(lambda node: node.locks.acquire("l", ttl=60))
    assert names(daemon) == [("lock_release", 1)]


def test_what_was_there_before_is_undone_all_the_same(serve: Serve, ask: Callable[..., None]) -> None:
    """It is the extension of a lock that was granted long ago."""
    store = FakeStore()
    held = store.acquire({"client": "me", "seq": 1, "name": "l", "ttl": 60, "wait": 0, "holder": ""})
    mine = {"name": "l", "lock_id": held["lock_id"]}
    serve("n2", **(store.answers() | {"lock_release": in_turn(interrupts, store.answers()["lock_release"])}))
    retreat = Retreat({}, lambda _: ("lock_release", mine), begun=True)

    def extend(node: Any) -> Any:
        lines = node._lines
        coming: Coroutine[Any, Any, Any] = lines.settle(Ask("lock_extend", mine, changes=True, retreat=retreat))
        return coming

    with pytest.raises(KeyboardInterrupt):
        ask(extend)
    assert store.lines["l"] == []


def test_a_loop_that_ends_then_leaves_no_lock_behind(serve: Serve) -> None:
    """Whatever it was about to do about it."""
    store = FakeStore()
    answers = store.answers()
    asked, node = asyncio.Event(), AsyncClient(timeout=30)

    async def story() -> None:
        loop = asyncio.get_running_loop()

        def mute(params: dict[str, Any]) -> dict[str, Any]:
            answers["lock_acquire"](params)
            loop.call_soon_threadsafe(asked.set)
            raise Silence

        release, acquire = (answers[method] for method in ("lock_release", "lock_acquire"))
        in_turns = {"lock_release": in_turn(silent, release), "lock_acquire": in_turn(mute, acquire)}
        daemon = serve("n2", **(answers | in_turns))
        acquiring = asyncio.ensure_future(node.locks.acquire("l", ttl=60))
        await asyncio.to_thread(until, lambda: daemon.calls)
        acquiring.cancel()
        await asyncio.wait((acquiring, asyncio.ensure_future(asked.wait())), return_when=asyncio.FIRST_COMPLETED)

    asyncio.run(story())
    assert store.lines.get("l", []) == []
    asyncio.run(node.close())
