"""Permits: as many as there are, and none is lost, nor anybody locked out, by a handler that raises."""

from __future__ import annotations

import random
import signal
from contextlib import ExitStack

from mltbctl.permits import Permits


def test_there_are_so_many() -> None:
    permits = Permits(2)
    with ExitStack() as held:
        assert [held.enter_context(permits.one(0.0)) for _ in range(3)] == [True, True, False]
    with permits.one(0.0) as mine:
        assert mine


def test_a_handler_that_raises_at_any_moment_locks_nobody_out() -> None:
    class Limit(Exception):
        pass

    def alarm(*_: object) -> None:
        raise Limit

    permits, dice, interrupted = Permits(64), random.Random(1), 0
    before = signal.signal(signal.SIGALRM, alarm)
    try:
        for _ in range(3000):
            try:
                signal.setitimer(signal.ITIMER_REAL, dice.uniform(1e-6, 40e-6))
                try:
                    for _ in range(20):
                        with permits.one(10.0) as mine:
                            assert mine
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Limit:
                interrupted += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 100
    with permits.one(0.0) as mine:
        assert mine
