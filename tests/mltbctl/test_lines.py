"""Calls that are tried again: done once whatever the daemons answer, and unsure only where nobody can know."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mltbctl import hub, settling
from mltbctl.client import (
    AsyncClient,
    Client,
    LockNotAcquired,
    MltbError,
    NoQuorum,
    Refused,
    Timeout,
    UnknownOutcome,
    Unreachable,
)
from tests.mltbctl.fake_daemon import Answer, FakeDaemon, Later, Refusal, Silence
from tests.mltbctl.fake_store import FakeStore
from tests.waiting import until

Serve = Callable[..., FakeDaemon]


def in_turn(*answers: Answer | str) -> Answer:
    """The first answer to the first call and so on, then the last; a code is a refusal with it."""
    left = list(answers)

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        now = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(now, str):
            raise Refusal(code=now, message="as the test says")
        return now(params)

    return answer


def silent(_: dict[str, Any]) -> dict[str, Any]:
    raise Silence


def sent(daemon: FakeDaemon) -> list[tuple[str, int]]:
    return [(params["client"], params["seq"]) for method, params in daemon.calls if method == "state_set"]


@pytest.mark.parametrize("code", ["no_quorum", "unavailable", "overloaded", "unknown_outcome"])
def test_what_may_pass_is_tried_again_under_the_same_number(serve: Serve, code: str) -> None:
    store = FakeStore()
    daemon = serve("n2", **(store.answers() | {"state_set": in_turn(code, code, store.answers()["state_set"])}))
    with Client() as node:
        assert node.state.set("k", 1).version == 1
        assert node.state.set("k", 2).version == 2
    first, *_, last = sent(daemon)
    assert sent(daemon) == [first, first, first, last]
    assert last == (first[0], first[1] + 1)


def test_an_answer_that_was_lost_is_asked_for_again(serve: Serve) -> None:
    store = FakeStore()
    real = store.answers()["state_set"]

    def done_but_silent(params: dict[str, Any]) -> dict[str, Any]:
        real(params)
        raise Silence

    away = serve("n1", **(store.answers() | {"state_set": done_but_silent}))
    here = serve("n2", **store.answers())
    with Client(str(away.path), str(here.path)) as node:
        assert node.state.set("k", 1).version == 1
        assert node.connected_to == str(here.path)
    assert sent(away) == sent(here)
    assert store.executed == 1


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (("no_quorum",), NoQuorum),
        (("unknown_outcome", "no_quorum"), UnknownOutcome),
        (("unknown_outcome",), UnknownOutcome),
        ((silent,), UnknownOutcome),
        (("unknown_outcome", "forgotten"), UnknownOutcome),
        (("unknown_outcome", "usage"), UnknownOutcome),
        (("unknown_outcome", "auth"), UnknownOutcome),
        (("unknown_outcome", "refused"), Refused),
        (("unknown_outcome", "overloaded"), UnknownOutcome),
        (("unknown_outcome", "off"), UnknownOutcome),
        (("off",), Refused),
        (("refused",), Refused),
        (("usage",), MltbError),
        (("full",), MltbError),
    ],
)
def test_unsure_only_where_nobody_can_know(serve: Serve, answers: tuple[Any, ...], kind: type[MltbError]) -> None:
    serve(state_set=in_turn(*answers))
    with Client(timeout=0.4) as node, pytest.raises(MltbError) as caught:
        node.state.set("k", 1)
    assert type(caught.value) is kind


@pytest.mark.parametrize("call", [lambda node: node.state.set("k", 1), lambda node: node.state.list("k")])
def test_what_is_off_on_a_node_is_refused_and_may_be_had_elsewhere(serve: Serve, call: Callable[[Client], Any]) -> None:
    serve(state_set=in_turn("off"), state_list=in_turn("off"))
    with Client() as node, pytest.raises(Refused) as caught:
        call(node)
    assert (caught.value.code, caught.value.exit_code) == ("refused", 5)
    assert caught.value.hint.startswith("ask another node with `--node`")


def test_reading_is_never_unsure(serve: Serve) -> None:
    serve(state_get=silent)
    with Client(timeout=0.2) as node, pytest.raises(Timeout):
        node.state.get("k")


def test_a_forgotten_client_begins_anew(serve: Serve) -> None:
    store = FakeStore()
    daemon = serve("n2", **store.answers())
    with Client() as node:
        node.state.set("k", 1)
        store.replies.clear()
        assert node.state.set("k", 2).version == 2
    first, forgotten, anew = sent(daemon)
    assert forgotten == (first[0], 2)
    assert anew[0] != first[0]
    assert anew[1] == 1
    assert store.executed == 2


def late(code: str, seconds: float) -> Answer:
    def answer(_: dict[str, Any]) -> dict[str, Any]:
        threading.Event().wait(seconds)
        raise Refusal(code=code, message="as the test says")

    return answer


def test_what_the_state_may_have_forgotten_is_not_done_twice(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first number of a client is done again by a state that has forgotten it; so it is none that matters."""
    monkeypatch.setattr(settling, "FIRST_S", 0.0)
    store = FakeStore()
    real = store.answers()["state_set"]

    def done_and_forgotten(params: dict[str, Any]) -> dict[str, Any]:
        real(params)
        store.replies.clear()
        raise Refusal(code="unknown_outcome", message="as the test says")

    daemon = serve("n2", **(store.answers() | {"state_set": in_turn(done_and_forgotten, real)}))
    with Client(timeout=30) as node, pytest.raises(UnknownOutcome):
        node.state.set("k", 1)
    assert [number for _, number in sent(daemon)] == [2, 2]
    assert store.revision == 1


