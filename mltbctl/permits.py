"""So many at once, and a permit is given back whatever interrupts whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue


class Permits:
    """For threads and loops. A handler of a signal may raise anywhere in Python code: so a permit is taken and given
    back by code that is none, which a semaphore of `threading` is not: one interrupted there is locked for good."""

    def __init__(self, count: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(count):
            self._free.put(None)

    @contextmanager
    def one(self, wait_s: float) -> Iterator[bool]:
        """Whether there is one within `wait_s`; it is given back in the end."""
        taken: list[None] = []
        try:
            with suppress(Empty):
                # In one step: between two of them it could be lost.
                taken.extend(map(self._free.get, (True,), (max(0.0, wait_s),)))
            yield bool(taken)
        finally:
            for permit in taken:
                self._free.put(permit)
