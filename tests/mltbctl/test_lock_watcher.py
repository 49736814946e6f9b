"""The parent of a command under `lock run`: what it is told too late it does not begin."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mltbctl.clock import boottime
from mltbctl.lock_watcher import END, EXITED, GO, GRACE, LATE, NOT_BEGUN, Errand, Watcher
from tests.waiting import until


def told_to_begin(file: Path, left_s: float, first: Callable[[Watcher], object] = id) -> tuple[int, int] | None:
    """Under a lock that is trusted for so long, with a grace of 2 s. `first` is done before."""
    argv = ["sh", "-c", f"echo $TOKEN > {file}; sleep 0.2; exit 7"]
    watcher = Watcher(Errand(argv, dict(os.environ), "TOKEN"))
    watcher.tell(GRACE, moment=2.0)
    first(watcher)
    watcher.tell(GO, 9, boottime() + left_s)
    os.waitpid(watcher.pid, 0)
    try:
        return watcher.report()
    finally:
        watcher.close()


@pytest.mark.parametrize("left_s", [-10.0, 0.0, 1.9])
def test_a_command_does_not_begin_when_its_time_is_over(left_s: float, tmp_path: Path) -> None:
    assert told_to_begin(tmp_path / "ran", left_s) == (NOT_BEGUN, LATE)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
def test_a_command_does_not_begin_when_its_lock_was_lost_before(heard: bool, tmp_path: Path) -> None:
    def lose(watcher: Watcher) -> None:
        watcher.tell(END)
        if heard:
            until(lambda: os.waitid(os.P_PID, watcher.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT), what="it ends")

    assert told_to_begin(tmp_path / "ran", 60.0, lose) == (NOT_BEGUN, LATE)
    assert not (tmp_path / "ran").exists()


def test_a_command_begins_in_time(tmp_path: Path) -> None:
    assert told_to_begin(tmp_path / "ran", 60.0) == (7, EXITED)
    assert (tmp_path / "ran").read_text() == "9\n"
