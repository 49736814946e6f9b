"""Key-values through the SDK: what each call returns, values, conflicts, guarded writes, and watching."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mltbctl.client import Change, Client, Compacted, Conflict, Entry, MltbError, Refused
from mltbctl.store_client import PAGE
from tests.mltbctl.fake_store import FakeStore


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True]}, "text", "", 7, None, "ü€😀", [], False])
@pytest.mark.usefixtures("store")
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    with Client() as node:
        put = node.state.set("k", value)
        assert put == Entry("k", value, 1, 1)
        assert node.state.get("k") == put
        assert node.state.get("other") is None


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes", nested(100_000)], ids=type)
def test_what_json_cannot_say_is_refused_before_it_is_sent(store: FakeStore, value: Any) -> None:
    with Client() as node, pytest.raises((TypeError, ValueError)):
        node.state.set("k", value)
    assert not store.daemons[0].calls


@pytest.mark.parametrize(
    "read",
    [
        lambda state: state.get("k"),
        lambda state: state.list("k"),
        lambda state: next(state.watch("k", after=0)),
    ],
)
def test_a_value_too_deep_for_this_stack_is_an_error_like_any_other(store: FakeStore, read: Callable[..., Any]) -> None:
    store.set({"key": "k", "value": "[" * 20_000 + "]" * 20_000})
    with Client() as node, pytest.raises(MltbError, match="a value is nested too deeply to be read from here"):
        read(node.state)


def test_stale_reads_tell_their_age(store: FakeStore) -> None:
    with Client() as node:
        node.state.set("k", 1)
        fresh, stale = node.state.get("k"), node.state.get("k", stale=True)
    assert fresh == stale
    assert fresh is not None
    assert fresh.age_seconds is None
    assert stale is not None
    assert stale.age_seconds == 0.25
    assert [params for method, params in store.daemons[0].calls if method == "state_get"] == [
        {"key": "k"},
        {"key": "k", "stale": True},
    ]


@pytest.mark.usefixtures("store")
def test_compare_and_swap() -> None:
    with Client() as node:
        first = node.state.compare_and_swap("k", 0, "a")
        assert first == Entry("k", "a", 1, 1)
        second = node.state.compare_and_swap("k", expected_version=1, value="b")
        assert second == Entry("k", "b", 2, 2)
        late = node.state.compare_and_swap("k", 1, "c")
        assert late == Conflict(Entry("k", "b", 2, 2))
        assert not late
        assert node.state.compare_and_swap("none", 4, "c") == Conflict(None)
        assert node.state.delete("k", expected_version=1) == Conflict(Entry("k", "b", 2, 2))
        assert node.state.delete("k", expected_version=2) is True
        assert node.state.delete("k") is False


def test_long_lists_come_in_pages(store: FakeStore) -> None:
    keys = [f"p/{number:04d}" for number in range(PAGE + 3)]
    for key in keys:
        store.set({"key": key, "value": "1"})
    store.set({"key": "q", "value": "1"})
    with Client() as node:
        assert [entry.key for entry in node.state.list("p/")] == keys
        assert [entry.key for entry in node.state.list("p/", limit=2)] == keys[:2]
        nothing = node.state.list("p/", stale=True, limit=0)
        assert (nothing, nothing.revision, nothing.age_seconds) == ([], store.revision, 0.25)
        with pytest.raises(ValueError, match="limit of -1"):
            node.state.list("p/", limit=-1)
        assert len(node.state.list()) == PAGE + 4
        assert node.state.list("x") == []
    pages = [params.get("after") for method, params in store.daemons[0].calls if method == "state_list"]
    assert pages[:2] == [None, keys[PAGE - 1]]


def test_a_guarded_write_needs_the_lock(store: FakeStore) -> None:
    with Client() as node:
        held = node.locks.acquire("deploy", ttl=20)
        node.state.set("k", 1, token=held)
        node.state.set("k", 2, token=("deploy", held.token))
        node.locks.release(held)
        with pytest.raises(Refused):
            node.state.set("k", 3, token=held)
        with pytest.raises(Refused):
            node.state.delete("k", token=held)
        assert node.state.set("k", 4).version == 3
    assert store.daemons[0].calls[1][1]["token"] == {"lock": "deploy", "token": held.token}


@pytest.mark.usefixtures("store")
def test_a_list_says_after_which_revision_to_watch() -> None:
    with Client() as node:
        node.state.set("w/a", 1)
        node.state.set("elsewhere", 1)
        found = node.state.list("nothing/")
        assert (found, found.revision) == ([], 2)
        node.state.set("nothing/yet", 1)
        assert next(node.state.watch("nothing/", after=found.revision)).key == "nothing/yet"


@pytest.mark.usefixtures("store")
def test_a_write_returns_what_a_read_will() -> None:
    with Client() as node:
        value = {1: (2, 3)}
        put = node.state.set("k", value)
        assert put.value == {"1": [2, 3]} == node.state.get("k").value  # type: ignore[union-attr]
        again = node.state.compare_and_swap("k", put.version, (4,))
        assert isinstance(again, Entry)
        assert again.value == [4]


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        (lambda node: node.state.set("k", 1, token=5), TypeError),
        (lambda node: node.state.compare_and_swap("k", None, 1), TypeError),
        (lambda node: node.state.watch("k", idle=math.nan), ValueError),
        (lambda node: node.state.set("k", math.nan), ValueError),
    ],
)
@pytest.mark.usefixtures("store")
def test_what_nobody_can_mean(call: Callable[[Client], object], wrong: type[Exception]) -> None:
    with Client() as node, pytest.raises(wrong):
        call(node)


@pytest.mark.usefixtures("store")
def test_watch_sees_what_is_written_after_it_was_made() -> None:
    with Client() as node:
        node.state.set("w/before", 0)
        watch = node.state.watch("w/")
        node.state.set("w/a", {"x": 1})
        node.state.set("elsewhere", 1)
        node.state.delete("w/a")
        assert [next(watch), next(watch)] == [
            Change("w/a", {"x": 1}, 1, 2, "set"),
            Change("w/a", None, 2, 4, "delete"),
        ]
        assert watch.revision == 4


def test_a_watch_from_now_on_begins_at_what_is_now_and_not_where_its_node_is(store: FakeStore) -> None:
    """A node that is behind says so of itself; only a linearizable read knows."""
    behind = FakeStore()
    store.set({"key": "w/a", "value": "1"})
    store.daemons[0].answers["state_watch"] = behind.answers()["state_watch"]
    with Client() as node:
        watch = node.state.watch("w/", idle=0.1)
        assert watch.revision == 1
        behind.set({"key": "w/a", "value": "1"})
        assert list(watch) == []


@pytest.mark.usefixtures("store")
def test_a_watch_waits_for_the_next_change() -> None:
    with Client() as node:
        watch = node.state.watch("w/")
        seen: list[Change] = []
        waiter = threading.Thread(target=lambda: seen.append(next(watch)))
        waiter.start()
        node.state.set("w/k", 1)
        waiter.join(10)
        assert [change.key for change in seen] == ["w/k"]


@pytest.mark.usefixtures("store")
def test_a_watch_without_patience_tells_what_there_is() -> None:
    with Client() as node:
        for number in range(3):
            node.state.set(f"w/{number}", number)
        assert [change.value for change in node.state.watch("w/", after=0, idle=0)] == [0, 1, 2]
        assert list(node.state.watch("w/", idle=0)) == []


def test_a_watch_is_resumed_where_another_ended(store: FakeStore) -> None:
    with Client() as node:
        for number in range(4):
            node.state.set(f"w/{number}", number)
        first = node.state.watch("w/", after=0)
        assert [next(first).value, next(first).value] == [0, 1]
        rest = node.state.watch("w/", after=first.revision, idle=0.05)
        assert [change.value for change in rest] == [2, 3]
        assert rest.revision == 4
        node.state.set("elsewhere", 1)
        assert list(rest) == []
        assert rest.revision == 5, "what did not concern it is passed over too"
        store.compacted_below = 3
        with pytest.raises(Compacted, match="after revision 1 "):
            next(node.state.watch("w/", after=1))


@pytest.mark.usefixtures("store")
def test_a_closed_watch_has_ended() -> None:
    with Client() as node:
        watch = node.state.watch()
        watch.close()
        assert list(watch) == []


def test_every_name_of_the_door_is_there() -> None:
    from mltbctl import client

    for name in client.__all__:
        assert getattr(client, name).__module__.startswith("mltbctl.")
    with pytest.raises(AttributeError):
        client.__getattr__("nothing")
    assert issubclass(Compacted, MltbError)
