"""Lists of locks through the SDK: whole, however many answers they take, and of a known age."""

from __future__ import annotations

import pytest

from mltbctl.client import Client
from tests.mltbctl.fake_store import FakeStore


@pytest.mark.usefixtures("store")
def test_a_stale_list_has_an_age_also_where_there_is_no_lock() -> None:
    with Client() as node:
        assert node.locks.list(stale=True).age_seconds == 0.25
        assert node.locks.list().age_seconds is None


def test_a_list_is_put_together_from_several_answers(store: FakeStore) -> None:
    store.locks_shown_max = 2
    with Client() as node:
        for letter in "dacbe":
            node.locks.acquire(letter, ttl=20)
        assert [lock["name"] for lock in node.locks.list()] == list("abcde")
    assert [method for method, _ in store.daemons[0].calls].count("lock_list") == 3
