"""Connections that have gone silent: they are left, by whoever may ask again, and the time that was given is kept."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mltb_transport import channel
from mltbctl import settling
from mltbctl.client import AsyncClient, Client, MltbError, Timeout
from tests.mltbctl.fake_daemon import Answer, FakeDaemon, Later, Silence
from tests.mltbctl.fake_store import FakeStore
from tests.waiting import until

Serve = Callable[..., FakeDaemon]
Asked = Callable[[Client], Any]
PATIENT_S = 30.0

CALLS: list[Asked] = [
    lambda node: node.status(),
    lambda node: node.state.get("k"),
    lambda node: node.state.set("k", 1),
    lambda node: node.locks.acquire("k", wait=PATIENT_S),
]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for long."""
    monkeypatch.setattr(channel, "QUIET_S", 0.05)
    monkeypatch.setattr(channel, "SIGN_S", 0.2)


def in_thread(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    got: list[Any] = []

    def work() -> None:
        try:
            got.append(call())
        except MltbError as error:
            got.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, got


def ended(thread: threading.Thread, got: list[Any]) -> Any:
    thread.join(PATIENT_S)
    assert not thread.is_alive()
    assert not isinstance(got[0], MltbError), got[0]
    return got[0]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("call", CALLS)
def test_where_there_is_one_daemon_the_next_try_makes_a_new_connection(store: FakeStore, call: Asked) -> None:
    """As where a firewall has forgotten the one that there is."""
    daemon = store.daemons[0]
    daemon.answers["status"] = lambda _: {"nodes": []}
    with Client(timeout=2 * PATIENT_S) as node:
        node.state.get("other")
        daemon.hangs = True
        asked = in_thread(lambda: call(node))
        until(lambda: daemon.deaf)
        daemon.hangs = False
        ended(*asked)
        assert len(daemon.deaf) == 1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("call", CALLS)
def test_where_there_are_others_they_are_asked(store: FakeStore, serve: Serve, call: Asked) -> None:
    first, second = store.daemons[0], serve("n3", **store.answers())
    second.answers["status"] = lambda _: {"nodes": []}
    with Client(str(first.path), str(second.path), timeout=2 * PATIENT_S) as node:
        node.state.get("other")
        assert node.connected_to == str(first.path)
        first.hangs, began = True, time.monotonic()
        call(node)
        assert time.monotonic() - began < PATIENT_S
        assert node.connected_to == str(second.path)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "call",
    [
        lambda node: node.state.get("k"),
        lambda node: node.state.set("k", 1),
        lambda node: node.locks.acquire("k", wait=PATIENT_S),
    ],
)
def test_an_event_loop_leaves_them_too(store: FakeStore, call: Callable[[Any], Coroutine[Any, Any, Any]]) -> None:
    daemon = store.daemons[0]

    async def story() -> None:
        async with AsyncClient(timeout=2 * PATIENT_S) as node:
            await node.state.get("other")
            daemon.hangs = True
            asked = asyncio.ensure_future(call(node))
            await asyncio.to_thread(until, lambda: daemon.deaf)
            daemon.hangs = False
            await asyncio.wait_for(asked, PATIENT_S)

    asyncio.run(story())


@pytest.mark.parametrize("call", CALLS[:3])
def test_a_call_that_was_given_little_time_leaves_it_for_the_next(store: FakeStore, call: Asked) -> None:
    daemon = store.daemons[0]
    daemon.answers["status"] = lambda _: {"nodes": []}
    with Client(timeout=PATIENT_S) as patient, Client(timeout=0.2) as node:
        patient.state.get("other")
        daemon.hangs = True
        with pytest.raises(MltbError, match="no answer within"):
            call(node)
        daemon.hangs = False
        call(patient)


@pytest.mark.usefixtures("quick")
def test_what_may_not_be_repeated_is_waited_for(serve: Serve) -> None:
    go = threading.Event()

    def late(_: dict[str, Any]) -> dict[str, Any]:
        raise Later(lambda: {"operation": 9} if go.is_set() else None)

    daemon = serve(failover=late, events=lambda _: {"events": []})
    with Client(timeout=PATIENT_S) as node:
        asked = in_thread(node.failover)
        until(lambda: daemon.calls)
        daemon.hangs = True
        # Another call finds out that it is silent, and goes elsewhere.
        other = in_thread(lambda: node.events())
        until(lambda: daemon.deaf)
        daemon.hangs = False
        assert ended(*other) == {"events": []}
        go.set()
        assert ended(*asked) == {"operation": 9}
    assert [method for method, _ in daemon.calls] == ["failover", "events"]


@pytest.mark.usefixtures("quick")
def test_a_daemon_that_gives_signs_of_life_may_take_its_time(serve: Serve) -> None:
    """A survey asks every member; a wait for a lock may last for hours."""
    began = time.monotonic()

    def late(_: dict[str, Any]) -> dict[str, Any]:
        raise Later(lambda: {"checks": []} if time.monotonic() > began + 1 else None)

    first = serve("n2", health=late)
    second = serve("n3")
    with Client(str(first.path), str(second.path), timeout=PATIENT_S) as node:
        assert node.health() == {"checks": []}
    assert len(first.calls) == 1
    assert second.calls == []


def test_the_time_that_was_given_is_kept(serve: Serve, quick: None) -> None:
    del quick

    def silent(_: dict[str, Any]) -> dict[str, Any]:
        raise Silence

    serve(status=silent, state_get=silent)
    with Client(timeout=1.0) as node:
        for call in CALLS[:2]:
            began = time.monotonic()
            with pytest.raises(Timeout):
                call(node)
            assert time.monotonic() - began >= 1.0


SLOW_S = 0.6


def slowly(answer: Answer) -> Answer:
    """Nothing comes before it, no sign of life either: as where it is large and the link is slow."""

    def answered(params: dict[str, Any]) -> dict[str, Any]:
        threading.Event().wait(SLOW_S)
        return answer(params)

    return answered


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("call", CALLS[:3])
def test_what_takes_long_to_arrive_arrives(store: FakeStore, call: Asked) -> None:
    """Each connection is given twice the time of the one before."""
    daemon = store.daemons[0]
    daemon.answers |= {method: slowly(answer) for method, answer in store.answers().items()}
    daemon.answers["status"] = slowly(lambda _: {"nodes": []})
    with Client(timeout=8) as node:
        call(node)
    assert len(daemon.calls) > 1, "the first one was left"


@pytest.mark.usefixtures("quick")
def test_it_does_in_an_event_loop(store: FakeStore) -> None:
    daemon = store.daemons[0]
    daemon.answers["state_get"] = slowly(daemon.answers["state_get"])

    async def story() -> None:
        async with AsyncClient(timeout=8) as node:
            await node.state.get("k")

    asyncio.run(story())
    assert len(daemon.calls) > 1


@pytest.mark.parametrize("call", CALLS[1:3])
def test_nor_are_others_asked_in_its_place_for_ever(
    store: FakeStore, serve: Serve, monkeypatch: pytest.MonkeyPatch, call: Asked
) -> None:
    """When each has been asked twice, they are given twice the time."""
    monkeypatch.setattr(settling, "ATTEMPT_S", SLOW_S / 3)
    slow = {method: slowly(answer) for method, answer in store.answers().items()}
    first, second = serve("n3", **slow), serve("n4", **slow)
    with Client(str(first.path), str(second.path), timeout=8) as node:
        call(node)
    assert len(first.calls) + len(second.calls) > 4