@pytest.mark.parametrize(
    "change",
    [lambda node: node.state.set("k", 1), lambda node: node.state.delete("k"), lambda node: node.locks.acquire("k")],
)
def test_a_first_change_has_all_the_time_that_was_given(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]
) -> None:
    monkeypatch.setattr(settling, "FIRST_S", 0.2)
    store, troubled = FakeStore(), dict[str, float]()
    real = store.answers()

    def after_a_second(method: str, params: dict[str, Any]) -> dict[str, Any]:
        if time.monotonic() < troubled.setdefault(method, time.monotonic() + 1.0):
            raise Refusal(code="unknown_outcome", message="as the test says")
        return real[method](params)

    async def story() -> None:
        async with AsyncClient(timeout=30) as node:
            await change(node)

    serve("n2", **(real | {method: partial(after_a_second, method) for method in real}))
    with Client(timeout=30) as node:
        change(node)
    troubled.clear()
    store.lines.clear()
    asyncio.run(story())


def test_a_number_stands_for_one_change_whatever_is_interrupted(serve: Serve) -> None:
    store = FakeStore()
    answers = store.answers()
    daemon = serve("n2", **(answers | {"lock_release": in_turn(silent, answers["lock_release"])}))

    async def story() -> None:
        async with AsyncClient(timeout=30) as node:
            acquiring = asyncio.ensure_future(node.locks.acquire("l"))
            await asyncio.to_thread(until, lambda: daemon.calls)
            acquiring.cancel()
            await asyncio.wait((acquiring,))

    asyncio.run(story())
    meant = {(params["client"], params["seq"]): method for method, params in daemon.calls}
    assert all(meant[params["client"], params["seq"]] == method for method, params in daemon.calls)
    assert not store.lines.get("l")


def test_a_repeat_waits_for_what_is_left(serve: Serve) -> None:
    store = FakeStore()
    answers = store.answers()
    daemon = serve("n2", **(answers | {
        "lock_acquire": in_turn(late("unknown_outcome", 0.2), answers["lock_acquire"]),
        "state_watch": in_turn(late("unavailable", 0.2), answers["state_watch"]),
    }))  # fmt: skip
    with Client(timeout=30) as node:
        assert node.locks.acquire("l", ttl=60, wait=20).token
        assert next(node.state.watch("w/", idle=0.5), None) is None
    acquires = [call["wait"] for method, call in daemon.calls if method == "lock_acquire"]
    watches = [call["wait"] for method, call in daemon.calls if method == "state_watch"]
    for first, second, *_ in (acquires, watches):
        assert second <= first - 0.2


def test_a_wait_without_an_answer_is_given_up_and_leaves_nobody_in_line(serve: Serve) -> None:
    store = FakeStore()
    real = store.answers()["lock_acquire"]

    def done_but_silent(params: dict[str, Any]) -> dict[str, Any]:
        try:
            return real(params)
        except Later as later:
            if params["wait"]:
                raise Silence from later
            raise

    serve("n2", **(store.answers() | {"lock_acquire": done_but_silent}))
    with Client(timeout=0.2) as node, Client(timeout=30) as other:
        held = other.locks.acquire("l", ttl=60)
        with pytest.raises(LockNotAcquired):
            node.locks.acquire("l", ttl=60, wait=0.3)
        assert [grant.lock_id for grant in store.lines["l"]] == [held.lock_id]

        async def story() -> None:
            async with AsyncClient(timeout=0.2) as node:
                await node.locks.acquire("l", ttl=60, wait=0.3)

        with pytest.raises(LockNotAcquired):
            asyncio.run(story())
        assert [grant.lock_id for grant in store.lines["l"]] == [held.lock_id]


def test_giving_up_a_wait_takes_no_longer_than_was_allowed(serve: Serve) -> None:
    """A second of it is kept back, half of it where it is short."""
    daemon = serve("n2", lock_acquire=silent)

    async def story() -> None:
        async with AsyncClient(timeout=1.0) as node:
            await node.locks.acquire("l", wait=0.1)

    with Client(timeout=1.0) as node:
        for acquire in (lambda: node.locks.acquire("l", wait=0.1), lambda: asyncio.run(story())):
            began = time.monotonic()
            with pytest.raises(UnknownOutcome, match=r"no answer within 1\.1 s"):
                acquire()
            assert time.monotonic() - began < 1.1 + 0.8
    assert [params["wait"] for _, params in daemon.calls] == [0.1, 0.0] * 2, "given up"


