"""What ends a wait for a lock, and never drops a lock that was got."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from mltbctl import lock_run, locks
from mltbctl.client import Client
from mltbctl.clock import boottime
from mltbctl.lock_asking import stoppable
from tests.mltbctl.fake_store import FakeStore
from tests.mltbctl.lock_run_kit import Held

END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@pytest.fixture(autouse=True)
def _handlers() -> Any:
    before = {number: signal.getsignal(number) for number in END}
    for number in END:  # Whoever started the tests in the background has some ignored.
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", END)
def test_a_signal_between_the_grant_and_its_owner_is_kept(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    real = locks.HeldLock

    def granted(*args: Any) -> locks.HeldLock:
        os.kill(os.getpid(), number)
        return real(*args)

    monkeypatch.setattr(locks, "HeldLock", granted)
    with Client() as node:
        with stoppable(node) as stop:
            held = node.locks.acquire("k", ttl=60)
        assert store.lines["k"][0].lock_id == held.lock_id
        with pytest.raises((SystemExit, KeyboardInterrupt)):
            stop.check()
        assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)


def test_a_signal_between_a_late_grant_and_its_extension_gives_the_lock_back(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the extension before that is asked for, and would leave the lock taken for its whole time."""
    real, ahead_s = locks.HeldLock, 0.0

    def granted(*args: Any) -> locks.HeldLock:
        nonlocal ahead_s
        ahead_s = 25.0
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*args)

    monkeypatch.setattr(locks, "HeldLock", granted)
    monkeypatch.setattr(locks, "boottime", lambda: boottime() + ahead_s)
    with Client() as node, stoppable(node):
        with pytest.raises(SystemExit, match="143"):
            node.locks.acquire("k", ttl=60, wait=60)
        assert not store.lines["k"]


def test_a_signal_before_the_wait_ends_it_before_anything_is_asked(store: FakeStore) -> None:
    with Client() as node, stoppable(node) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit, match="143"):
            node.locks.acquire("k", ttl=60, wait=60)
    assert store.daemons[0].calls == []
    assert stop


def test_what_is_held_back_is_there_for_who_passes_it_on() -> None:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        with Client() as node, stoppable(node, hold=lock_run._PASSED_ON):
            pass
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert blocked - mask == set(lock_run._PASSED_ON)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def test_a_run_that_is_told_to_end_as_it_gets_its_lock_leaves_none(store: FakeStore, runtime: Any) -> None:
    """The grant tells on the way: the signal is there before whoever asked can read its answer."""
    acquire = store.daemons[0].answers["lock_acquire"]
    with Held(runtime, "k", "--ttl", "60", "--", "sleep", "60") as held:

        def granted(params: dict[str, Any]) -> dict[str, Any]:
            answer = acquire(params)
            held.process.send_signal(signal.SIGTERM)
            return answer

        store.daemons[0].answers["lock_acquire"] = granted
        assert held.end().code in (143, -signal.SIGTERM)
    assert not store.lines["k"]
