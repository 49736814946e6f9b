"""The real bot against the stand-in: it answers once, loses nothing when killed, and leaves in good order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from mltbctl.demo.answers import Answer, parse_answer, question
from mltbctl.demo.runs import overlaps, read_runs
from mltbctl.demo.stand_in import StandIn
from tests.demo.api_client import python_environment, running_bot, running_stand_in, until


def answers(stand_in: StandIn) -> list[Answer]:
    found = [parse_answer(message["text"], message["at_ns"]) for message in stand_in.sent()]
    return [answer for answer in found if answer is not None]


def ask(stand_in: StandIn, *numbers: int) -> None:
    stand_in.push(*[question(number) for number in numbers])


def test_a_successor_answers_the_backlog_of_a_killed_bot(tmp_path: Path) -> None:
    with running_stand_in() as stand_in:
        with running_bot(stand_in, "n1", tmp_path) as bot:
            ask(stand_in, 1, 2, 3)
            until("three answers", lambda: len(answers(stand_in)) == 3)
            until("all acknowledged", lambda: stand_in.counters()["pending"] == 0)
            bot.kill()
            bot.wait()
            ask(stand_in, 4, 5, 6)
            until("the dead bot's poll ended", lambda: stand_in.counters()["polling"] == 0)
            assert stand_in.counters()["pending"] == 3
        with running_bot(stand_in, "n2", tmp_path):
            until("the backlog is answered", lambda: len(answers(stand_in)) == 6)
        found = answers(stand_in)
        assert sorted(answer.number for answer in found) == [1, 2, 3, 4, 5, 6]
        assert {answer.node for answer in found if answer.number > 3} == {"n2"}
        assert stand_in.counters()["conflicts"] == 0
    runs = read_runs(tmp_path)
    assert [(run.node, run.token) for run in runs] == [("n1", 1), ("n2", 1)]
    assert overlaps(runs) == []


def test_a_bot_killed_before_it_acknowledged_loses_nothing(tmp_path: Path) -> None:
    with running_stand_in() as stand_in:
        ask(stand_in, 1)
        # Its answer hangs, so the question is in hand when the bot is killed.
        stand_in.fault("sendMessage", hold_s=60)
        with running_bot(stand_in, "n1", tmp_path) as bot:
            until("the answer hangs", lambda: stand_in.counters()["faulted"] == 1)
            bot.kill()
            bot.wait()
        with running_bot(stand_in, "n2", tmp_path):
            until("it is answered", lambda: [answer.node for answer in answers(stand_in)] == ["n2"])


def test_an_answer_that_failed_is_tried_again(tmp_path: Path) -> None:
    with running_stand_in() as stand_in:
        stand_in.fault("sendMessage", status=502)
        stand_in.fault("getUpdates", status=502)
        ask(stand_in, 1, 2)
        with running_bot(stand_in, "n1", tmp_path):
            until("both are answered", lambda: len(answers(stand_in)) == 2)
            until("both are acknowledged", lambda: stand_in.counters()["pending"] == 0)
        assert sorted(answer.number for answer in answers(stand_in)) == [1, 2]


def test_sigterm_acknowledges_what_was_answered(tmp_path: Path) -> None:
    with running_stand_in() as stand_in, running_bot(stand_in, "n1", tmp_path) as bot:
        ask(stand_in, 1)
        until("an answer", lambda: len(answers(stand_in)) == 1)
        bot.send_signal(signal.SIGTERM)
        assert bot.wait(10) == 0
        assert stand_in.counters()["pending"] == 0
        assert stand_in.counters()["polling"] == 0


def test_two_pollers_get_conflicts_and_the_checker_sees_them(tmp_path: Path) -> None:
    with (
        running_stand_in() as stand_in,
        running_bot(stand_in, "n1", tmp_path),
        running_bot(stand_in, "n2", tmp_path),
    ):
        until("a conflict", lambda: stand_in.counters()["conflicts"] > 0)
        ask(stand_in, 1)
        until("an answer", lambda: len(answers(stand_in)) >= 1)
        (found,) = overlaps(read_runs(tmp_path))
        assert {found.first.node, found.second.node} == {"n1", "n2"}


def test_without_its_environment_it_says_what_is_missing() -> None:
    environment = {name: value for name, value in python_environment().items() if not name.startswith("MLTB")}
    done = subprocess.run(
        [sys.executable, "-m", "mltbctl.demo.bot"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "error: the demo bot needs `MLTB_DEMO_API` in its environment\n"
    assert os.environ.get("MLTB_DEMO_API") is None