def test_an_unknown_outcome_names_the_change_and_where_to_look(serve: Serve) -> None:
    daemon = serve(state_set=silent, lock_acquire=silent)
    with Client(timeout=0.2) as node:
        with pytest.raises(UnknownOutcome) as caught:
            node.state.set("k", 1)
        client, number = sent(daemon)[0]
        assert caught.value.details == {"operation": f"{client}/{number}"}
        assert caught.value.message.endswith(f"(operation {client}/{number})")
        assert caught.value.hint.startswith("run `mltbctl state get k`")
        with pytest.raises(UnknownOutcome) as caught:
            node.locks.acquire("l")
        assert caught.value.hint.startswith("run `mltbctl lock show l`")


def test_after_an_unknown_outcome_no_number_follows(serve: Serve) -> None:
    store = FakeStore()
    daemon = serve("n2", **(store.answers() | {"state_set": in_turn("unknown_outcome")}))
    with Client(timeout=0.2) as node:
        with pytest.raises(UnknownOutcome):
            node.state.set("k", 1)
        daemon.answers["state_set"] = store.answers()["state_set"]
        node.state.set("k", 2)
    assert sent(daemon)[0][0] != sent(daemon)[-1][0]
    assert {number for _, number in sent(daemon)} == {1}


def test_a_daemon_that_was_there_is_waited_for_and_one_that_never_was_is_not(serve: Serve, runtime: Path) -> None:
    with Client(timeout=60) as node, pytest.raises(Unreachable):
        node.state.get("k")
    store = FakeStore()
    path = runtime / "mltb" / "n1.sock"
    with Client(timeout=60) as node:
        with FakeDaemon(path, store.answers()):
            node.state.set("k", 1)
        got: list[Any] = []
        asker = threading.Thread(target=lambda: got.append(node.state.get("k")))
        asker.start()
        serve("n2", **store.answers())
        asker.join(30)
        assert got[0].value == 1
        assert node.status is not None


@pytest.mark.usefixtures("serve")
def test_a_line_that_was_cut_is_opened_anew(runtime: Path) -> None:
    path = runtime / "mltb" / "n1.sock"
    with Client(str(path)) as node:
        with FakeDaemon(path, {"ping": lambda _: {"node": "n1"}}):
            node.ping()
        with FakeDaemon(path, {"ping": lambda _: {"node": "again"}}):
            assert until(lambda: _ping(node)) == "again"


def test_what_only_reads_is_asked_again_where_the_line_was_cut(serve: Serve, runtime: Path) -> None:
    path, asked = runtime / "mltb" / "n1.sock", threading.Event()

    def die(_: dict[str, Any]) -> dict[str, Any]:
        asked.set()
        raise Silence

    other = serve("n2", ping=lambda _: {"node": "n2"}, failover=lambda _: {"node": "n2"})
    for method in ("ping", "failover"):
        with Client(str(path), str(other.path), timeout=30) as node:
            got: list[Any] = []

            def ask(call: Callable[[], Any], got: list[Any] = got) -> None:
                try:
                    got.append(call())
                except MltbError as error:
                    got.append(error)

            asked.clear()
            with FakeDaemon(path, {"ping": die, "failover": die}):
                asker = threading.Thread(target=ask, args=(node.ping if method == "ping" else node.failover,))
                asker.start()
                assert asked.wait(30)
            asker.join(30)
            if method == "ping":
                assert got == [{"node": "n2"}]
            else:
                assert [type(one) for one in got] == [UnknownOutcome]
    assert [method for method, _ in other.calls] == ["ping"]


def _ping(node: Client) -> str:
    try:
        return str(node.ping()["node"])
    except Unreachable:
        return ""


def test_many_threads_share_one_client(store: FakeStore) -> None:
    with Client(timeout=10) as node:

        def work(number: int) -> None:
            for turn in range(5):
                node.state.set(f"{number}/{turn}", turn)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(node.state.list()) == 60
    assert store.executed == 60
    for client in {client for client, _ in sent(store.daemons[0])}:
        numbers = [seq for name, seq in sent(store.daemons[0]) if name == client]
        assert numbers == sorted(set(numbers)), "one at a time, in order"


def test_those_who_wait_cannot_hold_up_a_release(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "CALLS_MAX", 8)
    monkeypatch.setattr(hub, "PATIENT_MAX", 6)
    with Client(timeout=30) as node:
        held = node.locks.acquire("k", ttl=60)
        got: list[Any] = []
        threads = [
            threading.Thread(target=lambda: got.append(node.locks.release(node.locks.acquire("k", ttl=60, wait=40))))
            for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        until(lambda: len(store.lines["k"]) == 7, 30, "all who may wait do")
        node.locks.release(held)
        for thread in threads:
            thread.join(60)
        assert got == [True] * len(threads)
