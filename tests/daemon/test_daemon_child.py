"""The daemon's lives: it may die as it likes, the workload does not notice before its deadline."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from mltbd.daemon_child import BACKOFF_FIRST_S, BACKOFF_S_MAX, OUTBOX_MAX, DaemonChild
from mltbd.processes import boottime_s, process
from mltbd.spawn import Standing
from tests.daemon import trees
from tests.daemon.guarded import Guarded, alive, state
from tests.waiting import until


def test_a_killed_daemon_comes_back_to_the_same_workload(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.plain(tmp_path))
        deadline = guarded.arm(31.0)
        guarded.start(["true"], token=9)
        guarded.news("failed")  # So the renewal was heard.
        begin = boottime_s()
        os.kill(guarded.relay_pid, signal.SIGKILL)
        guarded.meet()
        assert guarded.hello["restarts"] == 1
        still = {"workload": "main", "token": 1, "pid": first.pid, "deadline": deadline, "phase": "running"}
        assert guarded.hello["workloads"] == [still]
        assert boottime_s() - begin < 2.0
        assert alive(first)
        guarded.order(do="stop", workload="main", token=1)
        assert guarded.news("gone")["cause"] == "stopped"


def test_each_daemon_is_greeted_with_what_the_last_one_had_kept(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        assert guarded.hello["configuration"] == ""
        for number in range(3):
            if number < 2:
                guarded.order(do="keep", configuration="not this")
                guarded.order(do="keep", configuration=f"configuration {number}")
            guarded.send(b"exit 1")
            guarded.meet()
            assert guarded.hello["configuration"] == f"configuration {min(number, 1)}"


def test_without_a_new_lease_the_workload_ends_at_its_deadline(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        deadline = guarded.arm(1.2)
        guarded.start(trees.beating(tmp_path))
        guarded.written("ready")
        os.kill(guarded.relay_pid, signal.SIGKILL)
        guarded.meet()
        assert guarded.news("gone")["cause"] == "deadline"
        assert deadline - 0.1 < trees.last_beat(tmp_path) < deadline + 0.2


def test_what_the_daemon_ordered_before_it_died_holds(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.plain(tmp_path))
        guarded.order(do="stop", workload="main", token=1)
        guarded.send(b"exit 7")
        guarded.meet()
        until(lambda: not alive(first))


def test_the_last_orders_of_a_daemon_that_left_news_unread_are_read(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.plain(tmp_path))
        guarded.send(b"read no more")
        guarded.start(["true"], token=9)
        until(lambda: guarded.passed_on() and state(guarded.guard.pid) == "S")
        os.kill(guarded.guard.pid, signal.SIGSTOP)  # So that it finds order and death at once.
        guarded.order(do="stop", workload="main", token=1)
        guarded.send(b"exit 7")
        until(lambda: state(guarded.relay_pid) == "Z")
        os.kill(guarded.guard.pid, signal.SIGCONT)
        guarded.meet()
        until(lambda: not alive(first))


def test_crashes_in_a_row_are_spaced_out(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        begin = boottime_s()
        for restarts in range(4):
            guarded.meet()
            assert guarded.hello["restarts"] == restarts
            guarded.send(b"exit 0")  # Nobody asked it to stop, so this is a crash too.
        guarded.meet()
        # None before the first restart, then a tenth of a second, doubled twice.
        assert boottime_s() - begin >= 7 * BACKOFF_FIRST_S


def test_restarts_that_the_daemon_asks_for_are_no_crashes() -> None:
    """As after a reload, and after many in a row; the first has no pause at all."""
    child = DaemonChild(["true"], Standing(0, None))

    def pause_s(wanted: bool) -> float:
        before = boottime_s()
        child.postpone(wanted=wanted)
        return child.due() - before

    pauses = [pause_s(wanted=True) for _ in range(20)]
    assert pauses[0] < 0.05
    assert all(BACKOFF_FIRST_S <= pause < BACKOFF_FIRST_S + 0.05 for pause in pauses[1:]), pauses
    for _ in range(8):
        pause_s(wanted=False)
    assert pause_s(wanted=True) < BACKOFF_FIRST_S + 0.05, "after crashes too"
    assert pause_s(wanted=False) >= BACKOFF_S_MAX, "which still count"


def test_the_guard_knows_a_daemon_that_begins_anew(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        for _ in range(5):
            guarded.meet()
            guarded.send(b"exit 5")
        guarded.meet()
        assert guarded.errors.read_text().count("the daemon ended with 5: restart in 0.1 s") == 4


def test_a_daemon_that_hangs_up_is_replaced(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.plain(tmp_path))
        old = guarded.relay_pid
        guarded.send(b"hang up")
        guarded.meet()
        assert guarded.relay_pid != old
        assert state(old) == "-"
        assert alive(first)


def test_a_daemon_that_never_reads_is_replaced(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        old = process(guarded.relay_pid)
        assert old
        guarded.send(b"read no more")
        # Each is refused, and the refusals pile up: in the socket first, then with the guard.
        refused = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while refused < 20 * OUTBOX_MAX:
                guarded.start(["true"], token=9, env={})
                refused += 1
        assert OUTBOX_MAX < refused < 20 * OUTBOX_MAX
        guarded.meet()
        assert not old.lives()


def test_the_daemon_dies_with_its_guard(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        daemon = process(guarded.relay_pid)
        assert daemon
        os.kill(daemon.pid, signal.SIGSTOP)  # It cannot see for itself.
        os.kill(guarded.guard.pid, signal.SIGKILL)
        until(lambda: not alive(daemon))


def test_a_daemon_that_cannot_be_started_for_want_of_files_is_tried_again_with_pauses(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.plain(tmp_path))
        with guarded.without_files():
            guarded.send(b"exit 1")
            until(lambda: "cannot start a process" in guarded.errors.read_text())
            with contextlib.suppress(AssertionError):
                until(lambda: "attempt 16:" in guarded.errors.read_text(), 1.0)
            assert "attempt 16:" not in guarded.errors.read_text(), "it spins"
        guarded.meet()
        assert alive(first)
