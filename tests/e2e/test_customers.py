"""The clients and their judge, judged: an honest store passes, and every lie that it may tell is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mltbctl.client import Client
from mltbctl.clock import boottime
from tests.e2e import customers
from tests.e2e.customers import Customer, take_stock
from tests.histories.record import Belief, Record, wrongs
from tests.mltbctl.fake_store import FakeStore

CALLS, COUNT = 80, 4
JOIN_S = 60.0

Params = dict[str, Any]


def served(runtime: Path) -> list[str]:
    """What is wrong with a short day of four clients at this store."""
    record = Record()
    path = str(runtime / "mltb" / "n2.sock")
    crowd = [Customer(f"c{place}", [path], record, "seed", 0.0, calls=CALLS) for place in range(COUNT)]
    for customer in crowd:
        customer.start()
    for customer in crowd:
        customer.join(JOIN_S)
        assert not customer.is_alive()
    with Client(path) as node:
        ledger = take_stock(node, record)
    assert record.seen["get True"] > CALLS / 4, record.seen
    assert record.seen["acquire ok"] > 4, record.seen
    assert record.seen["guarded False"] + record.seen["guarded True"] > 4, record.seen
    return wrongs(record, ledger)


def forgetful(store: FakeStore) -> None:
    """Acknowledges every fifth write and does not make it."""
    honest, count = store._write, iter(range(10**6))

    def write(key: str, value: str | None) -> None:
        if key in store.entries and value is not None and next(count) % 5 == 0:
            return
        honest(key, value)

    store._write = write  # type: ignore[method-assign]


def loses_the_ledger(store: FakeStore) -> None:
    """Takes every second line of the ledger away again."""
    honest, count = store._write, iter(range(10**6))

    def write(key: str, value: str | None) -> None:
        honest(key, value)
        if key.startswith(customers.LEDGER) and next(count) % 2:
            store.daemons[0].answers["state_list"] = without(key)

    gone: set[str] = set()

    def without(key: str) -> Callable[[Params], Params]:
        gone.add(key)

        def answer(params: Params) -> Params:
            found = store.list_keys(params)
            return {**found, "entries": [entry for entry in found["entries"] if entry["key"] not in gone]}

        return answer

    store._write = write  # type: ignore[method-assign]


def twice(store: FakeStore) -> None:
    """Makes every fifth write twice, as after a repeat that was not known."""
    honest, count = store._write, iter(range(10**6))

    def write(key: str, value: str | None) -> None:
        honest(key, value)
        if value is not None and next(count) % 5 == 0:
            honest(key, value)

    store._write = write  # type: ignore[method-assign]


def stale(store: FakeStore) -> None:
    """Answers every read as it was one write ago."""
    honest, old = store._write, {}

    def write(key: str, value: str | None) -> None:
        old[key] = store.entries.get(key)
        honest(key, value)

    def get(params: Params) -> Params:
        return {"entry": old.get(params["key"]), "revision": store.revision}

    store._write = write  # type: ignore[method-assign]
    store.daemons[0].answers["state_get"] = get


def hasty(store: FakeStore) -> None:
    """Takes a lock away long before its time."""
    honest = store._line

    def line(name: str) -> Any:
        found = honest(name)
        for grant in found[:1]:
            grant.until = min(grant.until, boottime() + 0.005)
        return found

    store._line = line  # type: ignore[method-assign]


def generous(store: FakeStore) -> None:
    """Tells everybody who asks for a lock that he has it."""

    def acquire(params: Params) -> Params:
        with store.mutex:
            store.revision += 1
            token = store.revision
        ttl = params["ttl"]
        return {"acquired": True, "lock_id": f"x-{token}", "token": token, "holder": "x", "ttl_seconds": ttl,
                "extend_seconds": 10}  # fmt: skip

    store.daemons[0].answers["lock_acquire"] = acquire


def trusting(store: FakeStore) -> None:
    """Accepts every token."""
    honest = store._holder

    def check(params: Params) -> None:
        if "token" in params:
            honest(params["token"]["lock"])

    store._check_token = check  # type: ignore[method-assign]


def backwards(store: FakeStore) -> None:
    """Gives out tokens that fall."""
    honest = store.acquire

    def acquire(params: Params) -> Params:
        answer = honest(params)
        return {**answer, "token": 10**6 - answer["token"]} if answer["acquired"] else answer

    store.daemons[0].answers["lock_acquire"] = store._locked(acquire)


@pytest.mark.usefixtures("store")
def test_an_honest_store_passes(runtime: Path) -> None:
    assert served(runtime) == []


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (forgetful, "key `"),
        (loses_the_ledger, "acknowledged and lost: "),
        (twice, "key `"),
        (stale, "key `"),
        (hasty, "lock `"),
        (generous, "two holders at once: "),
        (trusting, "an old token was accepted: "),
        (backwards, "token "),
    ],
)
def test_a_store_that_lies_is_caught(
    store: FakeStore, runtime: Path, lie: Callable[[FakeStore], None], told: str
) -> None:
    lie(store)
    found = served(runtime)
    assert any(line.startswith(told) for line in found), found


def test_a_write_that_was_refused_and_made_all_the_same() -> None:
    assert wrongs(Record(sure={"a"}, unsure={"b"}), {"a", "b"}) == []
    assert wrongs(Record(sure={"a"}, unsure={"b"}), {"a", "c"}) == ["refused and written all the same: c"]


def test_two_beliefs_in_one_lock() -> None:
    def beliefs(*spans: tuple[str, float, float]) -> Record:
        return Record(beliefs={"l": [Belief(*span) for span in spans]})

    assert wrongs(beliefs(("x", 0, 2), ("y", 2, 3), ("x", 3, 4)), ()) == []
    assert len(wrongs(beliefs(("x", 0, 9), ("y", 2, 3), ("z", 4, 5)), ())) == 2


def test_an_ended_client_is_no_quiet_client() -> None:
    assert wrongs(Record(strange=["c1 ended: ValueError()"]), ()) == ["strange: c1 ended: ValueError()"]
