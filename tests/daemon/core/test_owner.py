"""A node as an owner: it runs what it holds, lets go in the right order, and never starts a token twice."""

from __future__ import annotations

from typing import Any

import pytest

from mltb_transport.messages import Release, Renew, Renewed, Settled, Started
from mltbd.core.effects import Arm, Effect, StartWorkload, StopWorkload
from mltbd.core.events import GuardSays, Recovered
from mltbd.core.outbox import Outbox
from mltbd.core.owner import SETTLED_S, Owner
from mltbd.core.workload import Patience
from mltbd.state.placements import Placement
from tests.daemon.core.core_kit import TIMING, WALL, levels, of

INF = float("inf")
EMPTY = Placement("main")
THEIRS = Placement("main", "n2", 10, started=True)
MINE = Placement("main", "n1", 10)
RUNS = Placement("main", "n1", 10, started=True)


class Post:
    """n1 as an owner, its guard's words in short, and what it asks for."""

    def __init__(self, incarnation: int = 1, granted_after: int = 5, names: tuple[str, ...] = ("main",)) -> None:
        self.out = Outbox()
        first_number = Recovered("disk", incarnation, 0, "", ()).first_number
        self.owner = Owner("n1", names, TIMING, Patience(), self.out, first_number, granted_after)
        if granted_after:
            self.owner.begins_after(granted_after)  # There is no earlier disk.
        self.placement, self.applied, self.now = EMPTY, 10, 100.0

    def tick(self, placement: Placement | None = None, now: float | None = None) -> list[Any]:
        """One look at the placement; what is asked of the leader."""
        self.placement = placement or self.placement
        self.now = self.now if now is None else now
        self.owner.tick({"main": self.placement}, self.applied, self.now, WALL)
        return self.owner.requests()

    def says(self, what: str, token: int = 10, **more: Any) -> None:
        self.owner.guard_says(GuardSays(what, "main", token, **more), self.now, WALL)

    def confirm(self, request: Renew) -> list[Effect]:
        self.owner.renewed(Renewed("main", request.token, request.nonce, True), WALL)
        return self.out.take()

    def run(self, placement: Placement = MINE) -> None:
        """Granted, confirmed, started."""
        (request,) = self.tick(placement)
        self.confirm(request)
        self.tick()
        self.says("running", placement.token, pid=7)
        self.out.take()

    def state(self) -> str:
        return self.owner.workloads["main"].state


# -- taking over ---------------------------------------------------------------------------------------------------


def test_a_grant_is_claimed_confirmed_armed_and_only_then_started() -> None:
    post = Post()
    (request,) = post.tick(MINE)
    assert (request.workload, request.token) == ("main", 10)
    assert post.out.take() == []
    post.now += 0.2
    assert post.confirm(request) == [Arm("main", 10, 100.0 + TIMING.hold_s)]  # from the asking on
    post.tick()
    assert of(StartWorkload, post.out.take()) == [StartWorkload("main", 10, TIMING.grace_s)]
    assert not post.owner.holds_now("main", post.now)
    post.says("running", pid=7)
    assert post.owner.holds_now("main", post.now)
    assert not post.owner.holds_now("main", 100.0 + TIMING.hold_s)


def test_a_confirmation_that_leaves_no_time_starts_nothing() -> None:
    post = Post()
    (request,) = post.tick(MINE)
    post.confirm(request)
    post.tick(now=100.0 + TIMING.hold_s - TIMING.grace_s)
    assert post.out.take() == []
    assert post.state() == "STOPPED"


def test_a_lease_is_renewed_at_its_pace_with_ever_new_nonces() -> None:
    post = Post(incarnation=3)
    (first,) = post.tick(MINE)
    assert first.nonce == Recovered("disk", 3, 0, "", ()).first_number + 1
    assert post.tick(now=100.0 + TIMING.renew_s - 0.001) == []
    (second,) = post.tick(now=100.0 + TIMING.renew_s)
    assert second.nonce == first.nonce + 1
    assert post.owner.next_deadline() == pytest.approx(100.0 + 2 * TIMING.renew_s)


