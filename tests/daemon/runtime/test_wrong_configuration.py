"""A wrong configuration: the end of the first daemon of a guard; a later one reads it again until it is right."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from mltbd.orders import EXIT_ANEW, EXIT_CONFIG, FD_VARIABLE, Tell, channel, decode
from mltbd.runtime.wrong_configuration import Judged, outlast, pauses_s

AGAIN = "the configuration is read again until it is right"
RIGHT: Judged = ([], True)


class Later:
    """A daemon whose configuration is wrong, the guard's end of its line, and what it says."""

    def __init__(self) -> None:
        self.guard, theirs = channel()
        self._fd = theirs.detach()
        self.said: list[str] = []

    def report(self, **body: Any) -> None:
        self.guard.send(json.dumps(body).encode())

    def outlasts(self, *readings: Judged) -> int:
        """Of a file that reads like this each time."""
        left = iter(readings)
        return outlast(lambda: next(left), ["error: first"], self.said.extend, {FD_VARIABLE: str(self._fd)})


@pytest.fixture
def later() -> Iterator[Later]:
    later = Later()
    yield later
    later.guard.close()


def wrong(*words: str) -> Judged:
    return list(words), False


def test_the_first_daemon_ends_at_once(later: Later) -> None:
    later.report(**{"is": "hello", "restarts": 0})
    assert later.outlasts() == EXIT_CONFIG
    assert later.said == []
    assert outlast(lambda: RIGHT, [], later.said.extend, {}) == EXIT_CONFIG, "as does one without a guard"


def test_a_later_one_waits_until_it_is_right_and_tells_each_change_once(later: Later) -> None:
    later.report(**{"is": "hello", "restarts": 1})
    readings = [wrong("error: first"), wrong("error: other"), wrong("error: other"), RIGHT]
    assert later.outlasts(*readings) == EXIT_ANEW
    assert later.said == [AGAIN, "error: other", "the configuration is right again"]


def test_meanwhile_the_service_manager_hears_that_it_waits(later: Later) -> None:
    later.report(**{"is": "hello", "restarts": 3})
    later.outlasts(wrong("error: first"), RIGHT)
    order = decode(later.guard.recv(4096))
    assert order == Tell(("WATCHDOG=1", "STATUS=waits for a right configuration"))


@pytest.mark.parametrize(
    ("environ", "pauses"),
    [
        ({}, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]),
        ({"WATCHDOG_USEC": "4000000"}, [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]),
        ({"WATCHDOG_USEC": "200000"}, [0.05, 0.05]),
    ],
)
def test_no_pause_is_longer_than_its_watchdog_allows(environ: dict[str, str], pauses: list[float]) -> None:
    assert list(islice(pauses_s(environ), len(pauses))) == pauses


@pytest.mark.parametrize(("word", "code"), [("stop", 0), ("reload", EXIT_ANEW)])
def test_it_obeys_its_guard(later: Later, word: str, code: int) -> None:
    later.report(**{"is": "hello", "restarts": 1})
    later.report(**{"is": "gone", "workload": "main", "token": 3, "cause": "deadline", "status": -9})
    later.report(**{"is": word})
    assert later.outlasts(wrong("error: first")) == code


def test_it_ends_with_its_guard(later: Later) -> None:
    later.report(**{"is": "hello", "restarts": 1})
    later.guard.shutdown(socket.SHUT_RDWR)
    assert later.outlasts() == 0
