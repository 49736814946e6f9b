"""What the clients of a process share: a connection, its rows of numbers, and nothing across a fork."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mltb_transport.channel import Channel
from mltbctl import hub as hubs
from mltbctl.client import AsyncClient, Client, MltbError, Timeout, Unreachable
from tests.mltbctl.fake_daemon import FakeDaemon, Later, Refusal, Silence
from tests.mltbctl.fake_store import FakeStore
from tests.waiting import until

Serve = Callable[..., FakeDaemon]


@pytest.fixture
def two(serve: Serve, store: FakeStore) -> FakeStore:
    """One state, served by the daemons `n2` and `n3`."""
    store.daemons.append(serve("n3", **store.answers()))
    return store


def channel_of(node: Client) -> Channel | None:
    return node._lines.hub()._channel


def test_clients_of_the_same_daemons_share_a_connection_until_the_last_is_closed(store: FakeStore) -> None:
    path = str(store.daemons[0].path)
    one, other, apart = Client(path), Client(path), Client(path, secret="s" * 40)
    for node in (one, other, apart):
        node.state.set("k", 1)
    channel = channel_of(one)
    assert channel is not None
    assert channel_of(other) is channel
    assert channel_of(apart) is channel, "no secret opens a socket of this machine"
    one.close()
    one.close()
    other.state.set("k", 2)
    assert channel_of(other) is channel
    assert one.state.set("k", 3).version == 5
    assert channel_of(one) is channel
    for node in (one, other, apart):
        node.close()
    assert channel._shut
    assert not hubs._hubs


def test_a_client_of_another_environment_is_another(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client() as one:
        one.state.set("k", 1)
        monkeypatch.setenv("MLTB_SOCKET", "/nowhere/n9.sock")
        with Client() as other, pytest.raises(Unreachable, match="n9"):
            other.state.set("k", 2)
        assert one.state.set("k", 2).version == 2
    assert store.executed == 2


def test_a_row_of_numbers_has_one_call_at_a_time_whoever_makes_it(store: FakeStore) -> None:
    path = str(store.daemons[0].path)

    def work(number: int) -> None:
        with Client(path, timeout=10) as node:
            for turn in range(10):
                node.state.set(f"{number}/{turn}", turn)

    with Client(path):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert store.executed == 80
    calls = [(params["client"], params["seq"]) for _, params in store.daemons[0].calls]
    for client in {client for client, _ in calls}:
        numbers = [seq for name, seq in calls if name == client]
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_child_has_a_connection_and_numbers_of_its_own(store: FakeStore) -> None:
    with Client(timeout=10) as node:
        node.state.set("k", 1)
        out, into = os.pipe()
        pid = os.fork()
        if pid == 0:  # pragma: no cover
            try:
                os.write(into, str(node.state.set("k", 2).version).encode())
                node.close()
            finally:
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert os.read(out, 9) == b"2"
        os.close(out)
        os.close(into)
        assert node.state.set("k", 3).version == 3
    clients = [params["client"] for _, params in store.daemons[0].calls]
    assert clients[0] == clients[2] != clients[1]


@pytest.mark.usefixtures("runtime")
def test_one_who_is_turned_away_leaves_the_others_their_answers(serve: Serve) -> None:
    """A lock that is waited for here is still had here, when another call has gone elsewhere."""
    store = FakeStore()
    here = serve("n1", **store.answers())
    away = serve("n2", **store.answers())
    with Client(str(here.path), str(away.path), timeout=30) as node:
        held = node.locks.acquire("k", ttl=60)
        got: list[Any] = []
        waiting = threading.Thread(target=lambda: got.append(node.locks.acquire("k", ttl=60, wait=40)))
        waiting.start()
        until(lambda: len(store.lines["k"]) == 2)

        def refuse(_: dict[str, Any]) -> dict[str, Any]:
            raise Refusal(code="no_quorum", message="as the test says")

        here.answers["state_set"] = refuse
        assert node.state.set("x", 1).version == 1
        assert node.connected_to == str(away.path)
        node.locks.release(held)
        waiting.join(60)
        assert got[0].token > held.token
    assert [method for method, _ in here.calls].count("lock_acquire") == 2
    assert [method for method, _ in away.calls] == ["state_set", "lock_release"]


def test_one_who_answers_and_is_the_only_one_is_not_left(serve: Serve) -> None:
    store = FakeStore()
    left = ["no_quorum", "overloaded"]
    real = store.answers()["state_set"]

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        if left:
            raise Refusal(code=left.pop(), message="as the test says")
        return real(params)

    daemon = serve("n2", **(store.answers() | {"state_set": answer}))
    with Client() as node:
        node.state.get("k")
        channel = channel_of(node)
        node.state.set("k", 1)
        assert channel_of(node) is channel
    assert [method for method, _ in daemon.calls] == ["state_get"] + ["state_set"] * 3


def test_a_first_change_that_was_never_applied_costs_the_next_one_nothing(serve: Serve) -> None:
    """The state does not know who sends its second change when it has not remembered the first."""
    store = FakeStore()
    full = ["full"]
    real = store.answers()["state_set"]

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        if full:
            raise Refusal(code=full.pop(), message="as the test says")
        return real(params)

    daemon = serve("n2", **(store.answers() | {"state_set": answer}))
    with Client() as node:
        with pytest.raises(MltbError) as caught:
            node.state.set("k", 1)
        assert caught.value.code == "full"
        assert node.state.set("k", 2).version == 1
    assert [params["seq"] for _, params in daemon.calls] == [1, 2, 1]


def test_a_call_under_way_keeps_its_answer_when_the_client_is_closed(serve: Serve) -> None:
    go, asked = threading.Event(), threading.Event()

    def late(params: dict[str, Any]) -> dict[str, Any]:
        asked.set()
        raise Later(lambda: {"node": "n2", **params} if go.is_set() else None)

    serve("n2", ping=late)
    node = Client(timeout=30)
    got: list[Any] = []
    asker = threading.Thread(target=lambda: got.append(node.ping()))
    asker.start()
    assert asked.wait(30)
    channel = channel_of(node)
    node.close()
    go.set()
    asker.join(30)
    assert got == [{"node": "n2"}]
    assert channel is not None
    assert channel._shut
    assert not hubs._hubs, "nobody opened it anew"


@pytest.mark.parametrize(
    "call",
    [
        lambda node: node.state.compare_and_swap("k", -1, 1),
        lambda node: node.state.delete("k", expected_version=-1),
        lambda node: node.state.compare_and_swap("k", True, 1),
        lambda node: node.state.compare_and_swap("k", 2**70, 1),
        lambda node: node.state.set(7, 1),
        lambda node: node.state.set(None, 1),
        lambda node: node.state.set("k", 1, token=("", 3)),
        lambda node: node.state.set("k", "x" * 80_000),
        lambda node: node.state.set("\ud800", 1),
        lambda node: node.locks.acquire("k", delay=float("inf")),
    ],
)
def test_what_would_mean_something_else_is_not_sent(store: FakeStore, call: Callable[[Client], Any]) -> None:
    with Client() as node:
        with pytest.raises(MltbError) as caught:
            call(node)
        assert caught.value.code == "usage"
        assert store.daemons[0].calls == []
        assert node.state.set("k", 1).version == 1


def test_a_ttl_of_nothing_is_not_the_ttl_as_before(store: FakeStore) -> None:
    with Client() as node:
        held = node.locks.acquire("k", ttl=60)
        node.locks.extend(held, 0.0001)
    assert store.daemons[0].calls[-1][1]["ttl"] == 0.001


def connected_to(node: Client) -> str:
    return node.connected_to.rsplit("/", 1)[-1]


def test_where_several_daemons_are_known_calls_go_to_the_one_that_leads(two: FakeStore) -> None:
    first, second = two.daemons
    first.leader = f"{second.path.stem} 10.0.0.2:7947"
    with Client(str(first.path), str(second.path)) as node:
        node.state.set("k", 1)
        assert connected_to(node) == first.path.name
        node.state.set("k", 2)
        assert connected_to(node) == second.path.name
        assert node.state.set("k", 3).version == 3


def test_a_leader_that_is_none_of_ours_is_not_followed(two: FakeStore) -> None:
    first, second = two.daemons
    first.leader = "n9 10.0.0.9:7947"
    with Client(str(first.path), str(second.path)) as node:
        for turn in range(3):
            node.state.set("k", turn)
        assert connected_to(node) == first.path.name


def test_a_leader_that_cannot_be_reached_costs_one_call_a_moment(store: FakeStore, tmp_path: Path) -> None:
    first = store.daemons[0]
    first.leader = "n9 10.0.0.9:7947"
    with Client(str(first.path), str(tmp_path / "n9.sock")) as node:
        for turn in range(3):
            assert node.state.set("k", turn).version == turn + 1
        assert connected_to(node) == first.path.name
        assert node._lines.hub()._follow_at > time.monotonic()


def test_the_others_are_still_there_when_the_leader_goes(two: FakeStore) -> None:
    first, second = two.daemons
    first.leader = f"{second.path.stem} 10.0.0.2:7947"
    with Client(str(first.path), str(second.path)) as node:
        node.state.set("k", 1)
        node.state.set("k", 2)
        second.__exit__(None, None, None)
        first.leader = ""
        assert node.state.set("k", 3).version == 3
        assert connected_to(node) == first.path.name
        second.__enter__()


def test_to_look_a_member_up_takes_no_longer_than_the_call(serve: Serve) -> None:
    def silent(_: Any) -> Any:
        raise Silence

    serve(status=silent)
    began = time.monotonic()
    with Client("n9", timeout=0.3) as node, pytest.raises(Timeout):
        node.state.get("k")
    assert time.monotonic() - began < 4


@contextmanager
def silent_daemon(path: Path) -> Iterator[str]:
    """Somebody listens at `path`, and that is all."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield str(path)


