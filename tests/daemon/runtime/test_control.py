"""The control plane: what each method answers and refuses, who may ask, what is passed on, and what is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from mltb_transport.limits import READ_METHODS
from mltb_transport.messages import Request, Response
from mltbd.runtime.asks import NAME_CHARS_MAX, REASON_CHARS_MAX
from mltbd.runtime.control import PENDING_MAX
from tests.daemon.runtime.live import Live

MOVES = ("failover", "switchover", "failback", "failback_cancel")
NESTED = "[" * 100_000


@pytest.fixture(scope="module")
def cluster() -> Iterator[Live]:
    with Live() as live:
        yield live


@pytest.fixture
def alone(cluster: Live) -> Live:
    """A cluster of one, for whoever changes nothing in it."""
    return cluster.formed()


def test_ping_names_the_node_and_its_version() -> None:
    with Live() as live:
        assert live.ask("n1", "ping") == {"node": "n1", "version": "0.1.0"}


def test_a_request_is_answered_before_there_is_a_cluster() -> None:
    with Live(3) as live:
        shown = live.ask("n2", "status")
        assert (shown["view"]["node"], shown["cluster"]["state"]) == ("n2", "FORMING")
        assert live.refused("n2", "switchover", {"to": "n1"})["code"] == "no_quorum"


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("operation", {}, "`id` is a number"),
        ("operation", {"id": "7"}, "`id` is a number"),
        ("operation", {"id": True}, "`id` is a number"),
        ("is", {}, "is none of leader"),
        ("is", {"what": "asleep"}, "is none of leader"),
        ("is", {"what": 7}, "`what` is a text"),
        ("is", {"what": "leader", "node": "n9"}, "no node `n9`"),
        ("failover", {"workload": 7}, "`workload` is a text"),
        ("failover", {"workload": "m" * (NAME_CHARS_MAX + 1)}, "`workload` is a text of up to 255"),
        ("switchover", {"to": ["n2"]}, "`to` is a text"),
        ("switchover", {"to": "n2", "reason": "r" * (REASON_CHARS_MAX + 1)}, "`reason` is a text of up to 500"),
        ("switchover", {"to": "n2", "reason": "half a pair: \ud800"}, "`reason` is text of one line"),
        ("switchover", {"to": "n2", "reason": "two\nlines"}, "`reason` is text of one line"),
        ("switchover", {"to": "n2", "reason": "\x1b[2J"}, "`reason` is text of one line"),
        ("failback", {"dry_run": "yes"}, "`dry_run` is true or false"),
        ("switchover", {}, "needs a target"),
        ("reboot", {}, "unknown method `reboot`"),
        ("", {}, "unknown method ``"),
    ],
)  # fmt: skip
def test_bad_parameters_are_named(alone: Live, method: str, params: object, words: str) -> None:
    error = alone.refused("n1", method, params)
    assert error["code"] == "usage"
    assert words in error["message"]


def test_hints_lead_to_the_command_that_was_meant(alone: Live) -> None:
    assert alone.refused("n1", "lock_acquire", {"name": "a b"})["hint"] == "mltbctl lock acquire --help"
    assert alone.refused("n1", "is", {"what": "leader", "node": "n9"})["hint"] == "mltbctl nodes"
    assert alone.refused("n1", "reboot", {})["hint"] == "mltbctl --help"


@pytest.mark.parametrize("raw", ["", "nonsense", "[]", "7", "null", '"status"', "{", NESTED, '{"a":' * 50_000])
def test_parameters_that_are_no_object_are_refused_and_harm_nothing(alone: Live, raw: str) -> None:
    error = alone.refused("n1", "status", raw=raw or " ")
    assert error["code"] == "usage"
    assert "parameters of `status` are not" in error["message"]
    assert alone.ask("n1", "ping")["node"] == "n1"


@pytest.mark.parametrize("method", [*MOVES, "lead", "reboot"])
def test_a_viewer_may_look_and_touch_nothing(alone: Live, method: str) -> None:
    served = alone["n1"].control.counters["requests"]
    error = alone.refused("n1", method, {"to": "n1"}, role="viewer")
    assert error["code"] == "auth"
    assert method in error["message"]
    assert alone["n1"].control.counters["requests"] == served
    assert len(alone["n1"].node.state.placements.operations) == 1


@pytest.mark.parametrize("method", sorted(READ_METHODS))
@pytest.mark.parametrize("role", ["viewer", "node", "open"])
def test_reading_is_for_everybody(alone: Live, method: str, role: str) -> None:
    number = next(iter(alone["n1"].node.state.placements.operations))
    alone.ask("n1", method, {"id": number, "what": "healthy", "key": "k", "name": "l"}, role=role)


def test_a_follower_asks_the_leader_for_what_only_it_knows() -> None:
    with Live(3) as live:
        live.formed()
        seen = {name: live.ask(name, "status") for name in live.nodes}
        for name, shown in seen.items():
            assert shown["view"]["node"] == name
            assert shown["cluster"]["leader"] == "n1"
            assert 0 < shown["workloads"][0]["lease_remaining_seconds"] <= 1.5
        assert live["n1"].control.counters["forwarded"] == 0
        assert live["n2"].control.counters["forwarded"] == 1


def test_status_does_not_wait_long_for_a_leader_that_does_not_answer() -> None:
    with Live(3) as live:
        live.formed()
        client = live.post("n2", "status")
        live.hub.cut(live["n1"].address, live["n2"].address)
        ok, shown = live.answered(client)
        assert ok
        assert shown["workloads"][0]["lease_remaining_seconds"] is None


def test_a_move_is_planned_made_and_followed() -> None:
    with Live(3) as live:
        live.formed()
        planned = live.ask("n3", "switchover", {"to": "n2", "dry_run": True})
        assert (planned["operation"], planned["from"], planned["to"]) == (None, "n1", "n2")
        assert planned["plan"]["quorum"] == "3/3"
        assert [c["node"] for c in planned["plan"]["candidates"]] == ["n1", "n2", "n3"]
        assert all(c["eligible"] and c["reasons"] == [] for c in planned["plan"]["candidates"])
        made = live.ask("n3", "switchover", {"workload": "main", "to": "n2", "reason": "kernel update"})
        number = made["operation"]
        assert number > 0

        def done(name: str) -> bool:
            return bool(live.ask(name, "operation", {"id": number})["state"] == "done")

        live.until(lambda: all(done(name) for name in live.nodes))
        told = live.ask("n3", "operation", {"id": number})
        assert (told["workload"], told["kind"], told["from"], told["to"]) == ("main", "switchover", "n1", "n2")
        assert (told["owner"], told["reason"], told["error"]) == ("n2", "kernel update", None)
        assert [phase["name"] for phase in told["phases"]] == ["stop", "grant", "start"]
        assert told["token"] == live["n2"].guard.leases["main"].token
        live.until(lambda: live.ask("n3", "is", {"what": "primary", "node": "n2"})["answer"])
        back = live.ask("n1", "failback")
        assert (back["from"], back["to"]) == ("n2", "n1")
        live.until(lambda: live["n1"].guard.running() == ["main"])


def test_failover_without_a_target_lets_the_leader_choose() -> None:
    with Live(3) as live:
        made = live.formed().ask("n2", "failover")
        assert made["to"] == "n2"
        live.until(lambda: live["n2"].guard.running() == ["main"])
        assert live["n1"].guard.running() == []


def test_a_refusal_gives_a_verdict_on_each_candidate() -> None:
    with Live() as live:
        error = live.formed().refused("n1", "failover")
        assert error["code"] == "refused"
        assert error["candidates"] == [{"node": "n1", "eligible": True, "reasons": []}]
        assert live.refused("n1", "switchover", {"to": "n9"})["code"] == "usage"


def test_cancelling_a_failback_is_for_workloads_that_exist() -> None:
    with Live() as live:
        live.formed()
        error = live.refused("n1", "failback_cancel", {"workload": "mian"})
        assert (error["code"], error["message"]) == ("refused", "no node can run a workload `mian`")
        live.ask("n1", "failback_cancel", {"workload": "main"})
        assert live["n1"].node.state.placements.get("main").failback_cancelled
        assert [w["name"] for w in live.ask("n1", "status")["workloads"]] == ["main"]


def test_an_operation_nobody_knows() -> None:
    with Live(2) as live:
        live.formed()
        for name in live.nodes:
            error = live.refused(name, "operation", {"id": 999})
            assert (error["code"], error["message"]) == ("failed", "no operation 999")


def test_yes_and_no_questions() -> None:
    with Live(3) as live:
        live.formed()

        def answer(name: str, what: str, node: str | None = None) -> bool | None:
            found = live.ask(name, "is", {"what": what} | ({"node": node} if node else {}))
            assert found["reason"]
            told: bool | None = found["answer"]
            return told

        assert [answer(name, "leader") for name in live.nodes] == [True, False, False]
        assert [answer(name, "primary") for name in live.nodes] == [True, False, False]
        assert [answer("n3", "leader", name) for name in live.nodes] == [True, False, False]
        assert [answer("n3", "primary", name) for name in live.nodes] == [True, False, False]
        live.until(lambda: answer("n2", "healthy"))
        live.until(lambda: answer("n2", "healthy", "n1"))
        assert (answer("n2", "quorate"), answer("n2", "paused")) == (True, False)
        for other in ("n1", "n2"):
            live.hub.cut(live["n3"].address, live[other].address)
        live.until(lambda: answer("n2", "healthy") is False)
        assert [answer("n2", "healthy", name) for name in ("n1", "n2")] == [True, True], "each node for itself"


def test_a_leader_that_lost_its_quorum_cannot_tell_and_does_not_claim() -> None:
    with Live(3) as live:
        live.formed()
        one = live["n1"].address
        client = live.post("n1", "is", {"what": "leader"})
        for other in ("n2", "n3"):
            live.hub.cut(live[other].address, one)
        ok, told = live.answered(client)
        assert (ok, told["answer"]) == (True, None)
        live.until(lambda: not live.ask("n1", "is", {"what": "quorate"})["answer"])
        told = live.ask("n1", "is", {"what": "leader", "node": "n2"})
        assert (told["answer"], told["reason"]) == (None, "n1 sees no quorum")
        error = live.refused("n1", "operation", {"id": 999})
        assert error["code"] == "unavailable", "it may be in what this node has not heard"


def test_a_leader_that_cannot_be_reached_is_unavailable_at_once() -> None:
    with Live(3) as live:
        live.formed()
        live.hub.cut(live["n2"].address, live["n1"].address)
        error = live.refused("n2", "failover")
        assert (error["code"], error["message"]) == ("unavailable", "leader n1 cannot be reached")


def test_an_answer_that_is_lost_leaves_the_outcome_open_and_says_so() -> None:
    with Live(3, forward_s=0.2) as live:
        live.formed()
        client = live.post("n2", "switchover", {"to": "n3"})
        live.hub.cut(live["n1"].address, live["n2"].address)
        ok, error = live.answered(client)
        assert (ok, error["code"], error["hint"]) == (False, "unknown_outcome", "mltbctl status")
        assert "may or may not have taken effect" in error["message"]
        live.until(lambda: live["n3"].guard.running() == ["main"], "it did take effect")


@pytest.mark.parametrize("asked", ["n1", "n2"])
def test_a_request_that_does_not_reach_the_log_in_time_is_given_up(asked: str) -> None:
    with Live(2, forward_s=300.0, operation_s=0.2) as live:
        live.formed()
        live["n1"].disk.held = True
        ok, error = live.answered(live.post(asked, "pause"))
        assert (ok, error["code"]) == (False, "unknown_outcome")
        live["n1"].disk.release()
        live.until(lambda: live["n2"].node.state.controls.paused, "it did take effect")


def test_what_the_leader_does_itself_is_no_answer_of_another_node() -> None:
    with Live(forward_s=0.1) as live:
        live.formed()
        live["n1"].disk.held = True
        client = live.post("n1", "pause")
        live.holds(lambda: not live.answers(client), 0.3)
        live["n1"].disk.release()
        assert live.answered(client)[0]


def test_a_late_answer_is_counted_and_reaches_nobody() -> None:
    with Live(2) as live:
        live.formed()
        for number, body in ((10**6, "{}"), (0, "[]"), (0, "nonsense"), (0, NESTED)):
            before = live["n1"].control.counters["late"]
            assert live["n2"].driver.send("n1", Response(number, True, body))
            live.until(lambda before=before: live["n1"].control.counters["late"] == before + 1)  # type: ignore[misc]
        assert live.ask("n1", "ping")


def test_an_answer_meant_for_an_earlier_incarnation_finds_nobody() -> None:
    with Live() as live:
        live.formed()
        live["n1"].disk.held = True
        client = live.post("n1", "failback_cancel")
        live.until(lambda: live["n1"].control.counters["requests"] == 1)
        live["n1"].control.response(Response(1, True, json.dumps({"stolen": True})))
        assert live["n1"].control.counters["late"] == 1
        assert live.answers(client) == []
        live["n1"].disk.release()
        live.until(lambda: live.hub.replies(client))


def test_no_more_than_so_many_wait_and_the_next_one_is_told() -> None:
    with Live(3) as live:
        live.formed()
        for other in ("n2", "n3"):
            live.hub.cut(live["n1"].address, live[other].address)
        control = live["n1"].control
        waiting = []
        for _ in range(PENDING_MAX + 1):
            waiting.append(live.post("n1", "is", {"what": "leader"}))
            live.act(live.hub.deliver_all)
        assert control.counters["overloaded"] == 1
        [(ok, told)] = live.answers(waiting.pop())
        assert (ok, told["answer"], told["reason"]) == (True, None, "too many requests wait for an answer")
        got: dict[str, Any] = {}
        live.until(lambda: got.update({c: a for c in waiting if (a := live.answers(c))}) or len(got) == PENDING_MAX)
        assert all(len(each) == 1 and each[0][1]["answer"] is None for each in got.values())
        assert live.ask("n1", "ping"), "room again"


def test_what_another_daemon_passes_on_is_never_passed_on_again() -> None:
    with Live(2) as live:
        live.formed()
        before = live["n2"].control.counters["forwarded"]
        assert live["n1"].driver.send("n2", Request(77, "failover", "{}"))
        live.until(lambda: live["n1"].control.counters["late"] == 1, "n2 refused instead of asking n1")
        assert live["n2"].control.counters["forwarded"] == before
