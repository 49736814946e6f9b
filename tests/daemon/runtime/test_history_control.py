"""The history over the control plane: pages, limits, refusals, and who asked, kept on every node."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from mltb_transport.history import Phase
from mltb_transport.limits import TEXT_CHARS_MAX
from mltb_transport.messages import Command, Entry, Founding, Grant, Move, NoOp, Release, Started
from mltb_transport.replies import ParamsError
from mltbd.runtime import simulate_control
from mltbd.runtime.history_control import METHODS, PAGE_EVENTS_MAX
from mltbd.state.audit import EVENTS_MAX
from mltbd.state.machine import State
from tests.daemon.runtime.live import Live


def ask(method: str, commands: list[Command], **params: Any) -> tuple[bool, dict[str, Any]]:
    state = State()
    for index, command in enumerate(commands, start=1):
        state.apply(Entry(index, 1, index * 1000, command))
    node: Any = SimpleNamespace(state=state, me="n1")
    return METHODS[method](node, params)


FOUNDED: list[Command] = [Founding("c1", "bots", ()), NoOp("n1", "silence"), Grant("main", "n1", "placement")]
STARTED: list[Command] = [*FOUNDED, Started("main", 3)]
ROLLED_BACK: list[Command] = [
    *STARTED, Move("main", 3, "n2", "switchover"), Release("main", 3, "moved"), Grant("main", "n1", "rollback"),
    Started("main", 7),
]  # fmt: skip


def pages(commands: list[Command], **params: Any) -> list[list[int]]:
    """The ids of every page."""
    found, after = [], 0
    while True:
        ok, page = ask("events", commands, after=after, **params)
        assert ok
        assert len(json.dumps(page)) < TEXT_CHARS_MAX
        found.append([event["id"] for event in page["events"]])
        after = page["last"]
        if not page["more"]:
            return found


def test_a_page_goes_on_where_the_one_before_it_ended() -> None:
    commands = [*FOUNDED, *[NoOp("n1", "silence")] * 1000]
    told = pages(commands)
    assert max(map(len, told)) <= PAGE_EVENTS_MAX
    assert [number for page in told for number in page] == list(range(1, 1004))


def test_a_full_history_of_long_words_still_fits_its_answers() -> None:
    long = "ü" * 1000
    commands: list[Command] = [*FOUNDED]
    commands += [Grant("main", f"n{number % 3}", "failover", long, long) for number in range(EVENTS_MAX // 20)]
    assert len(pages(commands)) > 1


def test_an_event_that_went_on_is_told_again() -> None:
    _, before = ask("events", FOUNDED)
    _, page = ask("events", STARTED, after=before["last"])
    assert [(event["id"], event["state"]) for event in page["events"]] == [(3, "done")]
    assert ask("events", STARTED, after=page["last"])[1]["events"] == []


@pytest.mark.parametrize(
    ("params", "ids"),
    [
        ({"kind": "election"}, [2]),
        ({"workload": "main"}, [3]),
        ({"workload": "web"}, []),
        ({"since": 2001}, [3]),
        ({"newest": 2}, [2, 3]),
    ],
)
def test_what_is_asked_for_is_what_comes(params: dict[str, Any], ids: list[int]) -> None:
    assert pages(STARTED, **params) == [ids]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("events", {"after": "7"}),
        ("events", {"after": -1}),
        ("events", {"since": True}),
        ("events", {"newest": 1.5}),
        ("events", {"kind": 7}),
        ("events", {"workload": "w" * 256}),
        ("event", {"id": "last"}),
        ("event", {"id": 2**63}),
    ],
)
def test_bad_parameters_are_named(method: str, params: dict[str, Any]) -> None:
    with pytest.raises(ParamsError, match=f"`{next(iter(params))}`"):
        ask(method, STARTED, **params)


def test_what_took_the_place_of_a_failed_move_belongs_to_its_story() -> None:
    _, told = ask("event", ROLLED_BACK, id=5)
    assert (told["event"]["state"], told["followed_by"]["id"]) == ("failed", 7)
    _, told = ask("event", ROLLED_BACK)
    assert (told["event"]["kind"], told["event"]["downtime_seconds"], told["followed_by"]) == ("rollback", 3.0, None)


@pytest.mark.parametrize(
    ("after", "longest", "shortest"),
    [
        ([Grant("main", "n2", "failover", phases=(Phase("detect", 1.0), Phase("lease", 2.0)))], 3.5, 0.0),
        ([Grant("main", "n2", "failover", phases=(Phase("lease", 2.0), Phase("grant", 0.1)))], None, 0.1),
        ([Release("main", 3, "leaving"), Grant("main", "n2", "handover", phases=(Phase("grant", 0.2),))], None, 0.2),
        ([Release("main", 3, "failed"), Grant("main", "n2", "failover", phases=(Phase("grant", 0.2),))], None, 0.2),
        ([Release("main", 3, "restarted"), Grant("main", "n1", "placement", phases=(Phase("grant", 0.2),))], None, 0.2),
    ],
)
def test_a_downtime_has_an_upper_bound_only_where_its_beginning_was_seen(
    after: list[Command], longest: float | None, shortest: float
) -> None:
    _, told = ask("event", [*STARTED, *after, Started("main", 4 + len(after), 0.5)])
    event = told["event"]
    assert (event["downtime_seconds"], event["downtime_at_least_seconds"]) == (longest, shortest)


def test_what_was_not_down_has_no_downtime() -> None:
    _, told = ask("event", STARTED, id=3)
    assert (told["event"]["downtime_seconds"], told["event"]["downtime_at_least_seconds"]) == (None, None)


def test_an_event_nobody_knows_is_refused() -> None:
    ok, body = ask("event", STARTED, id=99)
    assert not ok
    assert body["message"] == "no event 99: the history holds 1 to 3"
    assert ask("event", [], id=99)[1]["message"] == "no event 99: the history is empty"
    assert ask("event", [])[1]["event"] is None


def test_every_node_tells_the_same_and_who_asked() -> None:
    with Live(3) as live:
        live.formed()

        def told(name: str, number: int) -> dict[str, Any]:
            ok, body = live.call(name, "event", {"id": number})
            return dict(body["event"]) if ok else {"state": "not there yet"}

        moved = live.ask("n3", "switchover", {"to": "n2", "reason": "disk", "operator": "ann@desk"})["operation"]
        live.until(lambda: all(told(name, moved)["state"] == "done" for name in live.nodes))
        first, second, third = (told(name, moved) for name in live.nodes)
        assert first == second == third
        assert (first["operator"], first["reason"], first["kind"]) == ("ann@desk", "disk", "switchover")
        assert [phase["name"] for phase in first["phases"]] == ["stop", "grant", "start"]
        unnamed = live.ask("n2", "switchover", {"to": "n1"})["operation"]
        live.until(lambda: told("n1", unnamed).get("operator") == "an operator")


def test_a_simulation_is_answered_by_another_process_and_only_one_at_a_time() -> None:
    with Live(3) as live:
        assert live.refused("n1", "simulate", {"fault": "kill n1"})["code"] == "refused"
        live.formed()
        for fault in (None, 7, "", "x" * 501):
            assert live.refused("n1", "simulate", {"fault": fault})["code"] == "usage"
        first = live.post("n1", "simulate", {"fault": "kill n1"})
        live.until(lambda: live["n1"].control.simulations.busy)
        assert live.refused("n1", "simulate", {"fault": "kill n2"})["code"] == "unavailable"
        ok, told = live.answered(first)
        assert ok, told
        assert (told["fault"], told["overlaps"]) == ("kill n1", 0)
        assert live.refused("n1", "simulate", {"fault": "paint n1"})["code"] == "usage"
        assert live.refused("n1", "simulate", {"fault": "kill n1"}, role="viewer")["code"] == "auth"


def test_a_simulation_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate_control, "WALL_S", 0.2)
    monkeypatch.setattr(simulate_control, "COMMAND", (sys.executable, "-c", "import time; time.sleep(600)"))
    with Live() as live:
        live.formed()
        assert "did not end within" in live.refused("n1", "simulate", {"fault": "kill n1"})["message"]


@pytest.mark.parametrize("script", ["import sys; sys.exit(3)", "print('[]')", "print('nonsense')", ""])
def test_a_process_that_fails_is_told_as_a_failure(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(simulate_control, "COMMAND", (sys.executable, "-c", script))
    with Live() as live:
        live.formed()
        assert "the simulation failed" in live.refused("n1", "simulate", {"fault": "kill n1"})["message"]
