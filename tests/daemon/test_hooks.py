"""Hooks under a real guard: in order, within the lease, in the workload's tree; a failing pre_start vetoes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from mltbd.processes import boottime_s, marked
from tests.daemon import trees
from tests.daemon.guarded import Guarded, alive
from tests.waiting import until

HOOKS = ("pre_start", "post_start", "pre_stop", "post_stop")
TRAPS = "import os, signal, sys, time\n"


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", TRAPS + code]


def noting(base: Path, word: str = "os.environ['MLTB_HOOK']") -> list[str]:
    """Adds a line to `notes`."""
    return python(f"open({str(base / 'notes')!r}, 'a').write({word} + '\\n')")


def hooks(timeout: float = 30.0, **commands: Any) -> dict[str, Any]:
    return {name: {"argv": argv, "timeout": timeout} for name, argv in commands.items()}


def notes(base: Path) -> list[str]:
    path = base / "notes"
    return path.read_text().split() if path.exists() else []


def bot(base: Path) -> list[str]:
    """Notes its start and its SIGTERM."""
    path = str(base / "notes")
    return python(
        f"""
def note(word):
    open({path!r}, "a").write(word + "\\n")
def stop(*_):
    note("SIGTERM")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
note("bot")
while True:
    time.sleep(600)"""
    )


def test_hooks_run_in_their_order_and_are_told(tmp_path: Path) -> None:
    every = {name: noting(tmp_path) for name in HOOKS}
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(60.0)
        guarded.start(bot(tmp_path), stop_timeout=30.0, hooks=hooks(30.0, **every))
        assert guarded.news("running")["phase"] == "running"
        until(lambda: sorted(notes(tmp_path)) == ["bot", "post_start", "pre_start"])
        assert notes(tmp_path)[0] == "pre_start"
        told = [guarded.news("hooked"), guarded.news("hooked")]
        guarded.order(do="stop", workload="main", token=1)
        assert guarded.news("gone") == {
            "is": "gone", "workload": "main", "token": 1, "cause": "stopped", "status": 0,
        }  # fmt: skip
        assert notes(tmp_path)[3:] == ["pre_stop", "SIGTERM", "post_stop"]
        told += [guarded.news("hooked"), guarded.news("hooked")]
        assert [(each["hook"], each["ok"], each["detail"]) for each in told] == [(name, True, "") for name in HOOKS]
        assert {each["token"] for each in told} == {1}


def test_a_failing_pre_start_vetoes_and_nothing_is_left(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(60.0)
        guarded.start(
            bot(tmp_path), hooks=hooks(pre_start=["bash", "-c", "sleep 600 & exit 3"], post_stop=noting(tmp_path))
        )
        told = guarded.news("hooked")
        assert (told["hook"], told["ok"], told["detail"]) == ("pre_start", False, "exited with status 3")
        assert guarded.news("failed")["error"] == "hook `pre_start`: exited with status 3"
        assert notes(tmp_path) == []
        assert guarded.run(trees.plain(tmp_path)), "it may be started again"


def test_a_hook_that_is_not_there_is_a_failing_one(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(60.0)
        guarded.start(bot(tmp_path), hooks=hooks(pre_start=["/no/such/hook"]))
        assert guarded.news("failed")["error"] == "hook `pre_start`: exited with status 127: is the command there?"


def test_a_hook_has_its_time_and_no_more(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(60.0)
        guarded.start(bot(tmp_path), hooks=hooks(0.3, pre_start=["sleep", "600"]))
        assert "killed after" in guarded.news("failed")["error"]


def test_a_failing_post_start_is_told_and_stops_nothing(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.plain(tmp_path), hooks=hooks(post_start=["false"]))
        assert guarded.news("hooked")["detail"] == "exited with status 1"
        assert alive(first)


@pytest.mark.parametrize("hook", ["pre_start", "post_start"])
def test_a_hook_ends_with_the_lease(hook: str, tmp_path: Path) -> None:
    (tmp_path / "bot").mkdir()
    with Guarded(tmp_path).meet() as guarded:
        deadline = guarded.arm(1.0)
        guarded.start(trees.plain(tmp_path / "bot"), grace=0.1, hooks=hooks(30.0, **{hook: trees.beating(tmp_path)}))
        assert guarded.news("gone")["cause"] == "deadline"
        assert trees.last_beat(tmp_path) < deadline + 0.2


@pytest.mark.parametrize("stopped", [True, False])
def test_a_hook_that_still_runs_at_the_end_is_told_with_its_time(stopped: bool, tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        slow = hooks(post_start=["sleep", "600"], pre_stop=["true"])
        first = guarded.run(trees.plain(tmp_path), stop_timeout=30.0, hooks=slow)
        began = boottime_s()
        until(lambda: boottime_s() > began + 0.3)
        if stopped:
            guarded.order(do="stop", workload="main", token=1)
        else:
            os.kill(first.pid, signal.SIGKILL)
        told = guarded.news("hooked")
        assert (told["hook"], told["detail"]) == ("post_start", "still ran when the workload ended, or was stopped")
        assert 0.1 < told["seconds"] < boottime_s() - began + 0.5


def test_a_hook_of_a_frozen_daemon_ends_with_the_lease(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        deadline = guarded.arm(1.5)
        guarded.start(trees.plain(tmp_path), hooks=hooks(pre_start=trees.daemonised(tmp_path)))
        victim = guarded.written("ready")
        os.kill(guarded.relay_pid, signal.SIGSTOP)
        until(lambda: not alive(victim))
        assert boottime_s() < deadline + 0.3
        os.kill(guarded.relay_pid, signal.SIGCONT)
        assert guarded.news("gone")["cause"] == "deadline"


def test_pre_stop_takes_half_of_the_stop_timeout_at_the_most(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(60.0)
        guarded.start(bot(tmp_path), stop_timeout=1.0, hooks=hooks(pre_stop=["sleep", "600"]))
        until(lambda: notes(tmp_path) == ["bot"])
        begin = boottime_s()
        guarded.order(do="stop", workload="main", token=1)
        assert guarded.news("gone")["cause"] == "stopped"
        assert notes(tmp_path) == ["bot", "SIGTERM"], "the rest is the workload's own"
        assert boottime_s() - begin >= 0.5
        assert "killed after" in guarded.news("hooked")["detail"]


def test_pre_stop_never_outlasts_the_lease(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(3.0)
        guarded.start(bot(tmp_path), stop_timeout=60.0, grace=0.8, hooks=hooks(pre_stop=["sleep", "600"]))
        until(lambda: notes(tmp_path) == ["bot"])
        guarded.order(do="stop", workload="main", token=1)
        assert guarded.news("gone")["cause"] == "stopped"
        assert notes(tmp_path) == ["bot", "SIGTERM"], "it hears of it before the lease ends"


def test_when_the_lease_is_lost_there_is_no_time_for_hooks(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(1.5)
        guarded.start(bot(tmp_path), grace=0.7, hooks=hooks(pre_stop=noting(tmp_path), post_stop=noting(tmp_path)))
        assert guarded.news("gone")["cause"] == "deadline"
        assert notes(tmp_path) == ["bot", "SIGTERM"]


def test_post_stop_follows_an_exit_and_its_leftovers_die_too(tmp_path: Path) -> None:
    left = trees.daemonised(tmp_path)
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(60.0)
        guarded.start(["false"], hooks=hooks(1.0, post_stop=left))
        helper = guarded.written("ready")
        gone = guarded.news("gone")
        assert (gone["cause"], gone["status"]) == ("exited", 1)
        assert not alive(helper)
        assert "killed after" in guarded.news("hooked")["detail"]


def test_what_stops_is_no_longer_running_for_the_next_daemon(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(60.0)
        guarded.start(trees.plain(tmp_path), hooks=hooks(pre_start=["sleep", "600"]))
        place = guarded.state_dir.stat()
        until(lambda: marked(f"{place.st_dev:x}-{place.st_ino:x}."))
        os.kill(guarded.relay_pid, signal.SIGKILL)
        guarded.meet()
        assert [run["phase"] for run in guarded.hello["workloads"]] == ["starting"]
        guarded.order(do="stop", workload="main", token=1)
        assert guarded.news("gone")["cause"] == "stopped"


@pytest.mark.parametrize("again", [False, True])
def test_a_stop_that_is_asked_for_again_goes_on_with_its_hooks(again: bool, tmp_path: Path) -> None:
    """By the next daemon, which hears that it stops; or by the same one."""
    go = tmp_path / "go"
    begins = f"open({str(tmp_path / 'begun')!r}, 'w').close()\n"
    waits = f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
    pre_stop = python(begins + waits + f"open({str(tmp_path / 'notes')!r}, 'a').write('pre_stop\\n')")
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(60.0)
        slow = hooks(pre_stop=pre_stop, post_stop=noting(tmp_path))
        guarded.start(bot(tmp_path), stop_timeout=60.0, hooks=slow)
        until(lambda: notes(tmp_path) == ["bot"])
        guarded.order(do="stop", workload="main", token=1)
        until((tmp_path / "begun").exists)
        if not again:
            os.kill(guarded.relay_pid, signal.SIGKILL)
            guarded.meet()
            assert [run["phase"] for run in guarded.hello["workloads"]] == ["stopping"]
        guarded.order(do="stop", workload="main", token=1)
        guarded.order(do="stop", workload="main", token=2)  # Refused, once the order before was obeyed.
        until(lambda: "does not run with token 2" in guarded.errors.read_text())
        go.touch()
        assert guarded.news("gone")["cause"] == "stopped"
        assert notes(tmp_path) == ["bot", "pre_stop", "SIGTERM", "post_stop"]


def test_a_second_signal_leaves_no_time_for_hooks(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(60.0)
        slow = hooks(pre_stop=["sleep", "600"], post_stop=["sleep", "600"])
        guarded.start(bot(tmp_path), stop_timeout=60.0, hooks=slow)
        until(lambda: notes(tmp_path) == ["bot"])
        guarded.guard.send_signal(signal.SIGTERM)
        guarded.news("stop")
        guarded.guard.send_signal(signal.SIGTERM)
        assert guarded.guard.wait(20.0) == 128 + signal.SIGTERM
        assert notes(tmp_path) == ["bot", "SIGTERM"]
