"""One workload's machine: starts, back-off, giving up, cooling down, and news that comes too late."""

from __future__ import annotations

from typing import Any

import pytest

from mltbd.core.effects import StartWorkload, StopWorkload
from mltbd.core.events import GuardSays
from mltbd.core.outbox import Outbox
from mltbd.core.workload import (
    BACKOFF,
    BACKOFF_FIRST_S,
    BACKOFF_MAX_S,
    FAILED,
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
    Patience,
    Workload,
)
from tests.daemon.core.core_kit import WALL, levels, of

PATIENCE = Patience(failures_max=3, cool_s=60.0, steady_s=10.0)
INF = float("inf")


class Bench:
    """A workload with its outbox, and the guard's words in short."""

    def __init__(self, patience: Patience = PATIENCE) -> None:
        self.out = Outbox()
        self.workload = Workload("main", patience)

    def says(self, what: str, now: float = 0.0, token: int = 7, **more: Any) -> str:
        self.workload.reported(GuardSays(what, "main", token, **more), now, WALL + int(now * 1000), self.out)
        return self.workload.state

    def exits(self, now: float, token: int = 7, status: int = 1) -> str:
        return self.says("gone", now, token, cause="exited", status=status)

    def run(self, now: float = 0.0, token: int = 7) -> None:
        self.workload.start(token, 0.3, WALL, self.out)
        self.says("running", now, token, pid=4711)
        self.out.take()

    def started(self) -> list[int]:
        return [effect.token for effect in of(StartWorkload, self.out.take())]

    def stopped(self) -> list[int]:
        return [effect.token for effect in of(StopWorkload, self.out.take())]


def test_a_start_is_asked_of_the_guard_and_done_when_it_says_so() -> None:
    bench = Bench()
    assert not bench.workload.alive
    bench.workload.start(7, 0.3, WALL, bench.out)
    assert bench.started() == [7]
    assert (bench.workload.state, bench.workload.alive) == (STARTING, True)
    assert bench.says("running", 1.0, pid=4711) == RUNNING
    assert (bench.workload.pid, bench.workload.since) == (4711, WALL + 1000)


def test_a_planned_stop_is_no_failure() -> None:
    bench = Bench()
    bench.run()
    bench.workload.stop(WALL, bench.out)
    assert bench.stopped() == [7]
    assert (bench.workload.state, bench.workload.alive) == (STOPPING, True)
    bench.workload.stop(WALL, bench.out)
    assert bench.stopped() == []  # asked for once
    assert bench.exits(1.0) == STOPPED  # it chose to exit while it was stopped
    assert (bench.workload.failures, bench.workload.restarts, bench.workload.pid) == (0, 0, 0)
    assert bench.workload.may_start(1.0)


@pytest.mark.parametrize("cause", ["stopped", "deadline"])
def test_an_end_by_the_guard_is_no_failure(cause: str) -> None:
    bench = Bench()
    bench.run()
    assert bench.says("gone", 1.0, cause=cause, status=-9) == STOPPED
    assert (bench.workload.failures, bench.workload.error) == (0, "")


def test_back_off_doubles() -> None:
    bench = Bench(Patience(failures_max=99))
    waits = []
    for failure in range(10):
        bench.run(now=failure * 100.0)
        assert bench.exits(failure * 100.0) == BACKOFF
        assert not bench.workload.may_start(failure * 100.0)
        waits.append(bench.workload.next_deadline() - failure * 100.0)
        assert bench.workload.may_start(bench.workload.next_deadline())
    assert waits == [BACKOFF_FIRST_S * 2**power for power in range(7)] + [BACKOFF_MAX_S] * 3
    assert bench.workload.restarts == 10


def test_after_quick_failures_it_is_given_up_here_and_left_to_cool() -> None:
    bench = Bench()
    states = []
    for failure in range(3):
        bench.run(now=float(failure))
        states.append(bench.exits(float(failure)))
    assert states == [BACKOFF, BACKOFF, FAILED]
    assert not bench.workload.alive
    assert bench.workload.next_deadline() == bench.workload.cool_until == 62.0
    assert [bench.workload.may_start(now) for now in (2.0, 61.9, 62.0)] == [False, False, True]
    bench.run(now=62.0)
    assert bench.workload.next_deadline() == INF
    assert bench.exits(62.0) == BACKOFF  # the count began anew


