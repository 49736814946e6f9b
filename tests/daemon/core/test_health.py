"""Verdicts from results: slow to condemn, patient at a start, and never misled by news of a run that is over."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.messages import Release, Settled
from mltbd.core.effects import StartWorkload, StopWorkload
from mltbd.core.events import Checked
from mltbd.core.health import HEALTHY, NODE, UNHEALTHY, UNKNOWN, Health, Rule, Streak
from mltbd.core.owner import SETTLED_S, Owner
from mltbd.core.workload import Patience
from mltbd.state.placements import Placement
from tests.daemon.core.core_kit import TIMING, WALL, of
from tests.daemon.core.test_owner import MINE, Post

BAD, GOOD = False, True


def verdicts(rule: Rule, results: list[bool], step_s: float = 1.0) -> list[str]:
    """What the streak says after each result; the first comes at the very start."""
    streak = Streak(rule, 0.0)
    seen = []
    for number, ok in enumerate(results):
        streak.heard(Checked("main", "c", ok), number * step_s)
        seen.append(streak.verdict)
    return seen


@pytest.mark.parametrize(
    ("rule", "results", "last"),
    [
        (Rule("main", "c", failures=3), [], UNKNOWN),
        (Rule("main", "c", failures=3), [BAD, BAD], UNKNOWN),
        (Rule("main", "c", failures=3), [BAD, BAD, BAD], UNHEALTHY),
        (Rule("main", "c", failures=3), [GOOD, BAD, BAD], HEALTHY),
        (Rule("main", "c", failures=3), [GOOD, BAD, BAD, GOOD, BAD, BAD], HEALTHY),
        (Rule("main", "c", failures=1), [GOOD, BAD], UNHEALTHY),
        (Rule("main", "c", failures=1, successes=2), [BAD, GOOD], UNHEALTHY),
        (Rule("main", "c", failures=1, successes=2), [BAD, GOOD, GOOD], HEALTHY),
        (Rule("main", "c", failures=1, successes=2), [BAD, GOOD, BAD, GOOD], UNHEALTHY),
        (Rule("main", "c", failures=1, successes=5), [GOOD], HEALTHY),
        (Rule("main", "c", failures=2, grace_s=3.0), [BAD, BAD, BAD], UNKNOWN),
        (Rule("main", "c", failures=2, grace_s=3.0), [BAD, BAD, BAD, BAD], UNKNOWN),
        (Rule("main", "c", failures=2, grace_s=3.0), [BAD, BAD, BAD, BAD, BAD], UNHEALTHY),
        (Rule("main", "c", failures=2, grace_s=9.0), [GOOD, BAD, BAD], UNHEALTHY),
    ],
)
def test_how_results_become_a_verdict(rule: Rule, results: list[bool], last: str) -> None:
    assert [UNKNOWN, *verdicts(rule, results)][-1] == last


@given(st.integers(1, 5), st.integers(1, 5), st.floats(0, 20), st.lists(st.booleans(), max_size=60))
def test_nothing_is_condemned_by_fewer_failures_in_a_row_than_asked_for(
    failures: int, successes: int, grace_s: float, results: list[bool]
) -> None:
    seen = verdicts(Rule("main", "c", failures, successes, grace_s), results)
    before = UNKNOWN
    for at, verdict in enumerate(seen):
        if verdict == UNHEALTHY != before:
            assert results[max(0, at + 1 - failures) : at + 1] == [BAD] * failures
        if verdict == HEALTHY != before and before == UNHEALTHY:
            assert results[at + 1 - successes : at + 1] == [GOOD] * successes
        before = verdict


@pytest.mark.parametrize(
    ("results", "counted", "last"),
    [
        ([(BAD, 0.0), (BAD, 0.01), (BAD, 0.02), (BAD, 29.9)], (1, 0), HEALTHY),
        ([(BAD, 0.0), (BAD, 30.0), (BAD, 59.9)], (2, 0), HEALTHY),
        ([(BAD, 0.0), (BAD, 20.0), (BAD, 40.0), (BAD, 60.0), (BAD, 80.0)], (3, 0), UNHEALTHY),
        ([(BAD, 0.0), (GOOD, 0.01), (BAD, 30.0), (BAD, 60.0)], (2, 0), HEALTHY),
        ([(BAD, 0.0), (BAD, 30.0), (BAD, 60.0), (GOOD, 61.0), (GOOD, 61.01)], (0, 1), UNHEALTHY),
        ([(BAD, 0.0), (BAD, 30.0), (BAD, 60.0), (GOOD, 61.0), (GOOD, 91.0)], (0, 2), HEALTHY),
        ([(BAD, 0.0), (BAD, 30.0), (BAD, 60.0), (GOOD, 61.0), (BAD, 61.01), (GOOD, 91.0)], (0, 1), UNHEALTHY),
    ],
)
def test_a_row_grows_once_an_interval(results: list[tuple[bool, float]], counted: tuple[int, int], last: str) -> None:
    """However often somebody looks."""
    streak = Streak(Rule("main", "c", failures=3, successes=2, interval_s=30.0), -100.0)
    for ok, at in ((GOOD, -60.0), *results):
        streak.heard(Checked("main", "c", ok), at)
    assert (streak.failures, streak.successes) == counted
    assert streak.verdict == last
    assert streak.last_at == results[-1][1], "each is shown"


SECONDS = st.floats(0.001, 100.0)


@given(
    st.integers(1, 4),
    SECONDS,
    st.floats(0, 1e7),
    st.lists(st.floats(0, 5.0), min_size=9, max_size=9),
    st.lists(st.floats(0, 10.0), max_size=30),
    st.floats(0, 3.0),
)
def test_looks_by_hand_make_a_verdict_neither_sooner_than_its_rule_nor_later(
    failures: int, interval_s: float, began: float, took_s: list[float], by_hand: list[float], well: float
) -> None:
    """`by_hand` and `well`, after which it is ill, in intervals since it began."""
    scheduled = [began]
    for seconds in took_s:
        scheduled.append(scheduled[-1] + interval_s + seconds)
    ill_at = began + well * interval_s
    rule = Rule("main", "c", failures, interval_s=interval_s)

    def condemned_at(looks: list[float]) -> float:
        streak = Streak(rule, began)
        for at in sorted(looks):
            streak.heard(Checked("main", "c", at < ill_at), at)
            if streak.verdict == UNHEALTHY:
                return at
        return float("inf")

    at = condemned_at([*scheduled, *(began + part * interval_s for part in by_hand)])
    assert at <= condemned_at(scheduled)
    assert at >= ill_at + (failures - 1) * interval_s * (1 - 1e-6) - 1e-6


def test_the_worst_verdict_counts_and_each_place_has_its_own() -> None:
    health = Health([Rule("main", "a", 1), Rule("main", "b", 1), Rule(NODE, "disk", 1)])
    assert (health.of("main"), health.of(NODE), health.of("other")) == (UNKNOWN, UNKNOWN, HEALTHY)
    health.heard(Checked("main", "a", GOOD), 0.0)
    assert health.of("main") == UNKNOWN
    health.heard(Checked("main", "b", BAD, "no answer"), 0.0)
    assert (health.of("main"), health.of(NODE)) == (UNHEALTHY, UNKNOWN)
    assert health.troubles("main") == ("check `b`: no answer",)
    health.begin("main", 1.0)
    assert (health.of("main"), health.troubles("main")) == (UNKNOWN, ())
    health.heard(Checked("main", "never written", BAD), 0.0)
    assert health.of("main") == UNKNOWN


def test_what_a_check_says_is_cut() -> None:
    health = Health([Rule(NODE, "c", 1)])
    health.heard(Checked(NODE, "c", BAD, "x" * 9999), 0.0)
    assert len(health.troubles(NODE)[0]) < 250


# -- what an owner makes of it ---------------------------------------------------------------------------------------


class Watched(Post):
    """n1 as an owner whose workload has a check; two failures in a row condemn."""

    def __init__(self, *rules: Rule) -> None:
        super().__init__()
        health = Health(rules or (Rule("main", "http", failures=2),))
        self.owner = Owner("n1", ("main",), TIMING, Patience(3, 60.0, 10.0), self.out, 1, 5, health)
        self.owner.begins_after(5)

    def looks(self, *results: bool, pid: int = 7, token: int = 10, workload: str = "main", check: str = "http") -> None:
        for ok in results:
            self.owner.checked(Checked(workload, check, ok, "" if ok else "deaf", token, pid), self.now, WALL)

    def dies(self) -> None:
        self.says("gone", cause="stopped")

    def comes_back(self, pid: int) -> None:
        """The back-off is over; it runs again. `now` stays within the lease, which is renewed."""
        self.now = max(self.now, self.owner.workloads["main"].start_at)
        for request in self.tick():
            self.confirm(request)
        self.tick()
        assert of(StartWorkload, self.out.take())
        self.says("running", pid=pid)

    @property
    def view(self) -> Any:
        return self.owner.views(self.now)[0]


def test_a_run_counts_as_good_only_after_its_checks_would_have_noticed_that_it_is_not() -> None:
    post = Watched(Rule("main", "http", failures=1, notices_s=90.0))
    post.run()
    post.looks(GOOD)
    workload = post.owner.workloads["main"]
    assert workload.steady_at == post.now + 90.0
    for restarts in (1, 2):
        post.now += 60.0  # It has passed for long, as one may that answers once and then never again.
        post.looks(BAD)
        post.dies()
        assert (workload.failures, workload.state) == (restarts, "BACKOFF")
        post.now = workload.start_at
        workload.start(10, 0.3, WALL, post.out)
        post.says("running", pid=7)
        post.looks(GOOD)
    post.now += 60.0
    post.looks(BAD)
    post.dies()
    assert post.state() == "FAILED", "it is moved"


def test_a_deaf_run_is_ended_and_started_again_after_a_pause() -> None:
    post = Watched()
    post.run()
    post.looks(GOOD, BAD)
    assert post.state() == "RUNNING"
    post.looks(BAD)
    assert of(StopWorkload, post.out.take()) == [StopWorkload("main", 10)]
    assert (post.view.health, post.view.reason) == ("UNHEALTHY", "check `http`: deaf")
    post.dies()
    assert post.state() == "BACKOFF"
    assert post.view.restarts == 1
    post.comes_back(8)
    assert post.state() == "RUNNING"
    assert (post.view.health, post.view.reason) == ("UNKNOWN", "")


def test_news_of_a_run_that_is_over_says_nothing_about_the_next() -> None:
    post = Watched()
    post.run()
    post.looks(BAD, BAD)
    post.dies()
    post.looks(BAD, BAD)
    post.comes_back(8)
    post.looks(BAD, BAD, pid=7)
    post.looks(BAD, BAD, token=9, pid=8)
    assert post.state() == "RUNNING"


def test_deaf_again_and_again_it_is_given_back_however_long_each_run_lasted() -> None:
    post = Watched()
    post.run()
    for number in range(3):
        post.now += 30.0  # Much longer than what makes an unwatched run a good one.
        post.looks(BAD, BAD, pid=7 + number)
        post.dies()
        if number < 2:
            assert post.state() == "BACKOFF"
            post.comes_back(8 + number)
    assert post.state() == "FAILED"
    assert [r.cause for r in post.tick() if isinstance(r, Release)] == ["failed"]
    assert post.owner.ready(post.now) == ()


def test_a_run_that_was_well_for_long_enough_makes_up_for_earlier_ones() -> None:
    post = Watched()
    post.run()
    for number in range(5):
        post.looks(GOOD, pid=7 + number)
        post.now += 10.0
        post.looks(BAD, BAD, pid=7 + number)
        post.dies()
        assert post.state() == "BACKOFF"
        assert post.owner.workloads["main"].failures == 1
        post.comes_back(8 + number)


def test_only_what_is_well_settles() -> None:
    post = Watched()
    placement = Placement("main", "n1", 10, started=True, attempts=1)
    post.run(placement)
    for _ in range(2):
        post.now += SETTLED_S
        assert not [r for r in post.tick() if isinstance(r, Settled)]
    post.looks(GOOD)
    assert not [r for r in post.tick() if isinstance(r, Settled)]
    post.now += SETTLED_S
    assert [r for r in post.tick() if isinstance(r, Settled)] == [Settled("main", 10)]


def test_a_move_that_comes_while_a_deaf_run_ends_gets_its_way() -> None:
    post = Watched()
    post.run()
    post.looks(BAD, BAD)
    post.tick(Placement("main", "n1", 10, started=True, moving=11))
    post.dies()
    assert [r.cause for r in post.tick() if isinstance(r, Release)] == ["moved"]


def test_a_node_that_is_unfit_takes_nothing_and_keeps_what_it_runs() -> None:
    post = Watched(Rule(NODE, "disk", failures=2))
    post.run()
    post.looks(BAD, workload=NODE, check="disk")
    assert post.owner.ready(post.now) == ("main",)
    post.looks(BAD, workload=NODE, check="disk")
    assert post.owner.ready(post.now) == ()
    post.tick()
    assert post.state() == "RUNNING"
    post.looks(GOOD, workload=NODE, check="disk")
    assert post.owner.ready(post.now) == ("main",)
    assert post.placement == MINE
