"""Killing by mark and by descent: all of one part, however it hides, and nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mltbctl.demo import sweep
from mltbctl.demo.sweep import MARK_VARIABLE, StillAlive, descendants, kill_all, marked
from tests.demo.api_client import until

# Starts a child, a child in a session of its own, and a daemonised grandchild; writes down its pids.
PARENT = """
import os, subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(120)"]
a = subprocess.Popen(sleeper)
b = subprocess.Popen(sleeper, start_new_session=True, env={})
lost = subprocess.run([sys.executable, "-c",
    "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], start_new_session=True,"
    " stdout=subprocess.DEVNULL).pid)", *sleeper], stdout=subprocess.PIPE, check=True)
print(a.pid, b.pid, int(lost.stdout), flush=True)
time.sleep(120)
"""


@contextmanager
def family(mark: str) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A marked process and the pids of its child, its unmarked child and its daemonised grandchild."""
    environment = {**os.environ, MARK_VARIABLE: mark}
    with subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield process, [int(word) for word in process.stdout.readline().split()]
        finally:
            kill_all(lambda: descendants(process.pid) | marked(mark))


def alive(pid: int) -> bool:
    return sweep._parent(pid) is not None


def test_marks_and_descent_together_find_everyone(tmp_path: Path) -> None:
    mark = f"{tmp_path.name}/n1"
    with family(mark) as (process, (child, unmarked, daemonised)):
        assert marked(mark) == {process.pid, child, daemonised}
        assert marked(tmp_path.name) == marked(mark)
        assert descendants(process.pid) == {child, unmarked}
        killed = kill_all(lambda: descendants(process.pid) | marked(mark), first=[process.pid])
        assert killed == 4
        until("all dead", lambda: not any(map(alive, (child, unmarked, daemonised))))
        assert not alive(process.pid)


def test_others_are_spared(tmp_path: Path) -> None:
    mark = f"{tmp_path.name}/n1"
    # A mark that only begins alike is another one.
    with family(mark) as _, family(f"{mark}0") as (other, others):
        kill_all(lambda: marked(mark))
        assert marked(mark) == set()
        assert alive(other.pid)
        assert all(map(alive, others))


def test_a_stopped_process_is_killed_as_well(tmp_path: Path) -> None:
    with family(f"{tmp_path.name}/n1") as (process, _):
        process.send_signal(signal.SIGSTOP)
        assert kill_all(lambda: marked(tmp_path.name)) >= 1
        assert not alive(process.pid)


def test_the_caller_is_spared(tmp_path: Path) -> None:
    seen: list[int] = []

    def find() -> set[int]:
        seen.append(1)
        return {os.getpid()}

    assert kill_all(find) == 0
    assert len(seen) == 2
    assert tmp_path.exists()


def test_who_outlives_sigkill_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "SWEEP_S", 0.05)
    process = subprocess.Popen(["/bin/sleep", "60"])
    # A pid that is found for ever, as one in an uninterruptible sleep would be.
    with process, pytest.raises(StillAlive, match=str(process.pid)):
        kill_all(lambda: {process.pid})


def test_a_pid_that_is_gone_is_no_error() -> None:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    found = [{process.pid}]
    assert kill_all(lambda: found.pop() if found else set()) == 1
    assert descendants(process.pid) == set()


def test_control_groups_of_others_are_left_alone() -> None:
    names = [group.name for group in sweep.control_groups(os.getpid())]
    assert all(name.startswith(sweep.GROUP_PREFIX) for name in names)
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    assert sweep.control_groups(process.pid) == []
