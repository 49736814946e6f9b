"""Journals for tests: Saves, and a journal whose acknowledgements and failures can be waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mltb_transport.messages import Entry, Grant, NoOp
from mltbd.core.effects import Save
from mltbd.core.events import Recovered
from mltbd.runtime.journal import Journal
from mltbd.runtime.journal_errors import JournalError

PATIENCE_S = 20.0
FRAME = 24 + 4096
"""Of the write-ahead log: its header and a page."""


def entries(first: int, last: int, term: int = 1, owner: str = "n1") -> tuple[Entry, ...]:
    """Entries first to last, both included; the first of them a NoOp."""
    grants = [Entry(index, term, 0, Grant("main", owner, "placement")) for index in range(first, last + 1)]
    return (Entry(first, term, 0, NoOp()), *grants[1:]) if grants else ()


def save(number: int, log: tuple[Entry, ...] = (), term: int = 1, vote: str = "n1") -> Save:
    return Save(number, term, vote, log)


class Book:
    """A journal of one state directory; knows what was acknowledged and what failed."""

    def __init__(self, directory: Path, node: str = "n1", ballast_bytes: int = 0) -> None:
        self.rooms: list[bool] = []
        self.acknowledged: list[int] = []
        self.failures: list[JournalError] = []
        self._news = threading.Condition()
        self.recovered: Recovered
        self.journal, self.recovered = Journal.open(directory, node, self._fail, self._room, ballast_bytes)

    def submit(self, *saves: Save) -> None:
        for each in saves:
            self.journal.submit(each, partial(self._done, each.save))

    def write(self, *saves: Save) -> None:
        """Submit, and wait until the last one is acknowledged."""
        self.submit(*saves)
        self.wait(lambda: self.acknowledged[-1:] == [saves[-1].save])

    def wait_for_failure(self) -> JournalError:
        self.wait(lambda: bool(self.failures))
        return self.failures[0]

    def wait(self, condition: Callable[[], bool]) -> None:
        """For what an acknowledgement or a failure changes."""
        with self._news:
            assert self._news.wait_for(condition, PATIENCE_S), (self.acknowledged, self.failures)

    def close(self) -> None:
        self.journal.close()

    def __enter__(self) -> Book:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _done(self, number: int) -> None:
        with self._news:
            self.acknowledged.append(number)
            self._news.notify_all()

    def _room(self, enough: bool) -> None:
        with self._news:
            self.rooms.append(enough)
            self._news.notify_all()

    def _fail(self, error: JournalError) -> None:
        with self._news:
            self.failures.append(error)
            self._news.notify_all()
