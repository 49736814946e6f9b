"""Each command at most once, and who is remembered for that."""

from __future__ import annotations

import pytest

from mltb_transport.store import RELEASE
from mltbd.state import clients as clients_module
from mltbd.state.clients import KEEP_ENTRIES, Clients
from mltbd.state.store import OK, Store
from tests.daemon.state.store_kit import Story


def test_a_repeat_is_answered_and_not_done(story: Story) -> None:
    first = story.set("k", seq=1)
    assert story.set("k", seq=1) == first
    assert story.set("k", seq=2)[1] == 2
    assert story.set("k", seq=1)[:2] == ("error", "forgotten")
    assert story.set("k", seq=5)[1] == 3


def test_a_stranger_introduces_itself_with_number_one(story: Story) -> None:
    assert story.set("k", client="late", seq=2)[:2] == ("error", "forgotten")
    assert story.set("k", client="late", seq=1)[0] == "ok"


def test_the_oldest_client_makes_room_once_nothing_of_it_can_be_on_its_way(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients_module, "CLIENTS_MAX", 2)
    story.set("k", client="a")
    story.set("k", client="b")
    assert story.set("k", client="c")[:2] == ("error", "overloaded")
    story.set("k", client="a")
    story.index += KEEP_ENTRIES - 2
    assert story.set("k", client="c", seq=1)[0] == "ok"
    assert len(story.store.clients) == 2
    assert story.set("k", client="a")[0] == "ok"
    assert story.set("k", client="b", seq=2)[:2] == ("error", "forgotten")


@pytest.mark.parametrize(("entries", "full"), [(1, True), (KEEP_ENTRIES - 1, True), (KEEP_ENTRIES, False)])
def test_room_is_made_by_how_far_the_log_has_come_since(
    monkeypatch: pytest.MonkeyPatch, entries: int, full: bool
) -> None:
    monkeypatch.setattr(clients_module, "CLIENTS_MAX", 2)
    clients = Clients()
    for place, client in enumerate("ab", start=5 * KEEP_ENTRIES):
        clients.remember(client, 1, OK, place, lambda _: False)
    refused = clients.known("c", 1, 5 * KEEP_ENTRIES + entries)
    assert (refused is not None and refused[:2] == ("error", "overloaded")) == full


def test_who_holds_a_lock_or_waits_for_it_is_not_forgotten(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait may last an hour, and a repeat of it comes as late: it must not stand in line behind itself."""
    monkeypatch.setattr(clients_module, "CLIENTS_MAX", 2)
    monkeypatch.setattr(clients_module, "KEPT_MAX", 2)
    held = story.acquire("l", client="h")
    waits = story.acquire("l", wait_ms=3_600_000, client="w")

    def crowd(name: str) -> None:
        for number in range(3):
            story.index += KEEP_ENTRIES
            assert story.set("k", client=f"{name}-{number}")[0] == "ok"

    crowd("one")
    assert story.acquire("l", wait_ms=3_600_000, client="w", seq=1) == waits
    story.store = Store.load(story.store.dump())
    assert story.acquire("l", wait_ms=3_600_000, client="w", seq=1) == waits, "nor by way of a snapshot"
    lock = story.store.locks.get("l")
    assert lock is not None
    assert list(lock.waiters) == [waits[1]]
    assert story.tell(RELEASE, "l", held[1], client="h", seq=2) == ("ok",)
    crowd("two")
    assert lock.lock_id == waits[1]
    assert story.acquire("l", wait_ms=0, client="w", seq=1) == waits, "nor once it holds it"
    story.tell(RELEASE, "l", waits[1], client="x")
    for name in ("y", "z"):
        story.index += KEEP_ENTRIES
        assert story.acquire(name, client=name)[0] == "ok"
        crowd(f"at {name}")
    assert len(story.store.clients) == 4
    assert story.acquire("l", client="w", seq=2)[:2] == ("error", "forgotten"), "it stands no longer"
