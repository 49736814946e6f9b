"""The second layer: no workload outlives a guard that was killed, stopped or starved."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.continuer import AGAIN_S
from mltbd.processes import Process, boottime_s, process
from mltbd.sentinel import MARGIN_S, margin_s
from tests.daemon import trees
from tests.daemon.guarded import Guarded, alive, state
from tests.waiting import until

SIGNALS = resource.RLIMIT_SIGPENDING
"""No timer can be had at a limit of 0; a stopped process then stays so."""


@contextlib.contextmanager
def no_timers() -> Iterator[None]:
    """For what is started in here."""
    before = resource.getrlimit(SIGNALS)
    resource.setrlimit(SIGNALS, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(SIGNALS, before)


def another_sentinel(guarded: Guarded, lost: Process) -> Process:
    """The one that takes the place of this one, which dies."""
    os.kill(lost.pid, signal.SIGKILL)
    until(lambda: not lost.lives())
    return guarded.sentinel()


@pytest.mark.parametrize("tree", [trees.daemonised, trees.headless_child])
@pytest.mark.parametrize("kill_path", [None, "walk"])
def test_a_killed_guard_takes_everything_with_it(
    kill_path: str | None, tree: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    with Guarded(tmp_path, kill_path).meet() as guarded:
        first = guarded.run(tree(tmp_path))
        helper = guarded.written("ready")
        until(lambda: tree is trees.daemonised or state(helper.pid) == "Z")
        sentinel = guarded.sentinel()
        begin = boottime_s()
        os.kill(guarded.guard.pid, signal.SIGKILL)
        until(lambda: not alive(first) and not alive(helper))
        assert boottime_s() - begin < 1.0
        until(lambda: not alive(sentinel))


def begun(guarded: Guarded, argv: list[str]) -> tuple[float, Process, Process]:
    """Armed for 1.2 s and running: the deadline, the first process, and what it forked away."""
    deadline = guarded.arm(1.2)
    guarded.start(argv)
    first = process(guarded.news("running")["pid"])
    assert first
    return deadline, first, guarded.written("ready")


@pytest.mark.parametrize("kill_path", [None, "walk"])
def test_a_stopped_guard_is_killed_soon_after_the_deadline(kill_path: str | None, tmp_path: Path) -> None:
    with no_timers():
        stopped_for_good = Guarded(tmp_path, kill_path)
    with stopped_for_good.meet() as guarded:
        deadline, first, helper = begun(guarded, trees.unmarked(tmp_path))
        daemon = process(guarded.relay_pid)
        assert daemon
        os.kill(guarded.guard.pid, signal.SIGSTOP)
        until(lambda: not alive(first) and not alive(helper) and not alive(daemon))
        assert deadline < boottime_s() < deadline + MARGIN_S + 0.3
        assert guarded.guard.wait() == -signal.SIGKILL


@contextlib.contextmanager
def unread(closed: bool) -> Iterator[int]:
    """A pipe whose reader is gone, or does not read while it is full."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * 4096)
    if closed:
        os.close(reader)
    yield writer
    os.close(writer)
    if not closed:
        os.close(reader)


@pytest.mark.parametrize("closed", [True, False])
def test_a_log_that_nobody_reads_lets_nothing_live(closed: bool, tmp_path: Path) -> None:
    with no_timers(), unread(closed) as stderr:
        stopped_for_good = Guarded(tmp_path, stderr=stderr)
        with stopped_for_good.meet() as guarded:
            deadline, first, helper = begun(guarded, trees.daemonised(tmp_path))
            os.kill(guarded.guard.pid, signal.SIGSTOP)
            until(lambda: not alive(first) and not alive(helper), 5.0)
            assert boottime_s() < deadline + MARGIN_S + 0.3