def test_a_good_long_run_begins_the_count_anew() -> None:
    bench = Bench()
    for begun, ended, failures in [(0.0, 1.0, 1), (2.0, 3.0, 2), (5.0, 15.0, 1), (20.0, 29.9, 2)]:
        bench.run(now=begun)
        assert bench.exits(ended) == BACKOFF
        assert bench.workload.failures == failures
    bench.run(now=40.0)
    assert bench.exits(41.0) == FAILED


@pytest.mark.parametrize("planned", [True, False])
def test_a_good_run_makes_up_for_failures_whatever_ended_it(planned: bool) -> None:
    """A planned stop, or a lost lease."""
    bench = Bench()
    for now in (0.0, 1.0):
        bench.run(now)
        assert bench.exits(now + 0.5) == BACKOFF
    bench.run(2.0)
    if planned:
        bench.workload.stop(WALL, bench.out)
    assert bench.says("gone", 13.0, cause="stopped" if planned else "deadline") == STOPPED
    bench.run(20.0, token=9)
    assert bench.exits(20.5, token=9) == BACKOFF


def test_a_start_that_failed_counts_with_its_error() -> None:
    bench = Bench()
    bench.workload.start(7, 0.3, WALL, bench.out)
    assert bench.says("failed", 1.0, cause="no such file") == BACKOFF
    assert (bench.workload.error, bench.workload.failures) == ("no such file", 1)
    assert levels(bench.out.take()) == ["warning"]


def test_an_exit_is_told_with_its_status() -> None:
    bench = Bench()
    bench.run()
    bench.exits(1.0, status=-11)
    assert bench.workload.error == "exited with status -11"


def test_a_stop_before_it_runs_is_repeated_when_it_runs() -> None:
    bench = Bench()
    bench.workload.start(7, 0.3, WALL, bench.out)
    bench.workload.stop(WALL, bench.out)
    assert bench.stopped() == [7]
    assert bench.says("running", 0.1, pid=4711) == STOPPING
    assert bench.stopped() == [7]
    assert bench.says("gone", 0.2, cause="stopped") == STOPPED


def test_a_start_that_failed_while_it_was_stopped_is_the_end_of_it() -> None:
    bench = Bench()
    bench.workload.start(7, 0.3, WALL, bench.out)
    bench.workload.stop(WALL, bench.out)
    bench.says("failed", 0.1, cause="refused")
    assert not bench.workload.alive


@pytest.mark.parametrize("failures", [1, 3])
def test_a_stop_where_nothing_runs_ends_the_waiting(failures: int) -> None:
    bench = Bench()
    for _ in range(failures):
        bench.run()
        bench.exits(0.0)
    bench.workload.stop(WALL, bench.out)
    assert bench.workload.state == STOPPED
    assert bench.stopped() == []
    # Stopped or not: what failed here lately is not started again before its time.
    assert not bench.workload.may_start(0.1)


def test_a_stop_of_what_is_stopped_changes_nothing() -> None:
    bench = Bench()
    bench.workload.stop(WALL, bench.out)
    assert (bench.workload.state, bench.out.take()) == (STOPPED, [])


@pytest.mark.parametrize("what", ["running", "gone", "failed"])
@pytest.mark.parametrize("token", [6, 8])
def test_a_report_on_another_token_is_not_about_what_runs(what: str, token: int) -> None:
    bench = Bench()
    bench.run(token=7)
    assert bench.says(what, 1.0, token, pid=9, cause="exited") == RUNNING
    assert (bench.workload.token, bench.workload.pid) == (7, 4711)


@pytest.mark.parametrize("what", ["gone", "failed"])
def test_an_end_that_is_told_twice_counts_once(what: str) -> None:
    bench = Bench()
    bench.run()
    bench.exits(0.0)
    assert bench.says(what, 0.1, cause="exited") == BACKOFF
    assert bench.workload.failures == 1


def test_what_the_guard_runs_already_is_adopted() -> None:
    bench = Bench()
    assert bench.says("running", 5.0, token=12, pid=99) == RUNNING
    assert (bench.workload.token, bench.workload.pid, bench.workload.alive) == (12, 99, True)
    assert bench.exits(16.0, token=12) == BACKOFF
    assert bench.workload.failures == 1