def took_s(node: Client) -> float:
    began = time.monotonic()
    with pytest.raises(Unreachable, match="in time"):
        node.state.get("k")
    return time.monotonic() - began


def test_the_short_time_of_one_is_not_the_failure_of_another(runtime: Path) -> None:
    with (
        silent_daemon(runtime / "mltb" / "n1.sock") as path,
        Client(path, timeout=0.4) as hasty,
        Client(path, timeout=1.2) as patient,
    ):
        first = threading.Thread(target=took_s, args=(hasty,))
        first.start()
        until(lambda: hasty._lines.hub()._opening._free.empty(), what="it is under way")
        assert took_s(patient) >= 1.1
        first.join()


def test_nor_is_it_in_an_event_loop(runtime: Path) -> None:
    async def took_s(node: AsyncClient) -> float:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="in time"):
            await node.state.get("k")
        return time.monotonic() - began

    async def story(path: str) -> None:
        # One after the other: so it is the hasty one that connects.
        async with AsyncClient(path, timeout=0.4) as hasty, AsyncClient(path, timeout=1.2) as patient:
            short, long = await asyncio.gather(took_s(hasty), took_s(patient))
            assert short < 1.0
            assert long >= 1.1

    with silent_daemon(runtime / "mltb" / "n1.sock") as path:
        asyncio.run(story(path))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts files as Linux shows them")
def test_a_child_keeps_no_files_of_its_parents_connection(store: FakeStore) -> None:
    def files() -> int:
        return len(os.listdir("/proc/self/fd"))

    with Client(str(store.daemons[0].path)) as node:
        node.state.set("k", 1)
        before = files()
        pid = os.fork()
        if pid == 0:  # pragma: no cover
            try:
                node.state.set("k", 2)
                os._exit(0 if files() == before else 1)
            finally:
                os._exit(2)
        assert os.waitpid(pid, 0)[1] == 0


def test_of_a_connection_that_was_lost_nothing_is_left(serve: Serve, runtime: Path) -> None:
    path = runtime / "mltb" / "n1.sock"
    other = serve("n2", ping=lambda _: {"node": "n2"})
    with Client(str(path), str(other.path)) as node:
        with FakeDaemon(path, {"ping": lambda _: {"node": "n1"}}):
            node.ping()
        until(lambda: node.ping()["node"] == "n2")
        assert len(hubs._channels) == 1
