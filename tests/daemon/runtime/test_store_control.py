"""Locks and state over the control plane of live daemons: every method's answer, from the leader and from followers."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from mltb_transport.limits import VALUE_BYTES_MAX
from mltbd.core.effects import Refusals
from mltbd.core.events import Submit
from mltbd.runtime import store_control
from mltbd.runtime.store_params import Offer
from tests.daemon.runtime.live import Live

NODES = ("n1", "n2")
_clients = itertools.count(1)


class Someone:
    """A client of one node, which counts its commands."""

    def __init__(self, live: Live, node: str) -> None:
        self.live = live
        self.node = node
        self.client = f"client-{next(_clients)}"
        self.seq = 0

    def post(self, method: str, **params: Any) -> str:
        self.seq += 1
        return self.live.post(self.node, method, {"client": self.client, "seq": self.seq, **params})

    def does(self, method: str, **params: Any) -> dict[str, Any]:
        ok, body = self.live.answered(self.post(method, **params))
        assert ok, body
        return body

    def fails(self, method: str, **params: Any) -> dict[str, Any]:
        ok, body = self.live.answered(self.post(method, **params))
        assert not ok, body
        assert {"code", "message", "hint"} <= body.keys()
        return body

    def reads(self, method: str, **params: Any) -> dict[str, Any]:
        return self.live.ask(self.node, method, params)


@pytest.mark.parametrize("node", NODES)
def test_a_value_is_written_and_read_back_everywhere(three: Live, node: str) -> None:
    me, key = Someone(three, node), f"written/{node}"
    first = me.does("state_set", key=key, value='{"a": 1}')
    again = me.does("state_set", key=key, value="2")
    assert (first["key"], first["version"], again["version"]) == (key, 1, 2)
    assert again["revision"] > first["revision"]
    for other in three.nodes:
        entry = three.ask(other, "state_get", {"key": key})["entry"]
        assert entry == {"key": key, "value": "2", "version": 2, "revision": again["revision"]}
    assert me.does("state_delete", key=key)["deleted"] is True
    assert me.does("state_delete", key=key)["deleted"] is False
    assert me.reads("state_get", key=key)["entry"] is None


@pytest.mark.parametrize("node", NODES)
def test_a_condition_that_fails_shows_what_is_there(three: Live, node: str) -> None:
    me, key = Someone(three, node), f"cas/{node}"
    assert me.does("state_set", key=key, value="1", if_version=3) == {"conflict": None}
    put = me.does("state_set", key=key, value="1", if_version=0)
    entry = {"key": key, "value": "1", "version": 1, "revision": put["revision"]}
    assert me.does("state_set", key=key, value="2", if_version=0) == {"conflict": entry}
    assert me.does("state_delete", key=key, if_version=2) == {"conflict": entry}
    assert me.does("state_set", key=key, value="2", if_version=1)["version"] == 2


@pytest.mark.parametrize("node", NODES)
def test_a_repeat_is_answered_as_before_and_done_once(three: Live, node: str) -> None:
    me, key = Someone(three, node), f"repeat/{node}"
    first = me.does("state_set", key=key, value="1")
    me.seq -= 1
    assert me.does("state_set", key=key, value="1") == first
    me.does("state_set", key=key, value="2")
    me.seq = 0
    assert me.fails("state_set", key=key, value="1")["code"] == "forgotten"
    assert me.reads("state_get", key=key)["entry"]["version"] == 2
    stranger = Someone(three, node)
    stranger.seq = 6
    assert stranger.fails("state_set", key=key, value="1")["code"] == "forgotten"


def test_a_list_is_ordered_and_goes_on(three: Live) -> None:
    me = Someone(three, "n2")
    for name in ("list/b", "list/a", "list/c", "listless"):
        me.does("state_set", key=name, value=f'"{name}"')
    page = me.reads("state_list", prefix="list/", limit=2)
    assert [entry["key"] for entry in page["entries"]] == ["list/a", "list/b"]
    assert page["more"] is True
    rest = me.reads("state_list", prefix="list/", after="list/b")
    assert ([entry["key"] for entry in rest["entries"]], rest["more"]) == (["list/c"], False)


def test_a_long_list_is_cut_to_what_one_answer_holds(three: Live) -> None:
    me = Someone(three, "n1")
    for number in range(4):
        me.does("state_set", key=f"long/{number}", value=json.dumps("x" * (VALUE_BYTES_MAX - 2)))
    page = me.reads("state_list", prefix="long/")
    assert 1 <= len(page["entries"]) < 4
    assert page["more"] is True


@pytest.mark.parametrize("text", ["x", "ж", "🙂", '"', "\x00"])
def test_whatever_values_are_made_of_a_list_and_a_watch_come_to_their_end(three: Live, text: str) -> None:
    """What a character takes in an answer is not what it takes in the state: up to twelve for one."""
    me, prefix = Someone(three, "n1"), f"made/{ord(text)}/"
    start = me.reads("state_watch", prefix=prefix)["revision"]
    count = VALUE_BYTES_MAX // len(json.dumps(text, ensure_ascii=False).encode()) * 3 // 4
    for number in range(4):
        me.does("state_set", key=f"{prefix}{number}", value=json.dumps(text * count, ensure_ascii=False))
    listed, watched = [""], [start]
    while len(listed) < 5:
        listed += [entry["key"] for entry in me.reads("state_list", prefix=prefix, after=listed[-1])["entries"]]
    while len(watched) < 5:
        changes = me.reads("state_watch", prefix=prefix, after=watched[-1])["changes"]
        watched += [change["revision"] for change in changes]
    assert listed[1:] == [f"{prefix}{number}" for number in range(4)]
    assert watched == sorted(set(watched))


def test_a_list_of_locks_goes_on_and_shows_the_beginning_of_a_line(three: Live) -> None:
    me = Someone(three, "n2")
    for letter in "cab":
        me.does("lock_acquire", name=f"many/{letter}", ttl=60)
    for _ in range(40):
        Someone(three, "n2").post("lock_acquire", name="many/a", ttl=60, wait=60, holder="ü" * 127)
    page = me.reads("lock_list", prefix="many/", limit=2)
    assert ([lock["name"] for lock in page["locks"]], page["more"]) == (["many/a", "many/b"], True)
    rest = me.reads("lock_list", prefix="many/", after="many/b")
    assert ([lock["name"] for lock in rest["locks"]], rest["more"]) == (["many/c"], False)
    three.until(lambda: me.reads("lock_show", name="many/a")["lock"]["waiting"] == 40, "all in line")
    (listed, _), shown = page["locks"], me.reads("lock_show", name="many/a")["lock"]
    assert len(shown["waiters"]) == 40
    (listed,) = me.reads("lock_list", prefix="many/a")["locks"]
    assert listed["waiting"] == 40
    assert listed["waiters"] == shown["waiters"][: len(listed["waiters"])]
    assert 0 < len(listed["waiters"]) < 40


def test_a_stale_read_is_answered_at_once_with_its_age(three: Live) -> None:
    me = Someone(three, "n3")
    me.does("state_set", key="stale", value="1")
    body = me.reads("state_get", key="stale", stale=True)
    assert body["entry"]["value"] == "1"
    assert 0 <= body["age_seconds"] < 15
    assert "age_seconds" in me.reads("state_list", prefix="stale", stale=True)
    assert "age_seconds" in me.reads("lock_list", stale=True)


def test_a_watch_tells_each_change_once(three: Live) -> None:
    me = Someone(three, "n1")
    start = three.ask("n2", "state_watch", {"prefix": "watch/"})
    assert start["changes"] == []
    waiting = three.post("n2", "state_watch", {"prefix": "watch/", "after": start["revision"], "wait": 20})
    me.does("state_set", key="unwatched", value="1")
    put = me.does("state_set", key="watch/a", value="1")
    ok, body = three.answered(waiting)
    change = {"key": "watch/a", "value": "1", "version": 1, "revision": put["revision"], "kind": "set"}
    assert ok
    assert body == {"changes": [change], "revision": put["revision"], "compacted": False}
    gone = me.does("state_delete", key="watch/a")
    body = three.ask("n1", "state_watch", {"prefix": "watch/", "after": put["revision"]})
    assert body["changes"] == [
        {"key": "watch/a", "value": None, "version": 0, "revision": gone["revision"], "kind": "delete"}
    ]
    assert (
        three.ask("n1", "state_watch", {"prefix": "watch/", "after": gone["revision"], "wait": 0.05})["changes"] == []
    )


@pytest.mark.parametrize("node", NODES)
def test_a_lock_has_one_holder_and_a_token(three: Live, node: str) -> None:
    me, rival, name = Someone(three, node), Someone(three, "n3"), f"lock/{node}"
    mine = me.does("lock_acquire", name=name, ttl=30, holder="me")
    assert (mine["acquired"], mine["ttl_seconds"], mine["extend_seconds"], mine["holder"]) == (True, 30, 10, "me")
    assert rival.does("lock_acquire", name=name, ttl=30) == {"acquired": False, "holder": "me"}
    shown = rival.reads("lock_show", name=name)["lock"]
    assert (shown["holder"], shown["token"], shown["lock_id"]) == ("me", mine["token"], mine["lock_id"])
    assert 0 < shown["remaining_seconds"] <= 30.1
    assert shown["since"].endswith("Z")
    assert [lock["name"] for lock in me.reads("lock_list", prefix=name)["locks"]] == [name]
    extended = me.does("lock_extend", name=name, lock_id=mine["lock_id"], ttl=40)
    assert extended == {"extended": True, "token": mine["token"], "ttl_seconds": 40}
    assert rival.does("lock_release", name=name, lock_id="id-1") == {"released": False}
    assert me.does("lock_release", name=name, lock_id=mine["lock_id"]) == {"released": True}
    assert me.does("lock_release", name=name, lock_id=mine["lock_id"]) == {"released": False}
    assert me.does("lock_extend", name=name, lock_id=mine["lock_id"])["extended"] is False
    assert me.reads("lock_show", name=name) == {"lock": None}
    theirs = rival.does("lock_acquire", name=name, ttl=30)
    assert theirs["token"] > mine["token"]
    rival.does("lock_release", name=name, lock_id=theirs["lock_id"])


@pytest.mark.parametrize("node", NODES)
def test_who_waits_is_served_in_turn(three: Live, node: str) -> None:
    first, second, third = (Someone(three, where) for where in ("n3", node, node))
    name = f"queue/{node}"
    held = first.does("lock_acquire", name=name, ttl=30, holder="first")
    waits = [second.post("lock_acquire", name=name, ttl=30, wait=20, holder="second")]
    three.until(lambda: len(_queue(three, name)) == 1)
    waits.append(third.post("lock_acquire", name=name, ttl=30, wait=20, holder="third"))
    three.until(lambda: _queue(three, name) == ["second", "third"])
    first.does("lock_release", name=name, lock_id=held["lock_id"])
    ok, body = three.answered(waits[0])
    assert ok
    assert (body["acquired"], body["holder"]) == (True, "second")
    assert body["token"] > held["token"]
    second.does("lock_release", name=name, lock_id=body["lock_id"])
    ok, last = three.answered(waits[1])
    assert (ok, last["acquired"], last["holder"]) == (True, True, "third")
    third.does("lock_release", name=name, lock_id=last["lock_id"])


def _queue(live: Live, name: str) -> list[str]:
    lock = live["n1"].node.state.store.locks.get(name)
    return [waiter.holder for waiter in lock.waiters.values()] if lock is not None else []


def test_who_waited_in_vain_is_out_of_the_queue(three: Live) -> None:
    holder, other = Someone(three, "n1"), Someone(three, "n2")
    held = holder.does("lock_acquire", name="vain", ttl=30, holder="holder")
    body = other.does("lock_acquire", name="vain", ttl=30, wait=0.2)
    assert body == {"acquired": False, "holder": "holder"}
    assert _queue(three, "vain") == []
    holder.does("lock_release", name="vain", lock_id=held["lock_id"])


def test_a_repeat_waits_for_the_same_place_in_the_queue(three: Live) -> None:
    holder, other = Someone(three, "n1"), Someone(three, "n2")
    held = holder.does("lock_acquire", name="twice", ttl=30, holder="holder")
    first = other.post("lock_acquire", name="twice", ttl=30, wait=20, holder="other")
    three.until(lambda: _queue(three, "twice") == ["other"])
    other.seq, other.node = 0, "n3"
    again = other.post("lock_acquire", name="twice", ttl=30, wait=20, holder="other")
    three.holds(lambda: _queue(three, "twice") == ["other"], 0.1)
    holder.does("lock_release", name="twice", lock_id=held["lock_id"])
    (_, one), (_, two) = three.answered(first), three.answered(again)
    assert one == two
    assert one["acquired"] is True
    other.does("lock_release", name="twice", lock_id=one["lock_id"])


def test_a_lock_runs_out_and_its_token_is_refused(three: Live) -> None:
    holder, other = Someone(three, "n2"), Someone(three, "n2")
    held = holder.does("lock_acquire", name="brief", ttl=0.2, holder="holder")
    token = {"lock": "brief", "token": held["token"]}
    next_one = other.does("lock_acquire", name="brief", ttl=30, wait=15)
    assert next_one["acquired"] is True
    assert holder.fails("state_set", key="guarded", value="1", token=token)["code"] == "refused"
    other.does("state_set", key="guarded", value="2", token={"lock": "brief", "token": next_one["token"]})
    other.does("lock_release", name="brief", lock_id=next_one["lock_id"])


def test_after_an_expiry_the_lock_may_stay_closed_for_a_while(three: Live) -> None:
    holder, other = Someone(three, "n1"), Someone(three, "n1")
    holder.does("lock_acquire", name="delayed", ttl=0.1, delay=1.0, holder="holder")
    locks = three["n1"].node.state.store.locks

    def closed() -> bool:
        lock = locks.get("delayed")
        return lock is not None and not lock.held

    three.until(closed)
    assert other.reads("lock_list", prefix="delayed")["locks"] == []
    assert other.does("lock_acquire", name="delayed", ttl=5) == {"acquired": False, "holder": None}
    assert other.does("lock_acquire", name="delayed", ttl=5, wait=15)["acquired"] is True


def test_status_counts_locks_and_revisions(three: Live) -> None:
    me = Someone(three, "n2")
    held = me.does("lock_acquire", name="counted", ttl=30)
    shown = three.ask("n2", "status")
    assert shown["locks"]["held"] >= 1
    assert shown["state_revision"] >= held["token"]
    me.does("lock_release", name="counted", lock_id=held["lock_id"])


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("state_set", {"key": "a b", "value": "1"}, "`key` is 1 to 255"),
        ("state_set", {"key": "k" * 256, "value": "1"}, "`key` is 1 to 255"),
        ("state_set", {"key": "k", "value": 1}, "`value` is JSON as a text"),
        ("state_set", {"key": "k", "value": "{"}, "`value` is not JSON"),
        ("state_set", {"key": "k", "value": "[" * 101 + "]" * 101}, "`value` is nested deeper than 100 levels"),
        ("state_set", {"key": "k", "value": json.dumps("x" * VALUE_BYTES_MAX)}, "longer than 64 KiB"),
        ("state_set", {"key": "k", "value": "1", "if_version": -1}, "`if_version` is a whole number"),
        ("state_set", {"key": "k", "value": "1", "token": 7}, "`token` is {lock, token}"),
        ("state_set", {"key": "k", "value": "1", "seq": 0}, "`seq` is a whole number"),
        ("state_set", {"key": "k", "value": "1", "client": ""}, "`client` is a text"),
        ("state_set", {"key": "k", "value": "1", "client": "~n1.1"}, "`client` is a text"),
        ("state_set", {"key": "k", "value": "1", "client": "c" * 65}, "`client` is one line"),
        ("state_get", {"key": ""}, "`key` is 1 to 255"),
        ("state_get", {"key": "k", "stale": "yes"}, "`stale` is true or false"),
        ("state_list", {"prefix": "*"}, "`prefix` is up to 255"),
        ("state_list", {"limit": 0}, "`limit` is a whole number"),
        ("state_watch", {"wait": 31}, "`wait` is a number of seconds"),
        ("lock_acquire", {"name": "l", "ttl": 0.01}, "`ttl` is a number of seconds"),
        ("lock_acquire", {"name": "l", "ttl": 5, "holder": "two\nlines"}, "`holder` is one line"),
        ("lock_release", {"name": "l"}, "`lock_id` is 1 to 255"),
    ],
)  # fmt: skip
def test_bad_parameters_are_named(three: Live, method: str, params: dict[str, Any], words: str) -> None:
    error = three.refused("n1", method, {"client": "bad", "seq": 1, **params})
    assert error["code"] == "usage"
    assert words in error["message"]


def test_what_is_off_is_no_mistake_of_the_caller() -> None:
    with Live(1) as live:
        live["n1"].control.store.offer = Offer(frozenset({"lock"}))
        assert live.refused("n1", "lock_show", {"name": "l"})["code"] == "off"


def test_without_a_leader_everything_is_refused_at_once() -> None:
    with Live(3) as live:
        body = live.refused("n1", "state_set", {"client": "c", "seq": 1, "key": "k", "value": "1"})
        assert body["code"] == "no_quorum"
        assert live.refused("n1", "state_get", {"key": "k"})["code"] == "no_quorum"
        for method, params in (("state_get", {"key": "k"}), ("state_list", {}), ("lock_show", {"name": "l"})):
            refused = live.refused("n1", method, {**params, "stale": True})
            assert refused["code"] == "unavailable", "it knows nothing yet, and does not call that an answer"


def test_a_wait_that_ends_without_a_leader_leaves_the_outcome_open(
    three: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`no_quorum` would promise that nothing was done: but the place in the queue is there, and may become a grant."""
    holder, other = Someone(three, "n1"), Someone(three, "n2")
    held = holder.does("lock_acquire", name="open-end", ttl=30, holder="holder")
    driver, store = three["n2"].driver, three["n2"].control.store
    handle = driver.handle

    def leaderless(event: Any) -> None:
        if isinstance(event, Submit) and event.commands[0].key[0] != other.client:
            store.refusals(Refusals(tuple(command.key for command in event.commands), "no_quorum", "nobody leads"))
        else:
            handle(event)

    monkeypatch.setattr(driver, "handle", leaderless)
    body = other.fails("lock_acquire", name="open-end", ttl=30, wait=0.2, holder="other")
    assert body["code"] == "unknown_outcome"
    assert "nobody leads" in body["message"]
    assert _queue(three, "open-end") == ["other"]
    holder.does("lock_release", name="open-end", lock_id=held["lock_id"])


