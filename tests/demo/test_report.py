"""What the demo says in the end: the JSON of the contract, the text, and when it calls itself a success."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from mltbctl.demo.answers import Tally
from mltbctl.demo.report import Report, Step
from mltbctl.demo.runs import Overlap, Run
from mltbctl.demo.timeline import Timeline
from mltbctl.result import Style

KILLED = Step(
    kind="primary",
    source="n1",
    target="n2",
    downtime_s=3.41234567,
    unanswered_s=3.9,
    detect_s=0.71,
    leader_s=0.9,
    phases={"detect": 0.71, "lease": 2.6, "start": 0.1, "answer": 0.5},
    killed="n1",
)
SWITCHED = Step("switchover", "n2", "n3", 0.21, 0.7, phases={"stop": 0.1}, operation=7)
BACK = Step("failback", "n3", "n1", 0.19, operation=8)
GOOD = Report(
    nodes=3,
    steps=[KILLED, SWITCHED, BACK],
    messages=Tally(sent=240, answered=240, answered_twice=0, in_flight=0, lost=0),
    overlaps=[],
    runs=[Run("n1", 3, 1, 0, 9, 4_000_000), Run("n2", 5, 2, 20, 30, 9_000_000)],
    conflicts=0,
    seconds=20.5,
)
OVERLAP = Overlap(Run("n1", 1, 1, 0, 9), Run("n2", 2, 2, 5, 20), 0.25)


def test_the_json_is_the_contracts() -> None:
    data = GOOD.data()
    assert data["ok"] is True
    assert (data["nodes"], data["overlaps"], data["lost_messages"]) == (3, 0, 0)
    assert data["rounds"] == [
        {
            "killed": "n1",
            "kind": "primary",
            "new_owner": "n2",
            "downtime_seconds": 3.4123,
            "unanswered_seconds": 3.9,
            "detect_seconds": 0.71,
            "new_leader_seconds": 0.9,
            "phases": {"detect": 0.71, "lease": 2.6, "start": 0.1, "answer": 0.5},
        }
    ]
    assert data["switchover"]["from"] == "n2"
    assert data["switchover"]["operation"] == 7
    assert data["failback"]["to"] == "n1"
    assert (data["runs"], data["sampling_gap_seconds"]) == (2, 0.009)
    assert data["messages"] == {"sent": 240, "answered": 240, "answered_twice": 0, "in_flight": 0, "lost": 0}


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (replace(GOOD, overlaps=[OVERLAP]), "n1 and n2 ran at once for 0.250 s"),
        (replace(GOOD, overlaps=[OVERLAP], error="later"), "n1 and n2 ran at once for 0.250 s"),
        (replace(GOOD, error="not within 30 s: the bot runs again"), "not within 30 s"),
        (replace(GOOD, messages=Tally(9, 8, 0, 0, 1)), "1 of 9 messages were not answered"),
        (replace(GOOD, messages=Tally(0, 0, 0, 0, 0)), "0 of 0 messages were not answered"),
        (replace(GOOD, messages=Tally(9, 9, 2, 1, 0)), "1 messages were answered twice"),
    ],
)
def test_what_does_not_hold_is_no_success(report: Report, why: str) -> None:
    assert not report.ok
    assert report.data()["ok"] is False
    assert report.text(Style()).splitlines()[-1].startswith(f"✗ {why}")


def test_what_a_kill_cut_off_is_counted_and_excused() -> None:
    report = replace(GOOD, messages=Tally(9, 9, 1, 1, 0))
    assert report.ok
    assert "1 of those answered twice: the kill cut the receipt off" in report.text(Style())


@pytest.mark.parametrize("width", [80, 105, 140])
def test_the_text_fits_a_terminal_and_ascii(width: int) -> None:
    text = GOOD.text(Style(unicode=False, width=width))
    assert text.isascii()
    assert "killed n1" in text
    assert "3.41 s" in text
    assert "n1 -> n2" in text
    assert text.splitlines()[-1] == "+ it ran once, and it ran again"
    assert max(len(line) for line in text.splitlines()) <= width
    assert "lease 2.60" in text


def test_a_timeline_on_a_pipe_has_whole_lines_only() -> None:
    stream = io.StringIO()
    timeline = Timeline(stream, Style(), live=False)
    timeline.say("one", "ok")
    timeline.refresh("never shown")
    timeline.say("two", "dead", paint="red")
    timeline.clear()
    lines = stream.getvalue().splitlines()
    assert [line[6:] for line in lines] == ["s  ✓ one", "s  ✗ two"]
    assert "\x1b" not in stream.getvalue()


def test_a_live_timeline_redraws_its_last_line_and_removes_it() -> None:
    stream = io.StringIO()
    timeline = Timeline(stream, Style(colour=True, width=40), live=True)
    timeline.refresh("x" * 200)
    timeline.say("one", "ok", paint="green")
    assert stream.getvalue().count("x") == 30
    assert stream.getvalue().count("\r\x1b[K") == 2
    assert "\x1b[32m✓ one\x1b[0m" in stream.getvalue()
