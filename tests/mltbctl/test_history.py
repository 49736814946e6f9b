"""`mltbctl events` and `explain` as a user meets them, told by the daemon's own code."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mltb_transport.messages import Command, NoOp, Started
from mltbctl.commands.events import KINDS, moment
from mltbctl.completing import EVENTS_OFFERED_MAX, event_ids
from mltbctl.errors import CliError
from mltbctl.operator_name import operator_name
from mltbctl.result import Style
from mltbctl.stories import story
from tests.mltbctl import golden
from tests.mltbctl.fake_daemon import FakeDaemon, Silence
from tests.mltbctl.histories import (
    ABANDONED,
    BY_HAND,
    CAME_BACK,
    FOUNDED,
    GIVEN_UP,
    LEFT,
    LOST,
    LOST_BY_HAND,
    NOBODY_KNOWS,
    foretell,
    tell,
)
from tests.mltbctl.terminal import Terminal, environment, run_here

Serve = Callable[..., FakeDaemon]

ALL = [*FOUNDED, *LOST, *BY_HAND, *ABANDONED, *LEFT]
COMMANDS: dict[str, tuple[str, list[Command]]] = {
    "events": ("events", ALL),
    "events-json": ("events -o json --kind failover", ALL),
    "events-jsonl": ("history -o jsonl --kind switchover", ALL),
    "events-kind": ("events --kind election", ALL),
    "events-workload": ("events --workload web", ALL),
    "events-bad-since": ("events --since yesterday", ALL),
    "events-bad-kind": ("events --kind switchovers", ALL),
    "explain-failover": ("explain 6", ALL),
    "explain-failover-json": ("explain 6 -o json", ALL),
    "explain-switchover": ("explain 8", ALL),
    "explain-by-its-end": ("explain 11", ALL),
    "explain-failed": ("explain 12", ALL),
    "explain-election": ("explain 5", ALL),
    "explain-founding": ("explain 1", ALL),
    "explain-release": ("explain 14", ALL),
    "explain-last": ("explain", ALL),
    "explain-no-bound": ("explain", [*FOUNDED, *NOBODY_KNOWS]),
    "explain-no-bound-json": ("explain -o json", [*FOUNDED, *NOBODY_KNOWS]),
    "explain-handover": ("explain", [*ALL, Started("main", 15, 0.4)]),
    "explain-given-up": ("explain", [*FOUNDED, *GIVEN_UP]),
    "explain-came-back": ("explain", [*FOUNDED, *CAME_BACK]),
    "events-came-back": ("events", [*FOUNDED, *CAME_BACK]),
    "events-no-bound": ("events", [*FOUNDED, *NOBODY_KNOWS]),
    "explain-nothing": ("explain last", FOUNDED),
    "explain-nothing-json": ("explain last -o json", FOUNDED),
    "explain-election-alone": ("explain", [*FOUNDED, LOST[0]]),
    "explain-unknown": ("explain 99", ALL),
    "explain-unknown-json": ("explain 99 -o json", FOUNDED),
    "explain-bad": ("explain yesterday", FOUNDED),
    "simulate": ("simulate kill n1", FOUNDED),
    "simulate-json": ("simulate kill n1 -o json", FOUNDED),
    "simulate-unknown": ("simulate kill n9", FOUNDED),
    "simulate-nothing": ("simulate", FOUNDED),
}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_told_as_it_was(name: str, capsys: pytest.CaptureFixture[str], runtime: Path, serve: Serve) -> None:
    command, commands = COMMANDS[name]
    serve(simulate=foretell, **tell(*commands))
    outcome = run_here(capsys, *command.split())
    text = golden.transcript(f"mltbctl {command}", outcome.code, outcome.out, outcome.err)
    golden.check(f"cli-{name}", text, hidden=str(runtime))


def test_a_long_history_comes_in_pages(capsys: pytest.CaptureFixture[str], serve: Serve) -> None:
    daemon = serve(**tell(*FOUNDED, *[NoOp(f"n{number % 3}", "silence") for number in range(500)]))
    outcome = run_here(capsys, "events", "-o", "jsonl")
    assert len(outcome.out.splitlines()) == 503
    assert len(daemon.calls) == 3


def test_following_tells_what_begins_and_what_ends(runtime: Path, serve: Serve) -> None:
    grown = threading.Event()
    before, after = tell(*FOUNDED, *LOST[:2])["events"], tell(*FOUNDED, *LOST)["events"]
    serve(events=lambda params: (after if grown.is_set() else before)(params))
    with Terminal(
        "events", "--follow", "--since", "9999d", environ=environment(MLTB_RUNTIME_DIR=str(runtime))
    ) as shown:
        shown.wait_for("main is moving from n1 to n2 (failover)")
        grown.set()
        shown.wait_for("main moved from n1 to n2 (failover): n1 is lost   3.39s")
        shown.type("\x03")
        assert shown.end() == 130


NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("30s", 1_789_999_970_000),
        ("10m", 1_789_999_400_000),
        ("2h", 1_789_992_800_000),
        ("1d", 1_789_913_600_000),
        ("999999999d", 0),
        ("2026-01-31", 1_769_817_600_000),
        ("2026-01-31T12:00:00Z", 1_769_860_800_000),
        ("2026-01-31T12:00:00+01:00", 1_769_857_200_000),
    ],
)
def test_moments(text: str, ms: int) -> None:
    assert moment(text, NOW) == ms


@pytest.mark.parametrize("text", ["", "10", "-1m", "1.5h", "soon", "99999999999999999999d", "9" * 400])
def test_no_moments(text: str) -> None:
    with pytest.raises(CliError):
        moment(text, NOW)


def test_ids_are_completed_with_what_they_are(serve: Serve) -> None:
    serve(**tell(*ALL))
    offered = event_ids("")
    assert offered[0] == ("last", "the last that mattered")
    assert offered[1][0] == "15"
    assert "handover" in offered[1][1]
    assert [name for name, _ in event_ids("1")] == ["15", "14", "12", "1"]
    assert event_ids("x") == []


def test_not_all_ids_are_offered(serve: Serve) -> None:
    serve(**tell(*FOUNDED, *[NoOp(f"n{number % 3}", "silence") for number in range(90)]))
    assert len(event_ids("")) == EVENTS_OFFERED_MAX + 1


def silent(_: dict[str, Any]) -> dict[str, Any]:
    raise Silence


@pytest.mark.parametrize("answer", [silent, lambda _: {}, lambda _: {"events": [{}]}, lambda _: {"events": 7}])
def test_nothing_rather_than_noise(serve: Serve, answer: Any, capfd: pytest.CaptureFixture[str]) -> None:
    serve(events=answer)
    assert event_ids("") == []
    assert capfd.readouterr() == ("", "")


def test_every_kind_of_the_history_is_completed() -> None:
    told = {event["kind"] for event in tell(*ALL)["events"]({})["events"]}
    assert told <= set(KINDS)


def test_an_owner_that_was_lost_stopped_nothing_whoever_asked_for_the_failover() -> None:
    text = story(tell(*FOUNDED, *LOST_BY_HAND)["event"]({"id": 5}), Style(width=140))
    assert "n1, which ran `main`" in text
    assert "at most 3.38s, counted from the last sign of life" in text


def test_bars_fit_the_terminal_and_need_no_unicode() -> None:
    told = tell(*ALL)["event"]({"id": 6})
    bars = str.maketrans("█▏#|", "    ")
    whole = story(told, Style(width=500)).translate(bars).split()
    for style in (Style(width=80), Style(width=80, unicode=False)):
        text = story(told, style)
        assert max(map(len, text.splitlines())) <= 80
        assert text.translate(bars).split() == whole  # Not a word is left out.
    assert "█" not in text


def test_who_asks_is_sent_along(
    capsys: pytest.CaptureFixture[str], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("LOGNAME", "ann")
    daemon = serve(failback_cancel=lambda _: {}, **tell(*FOUNDED))
    run_here(capsys, "failback", "--cancel")
    run_here(capsys, "explain")
    assert daemon.operators == [operator_name(), ""]  # who only reads need not say so
    assert operator_name().startswith("ann@")
    monkeypatch.setenv("SUDO_USER", "eve\n\x1b" + "x" * 500)
    assert operator_name().isprintable()
    assert len(operator_name()) <= 128
