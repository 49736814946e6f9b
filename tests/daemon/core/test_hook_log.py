"""Reports of hooks on their way into the log: told until they are heard, each once, and never without end."""

from __future__ import annotations

from mltb_transport.messages import Entry, Grant, Release
from mltb_transport.supervision import Hooked
from mltbd.core.events import HookEnded
from mltbd.core.hook_log import HOOKS_MAX, HookLog
from mltbd.state.placements import Placement, Placements
from tests.daemon.core.core_kit import levels
from tests.daemon.core.test_owner import MINE, Post

OK = HookEnded("main", 10, "pre_start", 0.5, ok=True)
BAD = HookEnded("main", 10, "post_stop", 0.5, ok=False, detail="exited with status 1")


def mine(hooked: int = 0, token: int = 10, owner: str = "n1") -> Placement:
    return Placement("main", owner, token, hooked=hooked)


def test_a_report_is_told_again_until_it_was_heard() -> None:
    log = HookLog(1.0)
    log.ended(OK, 7)
    told = [Hooked("main", 10, 7, "pre_start", 0.5, True)]
    assert log.due(mine(), 0.0) == told
    assert log.due(mine(), 0.9) == []
    assert list(log.tell_at.values()) == [1.0]
    assert log.due(mine(), 1.0) == told
    assert log.due(mine(hooked=7), 2.0) == []
    assert not log.tell_at


def test_the_next_one_does_not_wait_and_heard_ones_are_left_out() -> None:
    log = HookLog(1.0)
    log.ended(OK, 7)
    log.due(mine(), 0.0)
    log.ended(BAD, 8)
    assert [each.number for each in log.due(mine(), 0.1)] == [7, 8]
    assert [each.number for each in log.due(mine(hooked=7), 1.1)] == [8]


def test_what_belongs_to_another_token_is_forgotten() -> None:
    for placement in (mine(token=11), mine(owner="")):
        log = HookLog(1.0)
        log.ended(OK, 7)
        assert log.due(placement, 0.0) == []
        assert log.due(mine(), 1.0) == []


def test_only_so_many_wait() -> None:
    log = HookLog(1.0)
    for number in range(1, HOOKS_MAX + 4):
        log.ended(OK, number)
    assert [each.number for each in log.due(mine(), 0.0)] == list(range(4, HOOKS_MAX + 4))


def test_details_are_cut() -> None:
    log = HookLog(1.0)
    log.ended(HookEnded("main", 10, "pre_start", 0.5, ok=False, detail="x" * 9999), 1)
    assert len(log.due(mine(), 0.0)[0].detail) == 200


def test_an_owner_reports_before_it_lets_go() -> None:
    post = Post()
    post.run()
    post.tick(Placement("main", "n1", 10, started=True, moving=11))
    post.out.take()
    post.owner.hook_ended(BAD)
    assert levels(post.out.take()) == ["warning"]
    post.says("gone", cause="stopped")
    kinds = [type(each) for each in post.tick()]
    assert kinds.index(Hooked) < kinds.index(Release)


def test_what_is_being_prepared_is_adopted_and_does_not_count_as_running() -> None:
    post = Post(granted_after=10)
    post.says("starting", deadline=101.0)
    assert post.state() == "STARTING"
    requests = post.tick(MINE)
    assert not [each for each in requests if isinstance(each, Release)], "its token is adopted, not given back"
    assert not post.owner.holds_now("main", 100.0)
    post.says("running", pid=9)
    assert post.state() == "RUNNING"


def test_what_stops_is_waited_for() -> None:
    post = Post(granted_after=10)
    post.says("stopping", deadline=101.0)
    assert post.state() == "STOPPING"
    post.tick(MINE)
    post.says("gone", cause="exited")
    assert post.state() == "STOPPED"


def test_the_log_keeps_the_last_number_of_each_token() -> None:
    placements = Placements()

    def add(index: int, command: Grant | Hooked) -> int:
        placements.apply(Entry(index, 1, 0, command))
        return placements.get("main").hooked

    add(5, Grant("main", "n1", "placement"))
    assert add(6, Hooked("main", 5, 100, "pre_start", 0.1, True)) == 100
    assert add(7, Hooked("main", 5, 99, "pre_start", 0.1, True)) == 100
    assert add(8, Hooked("main", 4, 200, "pre_start", 0.1, True)) == 100
    assert add(9, Grant("main", "n2", "switchover")) == 0
    assert add(10, Hooked("main", 9, 3, "pre_start", 0.1, True)) == 3


def test_an_owner_numbers_each_report_anew() -> None:
    post = Post()
    post.run()
    for event in (OK, BAD):
        post.owner.hook_ended(event)
    first, second = [each for each in post.tick() if isinstance(each, Hooked)]
    assert first.number < second.number
