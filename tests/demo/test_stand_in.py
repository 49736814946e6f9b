"""The demo's user: what it sent, what came back, and what it does not count."""

from __future__ import annotations

import pytest

from mltbctl.demo.answers import answer_text
from mltbctl.demo.stand_in import RATE_MAX, Sender, StandIn, StandInError
from tests.demo.api_client import call, running_stand_in, until


@pytest.mark.parametrize("rate", [0.0, -1.0, RATE_MAX + 1])
def test_rates_are_limited(rate: float) -> None:
    with running_stand_in() as stand_in, pytest.raises(ValueError, match="outside 0 to"):
        Sender(stand_in, rate)


def test_questions_are_numbered_and_answers_collected() -> None:
    with running_stand_in() as stand_in:
        sender = Sender(stand_in, 100.0)
        sender.start()
        until("five questions", lambda: len(sender.sent) >= 5)
        call(stand_in, "sendMessage", chat_id=1, text=answer_text("2", "n1", 7, 99))
        call(stand_in, "sendMessage", chat_id=1, text="hello")
        sender.finish(0.1)
        assert [answer.number for answer in sender.answers] == [2]
        assert sender.missing() == set(sender.sent) - {2}
        assert sorted(sender.sent) == list(range(1, len(sender.sent) + 1))


def test_a_question_that_may_not_have_arrived_is_not_counted() -> None:
    with running_stand_in() as stand_in:
        sender = Sender(stand_in, 100.0)
        sender.start()
        until("a question", lambda: len(sender.sent) >= 1)
        stand_in.close()
        until("it is unsure", lambda: len(sender.unsure) >= 1)
        with pytest.raises(StandInError, match="does not answer"):
            sender.finish(0.1)
        assert not sender.unsure & set(sender.sent)


def test_a_stand_in_that_cannot_start_is_an_error() -> None:
    with pytest.raises(StandInError, match="did not start"):
        StandIn({"PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere"})