def test_nonces_of_two_incarnations_never_meet() -> None:
    old, new = Post(incarnation=1), Post(incarnation=2)
    (asked,) = old.tick(MINE)
    new.tick(MINE)
    assert new.confirm(asked) == []


def test_an_answer_counts_once() -> None:
    post = Post()
    (request,) = post.tick(MINE)
    assert len(post.confirm(request)) == 1
    assert post.confirm(request) == []


def test_an_answer_about_what_we_do_not_hold_changes_nothing() -> None:
    post = Post()
    post.tick(THEIRS)
    post.owner.renewed(Renewed("main", 10, 1, True), WALL)
    post.owner.renewed(Renewed("other", 10, 1, True), WALL)
    assert post.out.take() == []


def test_asking_again_is_only_ever_sooner() -> None:
    post = Post()
    post.tick(MINE)
    post.owner.ask_again(100.1)
    assert post.owner.next_deadline() == 100.1
    post.owner.ask_again(100.2)
    assert post.owner.next_deadline() == 100.1


# -- refused -------------------------------------------------------------------------------------------------------


def test_a_refused_renewal_stops_it_and_ends_the_lease() -> None:
    post = Post()
    post.run(RUNS)
    (request,) = post.tick(now=100.0 + TIMING.renew_s)
    post.owner.renewed(Renewed("main", 10, request.nonce, False, "token 12 belongs to n2"), WALL)
    effects = post.out.take()
    assert StopWorkload("main", 10) in effects
    assert levels(effects) == ["warning"]
    assert not post.owner.holds_now("main", post.now)
    assert post.confirm(request) == []  # a yes to the same question comes too late
    (again,) = [asked for asked in post.tick(now=post.now + 3 * TIMING.renew_s) if isinstance(asked, Renew)]
    post.owner.renewed(Renewed("main", 10, again.nonce, False, "token 12 belongs to n2"), WALL)
    assert levels(post.out.take()) == []  # told once, however late the log comes


@pytest.mark.parametrize(("token", "off"), [(9, 0), (10, 1)])
def test_a_refusal_of_something_else_stops_nothing(token: int, off: int) -> None:
    post = Post()
    post.run(RUNS)
    (request,) = post.tick(now=100.0 + TIMING.renew_s)
    post.owner.renewed(Renewed("main", token, request.nonce + off, False, "no"), WALL)
    assert post.out.take() == []
    assert post.state() == "RUNNING"


# -- letting go ----------------------------------------------------------------------------------------------------


def test_asked_to_move_it_stops_first_and_lets_go_when_the_tree_is_gone() -> None:
    post = Post()
    post.run(RUNS)
    asked = Placement("main", "n1", 10, started=True, moving=20)
    assert post.tick(asked) == []
    assert post.out.take() == [StopWorkload("main", 10)]
    (renewal,) = post.tick(now=100.0 + TIMING.renew_s)
    assert isinstance(renewal, Renew)  # a long stop is not a lost owner
    post.says("gone", cause="stopped")
    assert post.tick(now=102.0) == [Release("main", 10, "moved", 2.0)], "and says how long that took"
    assert not post.owner.holds_now("main", post.now)


def test_a_release_is_told_until_the_log_shows_it_and_the_token_never_starts_again() -> None:
    post = Post()
    post.run(RUNS)
    post.tick(Placement("main", "n1", 10, started=True, moving=20))
    post.says("gone", cause="stopped")
    told = [release for step in (1, 1.5, 2.1, 3.2) for release in post.tick(now=100.0 + TIMING.renew_s * step)]
    assert [round(release.took_s / TIMING.renew_s, 3) for release in told] == [1, 2.1, 3.2], "since it was told to stop"
    assert not post.owner.idle()
    post.out.take()
    # The move was given up: the placement is ours as before, but the release may still be on its way.
    assert [(release.token, release.took_s) for release in post.tick(RUNS, now=200.0)] == [(10, 100.0)]
    assert post.out.take() == []
    assert post.tick(Placement("main", "", 10), now=201.0) == []
    assert post.owner.idle()


