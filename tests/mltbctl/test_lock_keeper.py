"""A lock that extends itself, once it is given back: nobody may rely on it any more."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from mltbctl.client import Client, LockLost
from tests.mltbctl.fake_daemon import Later
from tests.mltbctl.fake_store import FakeStore


def test_nobody_may_rely_on_what_was_given_back(store: FakeStore) -> None:
    with Client() as node:
        with node.lock("k", ttl=20) as lock:
            assert lock.held.remaining() > 18
        assert (lock.remaining(), lock.held.remaining()) == (0, 0)
        single = node.locks.acquire("k", ttl=20)
        node.locks.release(single)
        assert (single.remaining(), single.token) == (0, lock.token + 1)
        with pytest.raises(LockLost), node.lock("k", ttl=20) as lock:
            store.release({"name": "k", "lock_id": lock.lock_id})
        assert lock.held.remaining() == 0


def test_an_extension_that_comes_too_late_gives_no_time(store: FakeStore) -> None:
    """Its answer comes when the lock was given back already."""
    real, asked, goes_on = store.daemons[0].answers["lock_extend"], threading.Event(), threading.Event()

    def late(params: dict[str, Any]) -> dict[str, Any]:
        asked.set()
        body = real(params)
        raise Later(lambda: body if goes_on.is_set() else None)

    store.daemons[0].answers["lock_extend"] = late
    with Client() as node:
        with node.lock("k", ttl=3) as lock:
            assert asked.wait(15)
        goes_on.set()
        assert lock._keeper is not None
        lock._keeper.join(15)
        assert (lock.remaining(), lock.held.remaining()) == (0, 0)
        assert not lock.lost.is_set()
