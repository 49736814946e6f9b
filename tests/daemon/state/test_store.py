"""The replicated store, command by command; against a tiny model; and through a snapshot."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.limits import VALUE_BYTES_MAX
from mltb_transport.messages import Entry, NoOp
from mltb_transport.store import ACQUIRE, DELETE, EXPIRE, EXTEND, OPEN, RELEASE, SET, WITHDRAW, packed, unpacked
from mltbd.core.snapshots import Snapshot
from mltbd.state import clients as clients_module
from mltbd.state import keyvalues as keyvalues_module
from mltbd.state import locks as locks_module
from mltbd.state.machine import State
from mltbd.state.store import Store
from tests.daemon.state.store_kit import TERM, Story

# -- key-values --------------------------------------------------------------------------------------------------


def test_versions_count_changes_of_a_key_and_begin_anew_with_it(story: Story) -> None:
    assert [story.set("k")[1] for _ in range(3)] == [1, 2, 3]
    assert story.tell(DELETE, "k", -1, "", 0)[:2] == ("ok", 1)
    assert story.tell(DELETE, "k", -1, "", 0)[:2] == ("ok", 0)
    assert story.set("k")[1] == 1


def test_a_revision_grows_with_each_change_and_is_never_behind_the_log(story: Story) -> None:
    one = [packed("c", seq, SET, "k", "1", -1, "", 0).body for seq in (1, 2, 3)]
    revisions = [outcome[2] for _, _, outcome in story.entry(*one)]
    assert revisions == [1, 2, 3]
    story.seqs["c"] = 3
    story.index = 1_000_000
    assert story.set("k")[2] == 1_000_001
    before = story.store.revision
    story.tell(DELETE, "absent", -1, "", 0)
    story.set("k", version=77)
    assert story.store.revision == before


@pytest.mark.parametrize(("version", "word"), [(-1, "ok"), (0, "conflict"), (1, "ok"), (2, "conflict")])
def test_a_condition_on_the_version(story: Story, version: int, word: str) -> None:
    put = story.set("k", "1")
    assert story.set("k", "2", version)[0] == word
    if word == "conflict":
        assert story.set("k", "2", version) == ("conflict", "1", 1, put[2])
        assert story.tell(DELETE, "k", version, "", 0)[0] == "conflict"


def test_a_condition_on_an_absent_key(story: Story) -> None:
    assert story.set("k", "1", 1) == ("conflict",)
    assert story.set("k", "1", 0)[0] == "ok"


def test_a_repeat_that_was_in_vain_hears_what_is_in_its_way_now(story: Story) -> None:
    """What somebody else wrote is not kept with the outcome: it is there already, or it has changed."""
    story.set("k", json.dumps("x" * 2000))
    first = story.set("k", "1", 0, client="d", seq=1)
    assert (first[0], len(first[1])) == ("conflict", 2002)
    assert story.set("k", "1", 0, client="d", seq=1) == first
    story.store = Store.load(story.store.dump())
    story.set("k", "2")
    assert story.set("k", "1", 0, client="d", seq=1)[:3] == ("conflict", "2", 2)
    story.tell(DELETE, "k", -1, "", 0)
    assert story.set("k", "1", 0, client="d", seq=1)[:2] == ("error", "refused"), "now it would be done: too late"
    assert story.tell(DELETE, "k", 7, "", 0, client="e", seq=1) == ("conflict",)
    held = story.acquire("l", client="h")
    assert story.acquire("l", client="d", seq=2) == story.acquire("l", client="d", seq=2) == ("held", "holder")
    story.tell(RELEASE, "l", held[1], client="h")
    assert story.acquire("l", client="d", seq=2) == ("held", ""), "but it is not done again"
    assert story.set("l", "1", 0, client="d", seq=2) == ("held", ""), "nor is another under its number"


def test_the_state_fits_into_a_snapshot_with_all_its_limits_reached() -> None:
    """Or the log would never be compacted again."""
    story, longest = Story(), "x" * 251

    def crowd(count: int, what: str, *commands: tuple[Any, ...]) -> str:
        """So many clients, a few hundred an entry; the word of the last outcome."""
        word, batch = "", []
        for number in range(count):
            kind, *args = commands[number % len(commands)]
            batch.append(packed(f"{what}{number:063d}", 1, kind, *args))
            if len(batch) == 256 or number == count - 1:
                story.index += clients_module.KEEP_ENTRIES
                word = story.entry(*(one.body for one in batch))[-1][2][0]
                batch = []
        return word

    value = json.dumps("x" * (VALUE_BYTES_MAX - 2))
    for number in range(keyvalues_module.BYTES_MAX // (VALUE_BYTES_MAX + 255)):
        assert story.set(f"{number:04d}{longest}", value)[0] == "ok"
    holder = "h" * 255
    for number in range(locks_module.LOCKS_MAX):
        assert story.tell(
            ACQUIRE, f"{number:04d}{longest}", 86_400_000, 0, 3_600_000, holder, client=f"l{number:063d}", seq=1
        )[0] in ("ok", "full")
        story.index += clients_module.KEEP_ENTRIES
    for number in range(locks_module.ALL_WAITERS_MAX):
        name = f"{number // locks_module.WAITERS_MAX:04d}{longest}"
        told = story.tell(ACQUIRE, name, 86_400_000, 3_600_000, 0, holder, client=f"w{number:063d}", seq=1)
        assert told[0] == "waits"
        story.index += clients_module.KEEP_ENTRIES
    guard = f"0001{longest}"
    assert crowd(clients_module.CLIENTS_MAX, "s", (SET, guard, "1", -1, guard, 2**53)) == "error"
    assert len(story.store.clients) > clients_module.CLIENTS_MAX + locks_module.LOCKS_MAX
    state = State()
    state.store = story.store
    taken = Snapshot.take(story.index, TERM, "c", (), state.dump())
    assert len(taken.data) > 45 * 2**20, "it does reach them"
    assert len(msgpack.packb(story.store.clients.dump())) < 12 * 2**20


def test_values_and_keys_have_limits(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    assert story.set("k", "x" * VALUE_BYTES_MAX)[0] == "ok"
    assert story.set("k", "x" * (VALUE_BYTES_MAX + 1))[:2] == ("error", "usage")
    assert story.set("k", "é" * (VALUE_BYTES_MAX // 2 + 1))[:2] == ("error", "usage")
    monkeypatch.setattr(keyvalues_module, "KEYS_MAX", 2)
    assert story.set("l")[0] == "ok"
    assert story.set("m")[:2] == ("error", "full")
    assert story.set("l", "2")[0] == "ok"
    monkeypatch.setattr(keyvalues_module, "BYTES_MAX", VALUE_BYTES_MAX + 10)
    assert story.set("l", "123456789")[:2] == ("error", "full")
    assert story.set("k", "1")[0] == "ok"
    assert story.set("l", "123456789")[0] == "ok"


WORDS = (
    (SET, "k", "2", -1, "", 0), (SET, "k", "2", 7, "", 0), (SET, "x", "2", 7, "", 0), (DELETE, "k", -1, "", 0),
    (ACQUIRE, "l", 1000, 0, 0, "me"), (ACQUIRE, "l", 1000, 500, 0, "me"), (ACQUIRE, "m", 1000, 0, 0, "me"),
    (EXTEND, "l", "id-1", 0), (EXTEND, "l", "id-9", 0), (RELEASE, "l", "id-1"), (RELEASE, "l", "id-9"),
)  # fmt: skip


@pytest.mark.parametrize("first", WORDS)
@pytest.mark.parametrize("second", WORDS)
def test_another_command_under_a_number_that_is_over_hears_what_the_first_one_came_to(
    story: Story, first: tuple[Any, ...], second: tuple[Any, ...]
) -> None:
    assert story.acquire("l", client="holder")[1] == "id-1"
    story.set("k", client="holder")
    outcome = story.tell(*first)
    assert story.tell(*second, seq=1)[0] in (outcome[0], "error")


def test_room_is_counted_in_bytes_and_given_back(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyvalues_module, "BYTES_MAX", 20)
    assert story.set("k", "é" * 10)[:2] == ("error", "full")
    assert story.set("k", "é" * 9)[0] == "ok"
    assert story.set("l", "1")[:2] == ("error", "full")
    story.store = Store.load(story.store.dump())
    assert story.set("l", "1")[:2] == ("error", "full"), "a snapshot takes as much as what it is of"
    for _ in range(2):
        story.tell(DELETE, "k", -1, "", 0)
        assert story.set("k", "x" * 20)[:2] == ("error", "full")
        assert story.set("k", "x" * 19)[0] == "ok"


def test_changes_are_remembered_by_their_bytes_through_a_snapshot_too(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyvalues_module, "CHANGES_BYTES_MAX", 10)
    story.set("a", "é" * 3)
    story.store = Store.load(story.store.dump())
    story.set("b", "1")
    assert story.store.keyvalues.compacted == 0
    story.set("c", "1")
    assert (story.store.keyvalues.compacted, len(story.store.keyvalues.changes("", 0, 10))) == (1, 2)


def test_a_list_goes_by_prefix_in_order(story: Story) -> None:
    for key in ("b/2", "a", "b/1", "b", "b0", "b/3"):
        story.set(key)
    keyvalues = story.store.keyvalues

    def keys(prefix: str, after: str = "", limit: int = 10) -> tuple[list[str], bool]:
        found, more = keyvalues.listing(prefix, after, limit)
        return [entry.key for entry in found], more

    assert keys("b/") == (["b/1", "b/2", "b/3"], False)
    assert keys("b/", limit=2) == (["b/1", "b/2"], True)
    assert keys("b/", "b/2") == (["b/3"], False)
    assert keys("", "b", 2) == (["b/1", "b/2"], True)
    assert keys("c") == ([], False)


def test_the_last_changes_can_be_watched(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    first = story.set("a", "1")[2]
    story.set("b", "2")
    story.tell(DELETE, "a", -1, "", 0)
    found = story.store.keyvalues.changes("a", 0, 10)
    assert [(change.value, change.version) for change in found] == [("1", 1), (None, 0)]
    assert story.store.keyvalues.changes("a", first, 10) == found[1:]
    assert story.store.keyvalues.compacted == 0
    monkeypatch.setattr(keyvalues_module, "CHANGES_MAX", 2)
    story.set("c")
    assert story.store.keyvalues.compacted == 2
    monkeypatch.setattr(keyvalues_module, "CHANGES_BYTES_MAX", 10)
    story.set("c", "x" * 8)
    assert [change.key for change in story.store.keyvalues.changes("", 0, 10)] == ["c"]


# -- locks -------------------------------------------------------------------------------------------------------


def test_one_holder_then_the_next_in_turn(story: Story) -> None:
    word, lock_id, token, ttl_ms = story.acquire("l")
    assert (word, ttl_ms, story.store.locks.held) == ("ok", 5000, 1)
    assert story.acquire("l") == ("held", "holder")
    waits = [story.acquire("l", wait_ms=1000, client=name) for name in ("a", "b")]
    assert [wait[0] for wait in waits] == ["waits", "waits"]
    assert story.tell(RELEASE, "l", lock_id) == ("ok",)
    lock = story.store.locks.get("l")
    assert lock is not None
    assert lock.lock_id == waits[0][1]
    assert lock.token > token
    assert story.tell(RELEASE, "l", lock_id) == ("lost",)
    assert story.tell(RELEASE, "l", waits[0][1]) == ("ok",)
    assert story.tell(RELEASE, "l", waits[1][1]) == ("ok",)
    assert story.store.locks.get("l") is None
    assert story.store.locks.held == 0


def test_a_waiter_leaves_or_was_first(story: Story) -> None:
    _, lock_id, _, _ = story.acquire("l")
    _, waiter = story.acquire("l", wait_ms=1000)
    assert story.tell(WITHDRAW, "l", lock_id, client="~n1") == ("held",)
    assert story.tell(WITHDRAW, "l", waiter, client="~n1") == ("ok",)
    assert story.tell(WITHDRAW, "l", waiter, client="~n1") == ("lost",)
    _, waiter = story.acquire("l", wait_ms=1000)
    assert story.tell(RELEASE, "l", waiter) == ("lost",), "it held nothing, and waits no longer"
    story.tell(RELEASE, "l", lock_id)
    assert story.store.locks.get("l") is None


def test_an_extension_begins_the_time_anew(story: Story) -> None:
    _, lock_id, token, _ = story.acquire("l")
    lock = story.store.locks.get("l")
    assert lock is not None
    before = lock.generation
    assert story.tell(EXTEND, "l", lock_id, 0) == ("ok", token, 5000)
    assert story.tell(EXTEND, "l", lock_id, 9000) == ("ok", token, 9000)
    assert story.tell(EXTEND, "l", lock_id, 1000) == ("ok", token, 9000), "its holder counts on what it was given"
    assert story.expire("l", generation=before) == ("lost",)
    assert story.tell(EXTEND, "l", "id-77", 0) == ("lost",)
    assert story.expire("l") == ("ok",)
    assert story.tell(EXTEND, "l", lock_id, 0) == ("lost",)


@pytest.mark.parametrize("kind", ["acquire", "extend"])
def test_a_repeat_begins_the_time_anew_while_the_lock_is_held(story: Story, kind: str) -> None:
    _, lock_id, token, _ = story.acquire("l", seq=1)
    first = story.tell(EXTEND, "l", lock_id, 0) if kind == "extend" else None
    lock = story.store.locks.get("l")
    assert lock is not None
    before = lock.generation
    if kind == "extend":
        assert story.tell(EXTEND, "l", lock_id, 0, seq=2) == first
    else:
        assert story.acquire("l", seq=1) == ("ok", lock_id, token, 5000)
    assert lock.generation > before
    assert story.expire("l", generation=before) == ("lost",)


@pytest.mark.parametrize(
    "change",
    [{"token": 77}, {"generation": 77}, {"term": TERM - 1}, {"term": TERM + 1}, {"client": "c"}],
    ids=lambda change: next(iter(change)),
)
def test_an_expiry_is_void_unless_all_is_as_it_was_measured(story: Story, change: dict[str, Any]) -> None:
    story.acquire("l")
    revision = story.store.revision
    if "term" in change:
        lock = story.store.locks.get("l")
        assert lock is not None
        outcome = story.tell(EXPIRE, "l", lock.token, lock.generation, change["term"], client="~clock")
    else:
        outcome = story.expire("l", **change)
    assert outcome == ("lost",)
    assert story.store.locks.held == 1
    assert story.store.revision == revision


def test_after_an_expiry_a_lock_stays_closed_for_its_delay(story: Story) -> None:
    story.acquire("l", delay_ms=1000)
    assert story.expire("l") == ("ok",)
    assert (story.store.locks.held, story.acquire("l")) == (0, ("held", ""))
    _, waiter = story.acquire("l", wait_ms=1000)
    lock = story.store.locks.get("l")
    assert lock is not None
    assert story.expire("l") == ("lost",)
    assert story.tell(OPEN, "l", lock.generation + 1, TERM, client="~clock") == ("lost",)
    assert story.tell(OPEN, "l", lock.generation, TERM - 1, client="~clock") == ("lost",)
    assert story.tell(OPEN, "l", lock.generation, TERM, client="c") == ("lost",)
    assert story.tell(OPEN, "l", lock.generation, TERM, client="~clock") == ("ok",)
    assert lock.lock_id == waiter
    story.tell(RELEASE, "l", waiter)
    assert story.store.locks.get("l") is None, "no delay after a release"


def test_a_write_demands_the_current_token(story: Story) -> None:
    _, lock_id, token, _ = story.acquire("l")
    assert story.set("k", lock="l", token=token)[0] == "ok"
    assert story.set("k", lock="l", token=token - 1)[:2] == ("error", "refused")
    assert story.tell(DELETE, "k", -1, "other", token)[:2] == ("error", "refused")
    story.tell(RELEASE, "l", lock_id)
    assert story.set("k", lock="l", token=token)[:2] == ("error", "refused")
    assert story.store.keyvalues.get("k").version == 1  # type: ignore[union-attr]


def test_locks_and_waiters_have_limits(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks_module, "LOCKS_MAX", 2)
    monkeypatch.setattr(locks_module, "WAITERS_MAX", 2)
    monkeypatch.setattr(locks_module, "ALL_WAITERS_MAX", 3)
    assert [story.acquire(name)[0] for name in ("l", "m", "n")] == ["ok", "ok", "error"]
    assert [story.acquire("l", wait_ms=1)[0] for _ in range(3)] == ["waits", "waits", "error"]
    assert [story.acquire("m", wait_ms=1)[0] for _ in range(2)] == ["waits", "error"]
    assert story.acquire("l")[0] == "held", "who does not wait takes no room"


# -- what is no command ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xc1", packed("c", 1, 99, "k").body, packed("c", 1, SET, "k").body,
        packed("c", 1, SET, "k", 1, -1, "", 0).body, packed("c", -1, RELEASE, "l", "id").body,
        packed("c", 1, SET, "k", "x" * 80_000, -1, "", 0).body, b"\x90", b"\x80",
    ],
)  # fmt: skip
def test_junk_is_skipped_and_the_rest_of_its_entry_is_done(story: Story, body: bytes) -> None:
    assert unpacked(body) is None
    good = packed("d", 1, SET, "k", "1", -1, "", 0).body
    assert [done[:2] for done in story.entry(body, good)] == [("d", 1)]


@given(st.binary(max_size=60))
def test_any_bytes_are_a_command_or_none(body: bytes) -> None:
    command = unpacked(body)
    assert command is None or isinstance(command.client, str)


def test_other_entries_change_nothing() -> None:
    store = Store()
    assert store.apply(Entry(1, 1, 1, NoOp())) == []
    assert store == Store()


@pytest.mark.parametrize("dumped", [[], [1], [1, 2, 3, 4], [1, [], [], []], [1, [[], [], 0], [["l"]], []], "text"])
def test_what_is_no_dump_is_refused(dumped: Any) -> None:
    with pytest.raises(ValueError, match=r"values|dump"):
        Store.load(dumped)


def test_tokens_of_locks_never_repeat(story: Story) -> None:
    seen = set()
    for name in itertools.islice(itertools.cycle("lmn"), 12):
        _, lock_id, token, _ = story.acquire(name)
        assert token not in seen
        seen.add(token)
        story.tell(RELEASE, name, lock_id)