def test_a_sentinel_that_can_open_no_file_kills_the_guard_all_the_same_and_sweeps_once_it_can(tmp_path: Path) -> None:
    with no_timers():
        stopped_for_good = Guarded(tmp_path)
    with stopped_for_good.meet() as guarded:
        deadline, first, helper = begun(guarded, trees.daemonised(tmp_path))
        sentinel = guarded.sentinel()
        files = resource.prlimit(sentinel.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(sentinel.pid, resource.RLIMIT_NOFILE, (0, files[1]))
        os.kill(guarded.guard.pid, signal.SIGSTOP)
        until(lambda: not alive(first), 5.0)
        assert deadline < boottime_s() < deadline + MARGIN_S + 0.3
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(sentinel.pid, resource.RLIMIT_NOFILE, files)
        until(lambda: not alive(helper), 5.0)
        assert guarded.guard.wait() == -signal.SIGKILL
        until(lambda: not alive(sentinel))
        assert "the guard did not act in time" in guarded.errors.read_text()


def test_a_renewal_moves_the_moment_at_which_a_stopped_guard_goes_on(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        resource.prlimit(guarded.guard.pid, SIGNALS, (0, resource.getrlimit(SIGNALS)[1]))
        sentinel = another_sentinel(guarded, guarded.sentinel())
        before = guarded.arm(0.7)
        guarded.start(trees.plain(tmp_path))
        deadline = guarded.arm(2.0)
        first = process(guarded.news("running")["pid"])
        assert first
        until(lambda: boottime_s() > before + AGAIN_S)
        for pid in (guarded.guard.pid, sentinel.pid):
            os.kill(pid, signal.SIGSTOP)
        until(lambda: not alive(first))
        assert deadline < boottime_s() < deadline + MARGIN_S + 0.3


@pytest.mark.parametrize("timers_of", ["both", "guard", "sentinel"])
@pytest.mark.parametrize("kill_path", [None, "walk"])
def test_all_stopped_at_once_and_once_more_end_the_workload_in_time(
    kill_path: str | None, timers_of: str, tmp_path: Path
) -> None:
    """Each of the two timers is enough, and a second stop finds a second shot."""
    with no_timers() if timers_of == "sentinel" else contextlib.nullcontext():
        started = Guarded(tmp_path, kill_path)
    with started.meet() as guarded:
        sentinel = guarded.sentinel()
        if timers_of != "both":
            hard = resource.getrlimit(SIGNALS)[1]
            resource.prlimit(guarded.guard.pid, SIGNALS, (0 if timers_of == "guard" else hard, hard))
            sentinel = another_sentinel(guarded, sentinel)
        deadline, first, helper = begun(guarded, trees.unmarked(tmp_path))
        family = [guarded.relay_pid, guarded.guard.pid, sentinel.pid]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        watchers = [pid for pid in family[1:] if timers_of != ("guard" if pid == sentinel.pid else "sentinel")]
        until(lambda: any(state(pid) != "T" for pid in watchers), pause_s=0.0)
        for pid in reversed(family):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        until(lambda: not alive(first) and not alive(helper))
        assert deadline < boottime_s() < deadline + MARGIN_S + 0.3


def test_a_stopped_guard_goes_on_under_a_renewed_lease(tmp_path: Path) -> None:
    """Its timer continues it, and it reads what came meanwhile. Stopped in the middle of a pass it may judge first."""
    with Guarded(tmp_path).meet() as guarded:
        deadline = guarded.arm(1.0)
        guarded.start(trees.plain(tmp_path))
        first = process(guarded.news("running")["pid"])
        assert first
        until(lambda: state(guarded.guard.pid) == "S")
        os.kill(guarded.guard.pid, signal.SIGSTOP)
        guarded.arm(30.0)
        until(lambda: boottime_s() > deadline + 2 * MARGIN_S)
        assert alive(first)
        assert guarded.guard.poll() is None
        assert state(guarded.guard.pid) != "T"


def test_a_guard_stopped_within_its_lease_is_left_alone(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.plain(tmp_path))
        begin = boottime_s()
        os.kill(guarded.guard.pid, signal.SIGSTOP)
        until(lambda: boottime_s() > begin + 0.5)
        os.kill(guarded.guard.pid, signal.SIGCONT)
        guarded.order(do="stop", workload="main", token=1)
        assert guarded.news("gone")["cause"] == "stopped"
        assert not alive(first)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_sentinel_is_replaced_and_works(number: int, tmp_path: Path) -> None:
    with no_timers():
        stopped_for_good = Guarded(tmp_path)
    with stopped_for_good.meet() as guarded:
        deadline = guarded.arm(2.0)
        guarded.start(trees.deaf(tmp_path))
        guarded.news("running")
        first = guarded.written("ready")
        lost = guarded.sentinel()
        os.kill(lost.pid, number)
        until(lambda: not lost.lives())
        assert guarded.sentinel() != lost
        os.kill(guarded.guard.pid, signal.SIGSTOP)
        until(lambda: not alive(first))
        assert boottime_s() < deadline + MARGIN_S + 0.3


def test_a_sentinel_that_cannot_be_started_is_tried_again_and_the_log_is_not_flooded(tmp_path: Path) -> None:
    def told() -> int:
        return guarded.errors.read_text().count("cannot start a process")

    with Guarded(tmp_path).meet() as guarded:
        lost = guarded.sentinel()
        with guarded.without_files():
            os.kill(lost.pid, signal.SIGKILL)
            until(lambda: told() >= 4)  # Eight attempts.
            with contextlib.suppress(AssertionError):
                until(lambda: told() > 6, 1.0)
            assert told() <= 6, "each of them is told"
        assert guarded.sentinel() != lost


def test_a_sentinel_outlives_the_signals_of_a_terminal_and_of_systemd(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.daemonised(tmp_path))
        helper = guarded.written("ready")
        sentinel = guarded.sentinel()
        assert os.getsid(sentinel.pid) == sentinel.pid
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(sentinel.pid, number)
        os.kill(guarded.guard.pid, signal.SIGKILL)
        until(lambda: not alive(first) and not alive(helper))


def test_a_sentinel_ends_with_its_guard(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        sentinel = guarded.sentinel()
        guarded.guard.send_signal(signal.SIGTERM)
        guarded.news("stop")
        guarded.send(b"exit 0")
        assert guarded.guard.wait() == 0
        assert not sentinel.lives()


@given(st.floats(0.4, 300))
def test_the_margin_fits_in_what_the_lease_leaves_for_killing(horizon_s: float) -> None:
    # A horizon is four fifths of its lease or more, and killing may take a fifth of that, or half a second.
    assert 0 < margin_s(horizon_s) <= min(0.5, horizon_s / 5) / 2