def test_a_new_token_starts_after_an_old_one_was_given_back() -> None:
    post = Post()
    post.run(RUNS)
    post.tick(Placement("main", "n1", 10, started=True, moving=20))
    post.says("gone", cause="stopped")
    post.tick()
    post.tick(Placement("main", "", 10))
    post.applied = 30
    post.run(Placement("main", "n1", 30))
    assert (post.state(), post.owner.workloads["main"].token) == ("RUNNING", 30)


def test_a_release_that_was_taken_back_and_granted_anew_at_once_is_told_no_more() -> None:
    """Both entries were applied between two looks: the owner never saw that nobody owned it."""
    post = Post(incarnation=2, granted_after=10)
    assert post.tick(Placement("main", "n1", 10)) == [Release("main", 10, "restarted")]
    post.applied = 30
    post.run(Placement("main", "n1", 30, started=True))
    requests = [post.tick(now=100.0 + TIMING.renew_s * step) for step in range(1, 5)]
    assert {type(request) for asked in requests for request in asked} == {Renew}


def test_who_leaves_gives_everything_back_and_takes_nothing_more() -> None:
    post = Post()
    post.run(RUNS)
    assert post.owner.ready(post.now) == ("main",)
    post.owner.leaving = True
    assert post.owner.ready(post.now) == ()
    post.tick()
    assert post.out.take() == [StopWorkload("main", 10)]
    assert not post.owner.idle()
    post.says("gone", cause="stopped")
    assert post.tick(now=101.5) == [Release("main", 10, "leaving", 1.5)]
    post.tick(EMPTY)
    assert post.owner.idle()
    post.applied = 30
    assert post.tick(Placement("main", "n1", 30)) == [Release("main", 30, "leaving")]


def test_what_fails_here_is_given_back_and_left_alone_for_a_while() -> None:
    post = Post()
    post.run(RUNS)
    for failure in range(3):
        post.says("gone", cause="exited", status=1)
        requests = post.tick(now=post.now + 1.0)
        for request in requests:
            if isinstance(request, Renew):
                post.confirm(request)
        if failure < 2:
            post.tick()
            post.says("running", pid=8)
    assert Release("main", 10, "failed", detail="exited with status 1") in requests
    assert post.owner.ready(post.now) == ()
    assert post.owner.next_deadline() < INF
    assert post.owner.ready(post.now + Patience().cool_s) == ("main",)


def test_superseded_it_stops_without_a_word() -> None:
    post = Post()
    post.run(RUNS)
    post.applied = 12
    assert post.tick(Placement("main", "n2", 12)) == []
    assert post.out.take() == [StopWorkload("main", 10)]
    assert post.owner.views(post.now)[0].hold_until == 0.0
    post.says("gone", cause="stopped")
    assert post.tick(now=200.0) == []


def test_superseded_by_itself_it_ends_the_old_token_before_it_starts_the_new_one() -> None:
    post = Post()
    post.run(RUNS)
    post.applied = 12
    again = Placement("main", "n1", 12)
    assert post.tick(again) == []
    assert post.out.take() == [StopWorkload("main", 10)]
    post.says("gone", cause="stopped")
    (request,) = post.tick()
    assert request.token == 12
    post.confirm(request)
    post.tick()
    assert StartWorkload("main", 12, TIMING.grace_s) in post.out.take()


def test_what_ends_somewhere_else_while_it_waits_to_start_is_forgotten() -> None:
    post = Post()
    post.run(RUNS)
    post.says("gone", cause="exited", status=1)
    assert post.state() == "BACKOFF"
    post.tick(THEIRS)
    assert post.state() == "STOPPED"


# -- a new incarnation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("token", "restarted"), [(9, True), (10, True), (11, False)])
def test_a_token_granted_before_it_was_born_is_given_back(token: int, restarted: bool) -> None:
    post = Post(incarnation=2, granted_after=10)
    post.applied = 11
    (request,) = post.tick(Placement("main", "n1", token))
    assert (request == Release("main", token, "restarted")) is restarted
    assert isinstance(request, Renew) is not restarted


def adopted() -> Post:
    post = Post(incarnation=2, granted_after=10)
    post.says("running", 10, pid=7, deadline=101.5)
    return post


