"""One run under a real guard: it ends when its lease does, wholly, and the daemon hears of it only then."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from mltbd.cages import PATHS, sites_here, works
from mltbd.processes import boottime_s, process
from tests.daemon import trees
from tests.daemon.guarded import Guarded, alive, state
from tests.waiting import until

LATE_S = 0.2


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    sites = [site for site in sites_here() if site.path == name]
    if name != "walk" and not any(works(site, f"test.{os.urandom(4).hex()}.") for site in sites):
        pytest.skip(f"kill path {name} does not work on this machine")
    return name


@pytest.mark.parametrize("kind", ["wrapped", "unmarked"])
def test_the_lease_ends_the_whole_tree_of_a_frozen_daemon(path: str, kind: str, tmp_path: Path) -> None:
    with Guarded(tmp_path, path).meet() as guarded:
        assert guarded.hello["kill_path"] == path
        first = guarded.run(trees.STUBBORN[kind](tmp_path), seconds=1.5, grace=0.1)
        deadline = guarded.arm(1.5)
        victim = guarded.written("ready")
        guarded.arm(30.0, token=2)  # A newer token does not prolong the run of an older one.
        os.kill(guarded.relay_pid, signal.SIGSTOP)
        until(lambda: not alive(first) and not alive(victim))
        assert deadline - 0.11 < boottime_s() < deadline + LATE_S
        os.kill(guarded.relay_pid, signal.SIGCONT)
        assert guarded.news("gone")["cause"] == "deadline"


def test_nothing_runs_after_the_deadline_although_the_daemon_is_frozen(path: str, tmp_path: Path) -> None:
    with Guarded(tmp_path, path).meet() as guarded:
        deadline = guarded.arm(1.0)
        guarded.start(trees.beating(tmp_path), grace=0.2)
        first = process(guarded.news("running")["pid"])
        assert first
        guarded.written("ready")
        os.kill(guarded.relay_pid, signal.SIGSTOP)
        until(lambda: not alive(first))
        assert deadline - 0.1 < trees.last_beat(tmp_path) < deadline + LATE_S
        os.kill(guarded.relay_pid, signal.SIGCONT)
        assert guarded.news("gone") == {
            "is": "gone", "workload": "main", "token": 1, "cause": "deadline", "status": -signal.SIGKILL,
        }  # fmt: skip


def test_a_renewal_prolongs_the_run(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.run(trees.beating(tmp_path), seconds=0.5)
        guarded.written("ready")
        for _ in range(3):
            deadline = guarded.arm(0.7)
            guarded.arm(0.1)  # An earlier deadline than the one it has changes nothing.
            until(lambda due=deadline: boottime_s() > due - 0.3)  # type: ignore[misc]
        assert guarded.news("gone")["cause"] == "deadline"
        assert deadline - 0.1 < trees.last_beat(tmp_path) < deadline + LATE_S


def test_what_was_told_to_end_ends_even_if_its_lease_is_renewed(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        deadline = guarded.arm(1.0)
        guarded.start(trees.beating(tmp_path), grace=0.6)
        guarded.news("running")
        guarded.written("ready")
        until(lambda: boottime_s() > deadline - 0.4)
        guarded.arm(30.0)
        assert guarded.news("gone")["cause"] == "deadline"
        assert trees.last_beat(tmp_path) < deadline + LATE_S
        assert alive(guarded.run(trees.plain(tmp_path), seconds=0.2)), "the new lease holds for a new run"


def test_sigterm_comes_a_grace_period_before_the_deadline(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        deadline = guarded.arm(1.5)
        guarded.start(trees.plain(tmp_path), grace=1.0)
        assert guarded.news("gone")["status"] == -signal.SIGTERM
        assert deadline - 1.01 < boottime_s() < deadline


def test_the_end_of_the_first_process_ends_the_rest(path: str, tmp_path: Path) -> None:
    with Guarded(tmp_path, path).meet() as guarded:
        first = guarded.run(trees.daemonised(tmp_path))
        helper = guarded.written("ready")
        os.kill(first.pid, signal.SIGKILL)
        gone = guarded.news("gone")
        assert (gone["cause"], gone["status"]) == ("exited", -signal.SIGKILL)
        assert not helper.lives()


def test_the_exit_code_is_reported(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(9.0)
        guarded.start([sys.executable, "-c", "raise SystemExit(41)"])
        assert guarded.news("running")["pid"]
        assert guarded.news("gone") == {
            "is": "gone", "workload": "main", "token": 1, "cause": "exited", "status": 41,
        }  # fmt: skip


def test_a_planned_stop_leaves_a_child_of_a_shell_its_stop_timeout(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        shell = guarded.run(trees.wrapped(tmp_path), stop_timeout=0.6)
        child = guarded.written("ready")
        begin = boottime_s()
        guarded.order(do="stop", workload="main", token=1)
        until(lambda: not alive(shell))
        assert alive(child), "its group was not given the stop timeout"
        assert guarded.news("gone")["cause"] == "stopped"
        assert not child.lives()
        assert 0.55 < boottime_s() - begin < 0.6 + 2 * LATE_S


def test_a_planned_stop_is_over_as_soon_as_the_group_is(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.run(trees.daemonised(tmp_path), stop_timeout=60.0)
        helper = guarded.written("ready")
        guarded.order(do="stop", workload="main", token=1)
        assert guarded.news("gone", 5.0)["cause"] == "stopped"
        assert not helper.lives()


@pytest.mark.parametrize("in_pre_stop", [False, True])
def test_a_planned_stop_does_not_wait_for_what_nobody_told_to_end(in_pre_stop: bool, tmp_path: Path) -> None:
    """Its first process has ended by itself: before the stop, in the same pass of the guard; or during pre_stop."""
    child = tmp_path / "child"
    child.write_text(f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/ready; while :; do sleep 9; done")
    hook = {"argv": ["sh", "-c", f"echo $$ > {tmp_path}/hook; sleep 60"], "timeout": 60}
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(
            ["sh", "-c", f"sh {child} & while :; do sleep 9; done"],
            stop_timeout=30.0, hooks={"pre_stop": hook} if in_pre_stop else {},
        )  # fmt: skip
        helper = guarded.written("ready")
        if in_pre_stop:
            guarded.order(do="stop", workload="main", token=1)
            until((tmp_path / "hook").exists)
            os.kill(first.pid, signal.SIGKILL)
        else:
            os.kill(guarded.guard.pid, signal.SIGSTOP)
            os.kill(first.pid, signal.SIGKILL)
            until(lambda: not alive(first))
            guarded.order(do="stop", workload="main", token=1)
            until(guarded.passed_on)
            os.kill(guarded.guard.pid, signal.SIGCONT)
        gone = guarded.news("gone", 5.0)
        assert (gone["cause"], gone["status"]) == ("stopped" if in_pre_stop else "exited", -signal.SIGKILL)
        assert not helper.lives()


def test_a_planned_stop_lasts_no_longer_than_the_lease(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        deadline = guarded.arm(0.8)
        guarded.start(trees.beating(tmp_path), stop_timeout=60.0)
        guarded.written("ready")
        guarded.order(do="stop", workload="main", token=1)
        assert guarded.news("gone")["cause"] == "stopped"
        assert trees.last_beat(tmp_path) < deadline + LATE_S


def test_a_stopped_process_hears_sigterm(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.stopped(tmp_path), stop_timeout=60.0)
        until(lambda: state(first.pid) == "T")
        guarded.order(do="stop", workload="main", token=1)
        assert guarded.news("gone", 5.0)["status"] == -signal.SIGTERM


def test_a_planned_stop_may_begin_with_another_signal(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.run(trees.plain(tmp_path), stop_timeout=60.0, stop_signal=int(signal.SIGUSR1))
        guarded.written("ready")
        guarded.order(do="stop", workload="main", token=1)
        assert guarded.news("gone")["status"] == -signal.SIGUSR1


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(9.0)
        guarded.start(["no-such-bot"])
        assert guarded.news("failed")["error"] == "cannot run `no-such-bot`: No such file or directory"
        guarded.start(["true"], cwd="/no/such/place")
        assert guarded.news("failed")["error"] == "cannot enter `/no/such/place`: No such file or directory"
        guarded.start(["/etc/passwd"])
        assert guarded.news("failed")["error"] == "cannot run `/etc/passwd`: Permission denied"
        guarded.run(trees.plain(tmp_path))


def test_two_workloads_end_apart(path: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with Guarded(tmp_path, path).meet() as guarded:
        guarded.run(trees.daemonised(tmp_path / "a"), workload="a", token=5)
        kept = guarded.run(trees.daemonised(tmp_path / "b"), workload="b", token=6)
        helpers = guarded.written("a/ready"), guarded.written("b/ready")
        guarded.order(do="stop", workload="a", token=5)
        assert guarded.news("gone")["workload"] == "a"
        assert [alive(row) for row in (*helpers, kept)] == [False, True, True]


def test_many_workloads_end_at_one_deadline(tmp_path: Path) -> None:
    names = [f"w{number}" for number in range(10)]
    with Guarded(tmp_path, "walk").meet() as guarded:  # The slowest path.
        for name in names:
            (tmp_path / name).mkdir()
            guarded.run(trees.beating(tmp_path / name), workload=name, seconds=5.0)
            guarded.written(f"{name}/ready")
        deadline = boottime_s() + 5.0
        for name in names:
            guarded.order(do="arm", workload=name, token=1, deadline=deadline)
        assert {guarded.news("gone")["cause"] for _ in names} == {"deadline"}
        for name in names:
            assert deadline - 0.1 < trees.last_beat(tmp_path / name) < deadline + LATE_S
