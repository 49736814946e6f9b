"""Counting answers: what counts as lost, as answered twice, and what a kill excuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltbctl.demo.answers import IN_FLIGHT_S, Answer, Tally, answer_text, parse_answer, question, tally
from mltbctl.demo.runs import Run

SECOND_NS = 1_000_000_000
DEAD = Run("n1", 5, 100, 0, 10 * SECOND_NS)


def answer(number: int, pid: int, at_s: float) -> Answer:
    return Answer(number, "n1", 5, pid, int(at_s * SECOND_NS))


def test_an_answer_is_read_back() -> None:
    assert question(17) == "/n 17"
    assert parse_answer(answer_text("17", "n2", 907, 123), 5) == Answer(17, "n2", 907, 123, 5)


@given(st.text(max_size=30))
def test_any_other_text_is_none_or_an_answer(text: str) -> None:
    found = parse_answer(text, 0)
    assert found is None or isinstance(found, Answer)


@pytest.mark.parametrize("text", ["", "17 n2 907", "x n2 907 1", "17 n2 -1 1", "17 n2 907 1 2"])
def test_other_messages_are_no_answers(text: str) -> None:
    assert parse_answer(text, 0) is None


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([answer(1, 100, 1), answer(2, 100, 2)], Tally(2, 2, 0, 0, 0)),
        ([answer(1, 100, 1)], Tally(2, 1, 0, 0, 1)),
        # Answered just before the kill, then again by the successor: it was in flight.
        ([answer(1, 100, 9.9), answer(1, 200, 12), answer(2, 200, 12)], Tally(2, 2, 1, 1, 0)),
        # Long before the kill: the acknowledgement had time to arrive.
        ([answer(1, 100, 10 - IN_FLIGHT_S - 0.1), answer(1, 200, 12), answer(2, 200, 12)], Tally(2, 2, 1, 0, 0)),
        # The first one was never killed.
        ([answer(1, 300, 9.9), answer(1, 200, 12), answer(2, 200, 12)], Tally(2, 2, 1, 0, 0)),
        # Twice by one process.
        ([answer(1, 100, 9.8), answer(1, 100, 9.9), answer(2, 200, 12)], Tally(2, 2, 1, 0, 0)),
        # Never asked.
        ([answer(1, 100, 1), answer(2, 100, 1), answer(3, 100, 1)], Tally(2, 2, 1, 0, 0)),
    ],
)
def test_tables(answers: list[Answer], expected: Tally) -> None:
    assert tally([1, 2], answers, [DEAD]) == expected