def test_what_the_guard_still_runs_is_adopted_and_renewed() -> None:
    post = adopted()
    assert post.owner.holds_now("main", 101.4)
    (request,) = post.tick(RUNS)
    assert isinstance(request, Renew)
    assert post.confirm(request) == [Arm("main", 10, 100.0 + TIMING.hold_s)]
    assert post.state() == "RUNNING"


def test_what_was_adopted_may_run_again_after_a_quick_exit() -> None:
    post = adopted()
    (request,) = post.tick(RUNS)
    post.confirm(request)
    post.says("gone", cause="exited", status=1)
    post.tick(now=post.owner.next_deadline())
    assert StartWorkload("main", 10, TIMING.grace_s) in post.out.take()


def test_a_log_that_has_not_caught_up_does_not_end_what_was_adopted() -> None:
    post = adopted()
    post.applied = 9
    (request,) = post.tick(THEIRS)
    assert (request.token, post.state()) == (10, "RUNNING")
    post.applied = 10
    post.tick(RUNS)
    assert post.out.take() == []


def test_once_it_has_caught_up_an_older_token_is_superseded() -> None:
    post = adopted()
    post.applied = 12
    post.tick(Placement("main", "n2", 12))
    assert post.out.take() == [StopWorkload("main", 10)]


def test_a_workload_that_is_no_longer_configured_is_left_to_its_deadline() -> None:
    post = Post(names=("other",))
    post.says("running", 10, pid=7, deadline=101.5)
    assert post.tick(RUNS) == []
    assert post.out.take() == []
    assert post.owner.idle()


# -- what the leader is told ---------------------------------------------------------------------------------------


def test_started_is_told_until_the_log_shows_it() -> None:
    post = Post()
    post.run(MINE)
    assert Started("main", 10) in post.tick()
    assert Started("main", 10) not in post.tick()
    assert Started("main", 10) in post.tick(now=100.0 + TIMING.renew_s)
    assert Started("main", 10) not in post.tick(RUNS, now=100.0 + 2 * TIMING.renew_s)


def test_after_a_good_minute_earlier_failures_are_forgotten() -> None:
    post = Post()
    again = Placement("main", "n1", 10, started=True, attempts=2)
    post.run(again)
    assert Settled("main", 10) not in post.tick()
    assert Settled("main", 10) not in post.tick(now=100.0 + SETTLED_S - 0.01)
    assert Settled("main", 10) in post.tick(now=100.0 + SETTLED_S)
    assert Settled("main", 10) not in post.tick(now=100.0 + SETTLED_S + 1.0)
    assert Settled("main", 10) in post.tick(now=100.0 + 2 * SETTLED_S)


def test_without_earlier_failures_there_is_nothing_to_settle() -> None:
    post = Post()
    post.run(RUNS)
    assert Settled("main", 10) not in post.tick(now=100.0 + 2 * SETTLED_S)


def test_nothing_is_due_on_a_node_that_has_nothing() -> None:
    post = Post()
    assert post.tick(THEIRS) == []
    assert (post.owner.next_deadline(), post.owner.idle(), post.owner.running()) == (INF, True, False)


def test_what_was_due_at_the_last_look_is_not_due_again() -> None:
    """What it still waits for comes as an event: asking for a tick in the past would be a busy loop."""
    post = Post()
    post.run(RUNS)
    for failure in range(3):
        post.says("gone", cause="exited", status=failure)
        post.says("running", pid=8)
    for now in (100.0, 150.0, 200.0, 500.0):
        post.tick(now=now)
        assert post.owner.next_deadline() > now


@pytest.mark.parametrize(
    ("prepare", "state", "health"),
    [((), "STOPPED", "UNKNOWN"), (("running",), "RUNNING", "HEALTHY"), (("running", "gone"), "BACKOFF", "UNHEALTHY")],
)
def test_what_others_are_shown(prepare: tuple[str, ...], state: str, health: str) -> None:
    post = Post()
    for what in prepare:
        post.says(what, 10, pid=7, cause="exited", deadline=101.5)
    (view,) = post.owner.views(100.5)
    assert (view.workload, view.state, view.health) == ("main", state, health)
    assert view.hold_until == (1.0 if prepare else 0.0)
