"""Bundles: many commands in one frame, each with one outcome; what is wrong with one leaves the others alone."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.bus import Route
from mltb_transport.frames import PROTOCOL, Frame, decode
from mltb_transport.limits import CLUSTER_CHARS_MAX, COMMAND_BYTES_MAX, ITEMS_MAX, STRING_CHARS_MAX, VALUE_BYTES_MAX
from mltb_transport.schema import INT_MAX
from mltb_transport.store import (
    ACQUIRE,
    DELETE,
    EXPIRE,
    EXTEND,
    RELEASE,
    SET,
    WITHDRAW,
    Bundle,
    BundleAnswer,
    packed,
    packed_read,
)
from mltbd.runtime import store_bundles, store_control
from mltbd.runtime.store_bundles import Bundles
from mltbd.runtime.store_params import Offer
from tests.daemon.runtime.live import Live
from tests.transport.frame_kit import encode

_numbers = itertools.count(1)


class Bundler:
    """A client connection of one node that packs its commands itself."""

    def __init__(self, live: Live, node: str = "n1", role: str = "admin") -> None:
        self.live, self.node, self.role = live, node, role
        self.route = f"bundler-{next(_numbers)}"
        self.told: list[tuple[Any, ...]] = []
        self.frames = 0
        self.leaders: set[str] = set()

    def send(self, *bodies: bytes, reads: tuple[bytes, ...] = ()) -> None:
        payload = encode(Frame(PROTOCOL, "", "", 0, 1, Bundle(bodies, reads)))
        assert self.live.hub.ask(self.live[self.node].address, payload, self.role, self.route)

    def outcomes(self, count: int) -> dict[tuple[str, int], tuple[Any, ...]]:
        """What it is told, once it has been told so much."""
        self.live.until(lambda: self._read() >= count, f"{count} outcomes, not {self.told}")
        assert len(self.told) == count
        return {(client, seq): tuple(rest) for client, seq, *rest in self.told}

    def _read(self) -> int:
        for payload in self.live.hub.replies(self.route):
            answer = decode(payload).message
            assert isinstance(answer, BundleAnswer)
            self.frames += 1
            self.leaders.add(answer.leader)
            self.told += [tuple(msgpack.unpackb(outcome)) for outcome in answer.outcomes]
        return len(self.told)


def test_who_does_not_lead_says_who_does_and_where(three: Live) -> None:
    told = {}
    for node in ("n1", "n2"):
        me = Bundler(three, node)
        me.send(put(f"asks-{node}", 1, "leads"))
        me.outcomes(1)
        told[node] = me.leaders
    config = three["n1"].node.config
    assert told == {"n1": {""}, "n2": {f"n1 {config.address}:{config.port + 1}"}}


def put(client: str, seq: int, key: str, value: str = "1", version: int = -1) -> bytes:
    return packed(client, seq, SET, key, value, version, "", 0).body


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_many_commands_take_few_frames_and_one_entry(three: Live, node: str) -> None:
    me = Bundler(three, node)
    before = three["n1"].node.desk.commands.counters["batches"]
    me.send(*[put(f"{node}-many-{number}", 1, f"many/{node}/{number}") for number in range(200)])
    told = me.outcomes(200)
    assert all(outcome[:2] == ("ok", 1) for outcome in told.values())
    assert three["n1"].node.desk.commands.counters["batches"] - before <= 2
    assert me.frames <= 3
    assert three.ask("n3", "state_get", {"key": f"many/{node}/199"})["entry"]["version"] == 1


def test_bundles_of_one_connection_are_answered_together(three: Live) -> None:
    """Each frame costs its reader a turn of the loop; another connection has its own."""
    me, other = Bundler(three), Bundler(three)
    for number in range(5):
        me.send(put(f"together-{number}", 1, "together"))
    other.send(put("together-other", 1, "together"))
    assert len(me.outcomes(5)) == 5
    assert me.frames == 1
    assert list(other.outcomes(1)) == [("together-other", 1)]


def test_a_repeat_is_told_the_same_by_whichever_way_it_comes(three: Live) -> None:
    me, again = Bundler(three), Bundler(three, "n2")
    me.send(put("repeats", 1, "repeats"))
    first = me.outcomes(1)
    again.send(put("repeats", 1, "repeats"))
    assert again.outcomes(1) == first
    params = {"client": "repeats", "seq": 1, "key": "repeats", "value": "1"}
    assert three.ask("n3", "state_set", params)["version"] == 1


def test_each_kind_has_its_outcome(three: Live) -> None:
    held = three.ask("n1", "lock_acquire", {"client": "kinds-0", "seq": 1, "name": "kinds", "ttl": 30})
    me = Bundler(three)
    me.send(
        put("kinds-1", 1, "kinds"),
        put("kinds-2", 1, "kinds", version=7),
        packed("kinds-3", 1, DELETE, "kinds", -1, "", 0).body,
        packed("kinds-4", 1, EXTEND, "kinds", held["lock_id"], 0).body,
        packed("kinds-5", 1, RELEASE, "kinds", held["lock_id"]).body,
        put("kinds-6", 9, "kinds"),
    )
    told = me.outcomes(6)
    assert told["kinds-1", 1][:2] == ("ok", 1)
    assert told["kinds-2", 1][:3] == ("conflict", "1", 1)
    assert told["kinds-3", 1][:2] == ("ok", 1)
    assert told["kinds-4", 1] == ("ok", held["token"], 30_000)
    assert told["kinds-5", 1] == ("ok",)
    assert told["kinds-6", 9][:2] == ("error", "forgotten")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"junk", "not a command"),
        (packed("w", 1, WITHDRAW, "l", "id-1").body, "only set, delete"),
        (packed("w", 1, EXPIRE, "l", 1, 1, 1).body, "only set, delete"),
        (packed("~n1.1.clock", 1, DELETE, "k", -1, "", 0).body, "not a command of a client"),
        (packed("w" * 65, 1, DELETE, "k", -1, "", 0).body, "not a command of a client"),
        (packed("w", 0, DELETE, "k", -1, "", 0).body, "not a command of a client"),
        (put("w", 1, "a b"), "a name is"),
        (put("w", 1, "k", "{"), "is not JSON"),
        (put("w", 1, "k", "[" * 101 + "]" * 101), "nested deeper than 100 levels"),
        (packed("w", 1, ACQUIRE, "l", 99, 0, 0, "me").body, "`ttl` is a number"),
        (packed("w", 1, ACQUIRE, "l", 1000, 3_600_001, 0, "me").body, "`wait` is a number"),
        (packed("w", 1, ACQUIRE, "l", 1000, 0, -1, "me").body, "`delay` is a number"),
        (packed("w", 1, ACQUIRE, "l", 1000, 0, 0, "m\ne").body, "`holder` is one line"),
        (packed("w", 1, ACQUIRE, "l l", 1000, 0, 0, "me").body, "a name is"),
        (packed("w", 1, EXTEND, "l", "id-1", 86_400_001).body, "`ttl` is a number"),
        (packed("w", 1, RELEASE, "l", "").body, "a name is"),
        (packed("w", 1, SET, "k", "1", -1, "x" * 60_000, 1).body, "a name is"),
        (packed("w", 1, DELETE, "k", -1, "l l", 1).body, "a name is"),
        (packed("w", 1, ACQUIRE, "l", 1000, 0, 0, "ü" * 128).body, "`holder` is one line of text of up to 255 bytes"),
        (packed("ü" * 33, 1, RELEASE, "l", "id-1").body, "not a command of a client"),
        (put("w", 1, "k", json.dumps("x" * VALUE_BYTES_MAX)), "longer than 64 KiB"),
    ],
)
def test_what_is_wrong_is_told_and_the_rest_is_done(three: Live, body: bytes, words: str) -> None:
    me = Bundler(three)
    good = f"good-{next(_numbers)}"
    me.send(body, put(good, 1, "good"))
    told = me.outcomes(2)
    assert told.pop((good, 1))[0] == "ok"
    (error,) = told.values()
    assert error[:2] == ("error", "usage")
    assert words in error[2]


def test_more_outcomes_than_one_answer_holds_are_told_in_several(three: Live) -> None:
    me = Bundler(three, role="viewer")
    me.send(*[b"x"] * 600, reads=(b"y",) * 600)
    me.outcomes(1200)
    assert me.frames == 2


def test_a_name_that_no_answer_holds_is_not_told_back(three: Live) -> None:
    me = Bundler(three)
    me.send(put("w" * (COMMAND_BYTES_MAX - 20), 1, "k"))
    assert me.outcomes(1)["", 0][:2] == ("error", "usage")


SHORT = st.tuples(st.integers(0, ITEMS_MAX), st.just(1))
LONG = st.tuples(st.integers(0, 12), st.just(VALUE_BYTES_MAX))


@given(st.lists(st.tuples(st.integers(0, 2), SHORT | LONG), max_size=5))
def test_whatever_is_told_each_frame_can_be_sent_and_each_outcome_is_in_one(
    bundles: list[tuple[int, tuple[int, int]]],
) -> None:
    told: list[tuple[str, str, int]] = []

    def send(route: Route, outcomes: tuple[bytes, ...]) -> None:
        answer = BundleAnswer(outcomes, "x" * STRING_CHARS_MAX)
        encode(Frame(PROTOCOL, "c" * CLUSTER_CHARS_MAX, "n" * 63, INT_MAX, INT_MAX, answer))
        told.extend((route.socket, *msgpack.unpackb(outcome)[:2]) for outcome in outcomes)

    here, wanted = Bundles(send), []
    for number, (connection, (count, size)) in enumerate(bundles):
        route, clients = Route(f"r{connection}", b""), [f"{number}.{one}" for one in range(count)]
        reads = tuple(packed_read(one + 1, "k") for one in range(count))
        taken = here.take(
            Bundle(tuple(put(client, 1, "k") for client in clients), reads), True, 2 * count, route, Offer()
        )
        here.outcomes(tuple((client, 1, ("conflict", "x" * size, 1, 1)) for client in clients))
        for read in taken.reads:
            read.tell(("entry", 1, "x" * size, 1, 1))
        wanted += [(route.socket, client, 1) for client in clients]
        wanted += [(route.socket, "", one + 1) for one in range(count)]
    here.flush()
    assert sorted(told) == sorted(wanted)
    assert here.waiting == 0


def test_a_viewer_reads_and_changes_nothing(three: Live) -> None:
    me = Bundler(three, role="viewer")
    me.send(put("viewer", 1, "viewer"), reads=(packed_read(1, "viewer"),))
    told = me.outcomes(2)
    assert told["viewer", 1][:2] == ("error", "auth")
    assert told["", 1][0] == "none"
    assert three.ask("n1", "state_get", {"key": "viewer"})["entry"] is None


def take(client: str, seq: int, name: str, wait_ms: int = 0, ttl_ms: int = 30_000) -> bytes:
    return packed(client, seq, ACQUIRE, name, ttl_ms, wait_ms, 0, client).body


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_a_lock_is_had_or_held_or_waited_for(three: Live, node: str) -> None:
    me, name = Bundler(three, node), f"lock/{node}"
    me.send(take(f"{name}-a", 1, name))
    (word, lock_id, token, ttl_ms, extend_ms) = me.outcomes(1)[f"{name}-a", 1]
    assert (word, ttl_ms, extend_ms) == ("ok", 30_000, 10_000)
    me.told = []
    me.send(take(f"{name}-b", 1, name), take(f"{name}-c", 1, name, wait_ms=100))
    told = me.outcomes(2)
    assert told[f"{name}-b", 1] == told[f"{name}-c", 1] == ("held", f"{name}-a")
    me.told = []
    me.send(take(f"{name}-d", 1, name, wait_ms=60_000))
    three.until(lambda: three.ask(node, "lock_show", {"name": name})["lock"]["waiters"], "it waits")
    me.send(packed(f"{name}-a", 2, RELEASE, name, lock_id).body)
    told = me.outcomes(2)
    assert told[f"{name}-a", 2] == ("ok",)
    assert told[f"{name}-d", 1][0] == "ok"
    assert told[f"{name}-d", 1][2] > token
    assert three[node].control.store.waiting == 0


def test_a_lock_without_a_time_gets_that_of_the_node_that_is_asked() -> None:
    with Live(2) as live:
        live.formed()
        live["n2"].control.store.offer = Offer(ttl_s=45.0, extend_s=0.0)
        me = Bundler(live, "n2")
        me.send(take("a", 1, "l", ttl_ms=0), take("b", 1, "m", ttl_ms=1), take("c", 1, "n", ttl_ms=-1))
        told = me.outcomes(3)
        assert told["a", 1][3:] == (45_000, 0)
        assert told["b", 1][:2] == told["c", 1][:2] == ("error", "usage")
        assert live.ask("n1", "lock_show", {"name": "l"})["lock"]["ttl_seconds"] == 45
        asked = live.ask("n2", "lock_acquire", {"client": "d", "seq": 1, "name": "o"})
        assert (asked["ttl_seconds"], asked["extend_seconds"]) == (45, 0)


def test_a_repeat_without_a_wait_ends_the_first_one(three: Live) -> None:
    me = Bundler(three)
    held = three.ask("n1", "lock_acquire", {"client": "retreat-0", "seq": 1, "name": "retreat", "ttl": 30})
    me.send(take("retreat-1", 1, "retreat", wait_ms=60_000))
    three.until(lambda: three.ask("n1", "lock_show", {"name": "retreat"})["lock"]["waiters"], "it waits")
    again = Bundler(three)
    again.send(take("retreat-1", 1, "retreat"))
    assert again.outcomes(1)["retreat-1", 1] == ("held", "retreat-0")
    assert me.outcomes(1)["retreat-1", 1] == ("held", "retreat-0")
    assert three.ask("n1", "lock_release", {"client": "x", "seq": 1, "name": "retreat", "lock_id": held["lock_id"]})
    assert three.ask("n1", "lock_show", {"name": "retreat"})["lock"] is None


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_reads_see_what_was_told_before(three: Live, node: str) -> None:
    me = Bundler(three, node)
    me.send(*[put(f"{node}-read-{number}", 1, f"read/{node}/{number}", str(number)) for number in range(50)])
    me.outcomes(50)
    other = Bundler(three, "n3")
    keys = [f"read/{node}/{number}" for number in range(50)] + ["nowhere"]
    other.send(reads=tuple(packed_read(number, key) for number, key in enumerate(keys, start=1)))
    told = other.outcomes(51)
    assert [told["", number][2] for number in range(1, 51)] == [str(number) for number in range(50)]
    assert told["", 51][0] == "none"
    assert other.frames == 1
    word, revision, value, version, changed = told["", 1]
    assert (word, value, version) == ("entry", "0", 1)
    assert changed <= revision


def test_what_is_no_read_is_told(three: Live) -> None:
    me = Bundler(three)
    me.send(reads=(b"junk", packed_read(5, "a b"), packed_read(6, "k")))
    told = me.outcomes(3)
    assert told["", 0] == ("error", "usage", "not a read")
    assert told["", 5][:2] == ("error", "usage")
    assert told["", 6][0] == "none"


def test_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_control, "WAITING_MAX", 3)
    with Live(1) as live:
        me = Bundler(live.formed())
        me.send(*[put(f"c{number}", 1, "k") for number in range(2)], take("d", 1, "l"), take("e", 1, "l"),
                reads=(packed_read(1, "k"),))  # fmt: skip
        told = me.outcomes(5)
        assert [key for key, outcome in told.items() if outcome[:2] == ("error", "overloaded")] == [("e", 1), ("", 1)]
        assert live["n1"].control.store.waiting == 0


def test_long_outcomes_are_told_in_several_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_bundles, "ANSWER_BYTES_MAX", 2000)
    with Live(1) as live:
        me = Bundler(live.formed())
        me.send(put("long", 1, "long", json.dumps("x" * 900)))
        me.outcomes(1)
        me.told, me.frames = [], 0
        me.send(*[put(f"c{number}", 1, "long", version=7) for number in range(6)])
        assert all(outcome[0] == "conflict" for outcome in me.outcomes(6).values())
        assert me.frames >= 2


def test_without_a_leader_all_are_refused() -> None:
    with Live(3) as live:
        me = Bundler(live)
        me.send(put("c", 1, "k"), put("d", 1, "k"), take("e", 1, "l", wait_ms=60_000), reads=(packed_read(1, "k"),))
        assert {outcome[:2] for outcome in me.outcomes(4).values()} == {("error", "no_quorum")}


def test_what_is_off_on_a_node_is_refused_there_and_nowhere_else() -> None:
    with Live(3) as live:
        live.formed()
        live["n2"].control.store.offer = Offer(frozenset({"lock"}))
        me = Bundler(live, "n2")
        lock = packed("c-off", 1, ACQUIRE, "l", 5000, 0, 0, "me").body
        me.send(put("c-on", 1, "k"), lock, reads=(packed_read(1, "k"),))
        told = me.outcomes(3)
        assert told["c-on", 1][0] == "ok"
        assert told["c-off", 1] == ("error", "off", "`DISTRIBUTED_LOCKS_ENABLED` is off on this node")
        live["n2"].control.store.offer = Offer(frozenset({"state"}))
        me.send(
            put("c-off", 1, "k"), packed("c-on", 2, ACQUIRE, "l", 5000, 0, 0, "me").body, reads=(packed_read(2, "k"),)
        )
        told = me.outcomes(6)
        assert told["c-on", 2][0] == "ok"
        assert {told["c-off", 1], told["", 2]} == {("error", "off", "`DISTRIBUTED_STATE_ENABLED` is off on this node")}
