"""The replicated store against a tiny model, and through a snapshot, whatever comes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mltb_transport.store import ACQUIRE, DELETE, EXPIRE, EXTEND, OPEN, RELEASE, SET
from mltbd.state.clients import Clients
from mltbd.state.keyvalues import KeyValues
from mltbd.state.locks import Locks
from mltbd.state.store import Store
from tests.daemon.state.store_kit import TERM, Story

NAMES = st.sampled_from(["a", "b", "b/c"])
VERSIONS = st.sampled_from([-1, 0, 1, 2, 3])
WORDS = st.lists(
    st.one_of(
        st.tuples(st.just(SET), NAMES, st.sampled_from(["1", '"é"']), VERSIONS, st.just(""), st.just(0)),
        st.tuples(st.just(DELETE), NAMES, VERSIONS, st.just(""), st.just(0)),
        st.tuples(st.just(ACQUIRE), NAMES, st.just(1000), st.sampled_from([0, 500]), st.sampled_from([0, 9]), NAMES),
        st.tuples(st.just(RELEASE), NAMES, st.integers(1, 12).map(lambda n: f"id-{n}")),
        st.tuples(st.just(EXTEND), NAMES, st.integers(1, 12).map(lambda n: f"id-{n}"), st.just(0)),
        st.tuples(st.just(EXPIRE), NAMES, st.integers(1, 12), st.integers(1, 12), st.just(TERM)),
        st.tuples(st.just(OPEN), NAMES, st.integers(1, 12), st.just(TERM)),
    ),
    max_size=30,
)


def told(words: list[tuple[Any, ...]]) -> Story:
    story = Story()
    for kind, *args in words:
        story.tell(kind, *args, client="~clock" if kind in (EXPIRE, OPEN) else "c")
    return story


@given(WORDS)
def test_keys_agree_with_a_plain_dict(words: list[tuple[Any, ...]]) -> None:
    story, plain = Story(), dict[str, tuple[str, int]]()
    for kind, *args in words:
        outcome = story.tell(kind, *args, client="~clock" if kind in (EXPIRE, OPEN) else "c")
        if kind not in (SET, DELETE):
            continue
        key, wanted = args[0], args[2] if kind == SET else args[1]
        value, version = plain.get(key, ("", 0))
        if wanted not in (-1, version):
            assert outcome[:3] == (("conflict", value, version) if version else ("conflict",))
        elif kind == SET:
            plain[key] = (args[1], version + 1)
            assert outcome[:2] == ("ok", version + 1)
        else:
            assert outcome[:2] == ("ok", int(plain.pop(key, None) is not None))
    found, _ = story.store.keyvalues.listing("", "", 100)
    assert [(e.key, (e.value, e.version)) for e in found] == sorted(plain.items())


@given(WORDS)
def test_locks_keep_their_rules_whatever_comes(words: list[tuple[Any, ...]]) -> None:
    story, highest = Story(), 0
    for kind, *args in words:
        outcome = story.tell(kind, *args, client="~clock" if kind in (EXPIRE, OPEN) else "c")
        if kind == ACQUIRE and outcome[0] == "ok":
            assert outcome[2] > highest, "tokens grow"
        for lock in story.store.locks.named():
            highest = max(highest, lock.token)
            assert lock.held or lock.delay_ms, "nobody waits for a lock that is free"
            assert lock.lock_id not in lock.waiters
        assert story.store.locks.held == sum(lock.held for lock in story.store.locks.named())


@settings(max_examples=60)
@given(WORDS, WORDS)
def test_a_snapshot_holds_everything(words: list[tuple[Any, ...]], more: list[tuple[Any, ...]]) -> None:
    story = told(words)
    again = Store.load(json.loads(json.dumps(story.store.dump())))
    assert again == story.store
    for part in (KeyValues, Locks, Clients):
        name = part.__name__.lower()
        assert part.load(json.loads(json.dumps(getattr(again, name).dump()))) == getattr(again, name)
    other = Story()
    other.store, other.index, other.seqs = again, story.index, dict(story.seqs)
    for kind, *args in more:
        client = "~clock" if kind in (EXPIRE, OPEN) else "c"
        assert story.tell(kind, *args, client=client) == other.tell(kind, *args, client=client)
    assert other.store == story.store
