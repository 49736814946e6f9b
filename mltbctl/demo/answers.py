"""Questions and answers of the demo: their texts, and which were lost or answered twice. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mltbctl.demo.runs import Run

IN_FLIGHT_S = 0.25
"""An answer this shortly before its bot was killed may be given again: it was not acknowledged yet."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as the Bot API saw it arrive."""

    number: int
    node: str
    token: int
    pid: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the questions. Of those `answered_twice`, `in_flight` were due to a kill alone."""

    sent: int
    answered: int
    answered_twice: int
    in_flight: int
    lost: int


def question(number: int) -> str:
    """What a user writes to the bot."""
    return f"/n {number}"


def answer_text(number: str, node: str, token: int, pid: int) -> str:
    """What the bot answers; `parse_answer` reads it."""
    return f"{number} {node} {token} {pid}"


def parse_answer(text: str, at_ns: int) -> Answer | None:
    """The answer in a message of the bot; None for any other message."""
    words = text.split()
    if len(words) != 4:
        return None
    number, node, token, pid = words
    if not (number.isdecimal() and token.isdecimal() and pid.isdecimal()):
        return None
    return Answer(int(number), node, int(token), int(pid), at_ns)


def tally(sent: Iterable[int], answers: Iterable[Answer], killed: Iterable[Run]) -> Tally:
    """Counts. An answer to a question never asked counts as one given twice: it is as wrong."""
    asked = set(sent)
    given: dict[int, list[Answer]] = {}
    for answer in answers:
        given.setdefault(answer.number, []).append(answer)
    ends = {run.pid: run.last_ns for run in killed}
    twice = [number for number, found in given.items() if len(found) > 1 or number not in asked]
    excused = sum(number in asked and _in_flight(given[number], ends) for number in twice)
    answered = len(asked & given.keys())
    return Tally(len(asked), answered, len(twice), excused, len(asked) - answered)


def _in_flight(found: list[Answer], ends: Mapping[int, int]) -> bool:
    """Whether every answer but the last came from a bot that was killed just after it."""
    *earlier, last = sorted(found, key=lambda answer: answer.at_ns)
    pids = [answer.pid for answer in earlier]
    if len(set(pids)) != len(pids) or last.pid in pids:
        return False
    return all(answer.pid in ends and ends[answer.pid] - answer.at_ns <= IN_FLIGHT_S * 1e9 for answer in earlier)