def test_too_many_requests_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_control, "WAITING_MAX", 2)
    with Live(1) as live:
        live.formed()
        waits = [live.post("n1", "state_watch", {"wait": 1}) for _ in range(2)]
        live.until(lambda: live["n1"].control.store.waiting == 2)
        assert live.refused("n1", "state_get", {"key": "k"})["code"] == "overloaded"
        for client in waits:
            assert live.answered(client)[0]


def test_a_lost_leader_leaves_the_outcome_open_and_a_repeat_finds_it() -> None:
    with Live(3) as live:
        live.formed()
        me = Someone(live, "n2")
        live["n2"].disk.held = live["n3"].disk.held = True
        waiting = me.post("state_set", key="open", value="1")
        live.until(lambda: live["n1"].node.desk.commands.counters["commands"])
        live["n1"].close()
        live["n2"].disk.release()
        live["n3"].disk.release()
        ok, body = live.answered(waiting)
        if not ok:
            assert body["code"] == "unknown_outcome"
        live.until(lambda: live["n2"].node.consensus.leader in ("n2", "n3"))

        def repeated() -> bool:
            me.seq = 0
            ok, body = live.answered(me.post("state_set", key="open", value="1"))
            assert ok or body["code"] in ("no_quorum", "unavailable", "unknown_outcome")
            return ok and body["version"] == 1

        live.until(repeated)
        assert me.reads("state_get", key="open")["entry"]["version"] == 1
