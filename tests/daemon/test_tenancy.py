"""A state directory has one guard, and nothing of the one before it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon import trees
from tests.daemon.guarded import ROOT, Guarded, alive
from tests.waiting import until


def guard_here(state_dir: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mltbd.guard", str(state_dir), "true"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "daemon"), **env},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_a_state_directory_has_one_guard(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        second = guard_here(guarded.state_dir)
        assert second.returncode == 1
        assert f"another mltbd (pid {guarded.guard.pid}) uses `{guarded.state_dir}`" in second.stderr


def test_the_lock_is_free_as_soon_as_the_guard_is_dead(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.daemonised(tmp_path))
        guarded.guard.kill()
        guarded.guard.wait()
        with Guarded(tmp_path).meet() as second:
            assert not alive(first)
            second.run(trees.plain(tmp_path))


def test_a_fresh_guard_empties_what_an_earlier_one_left(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.daemonised(tmp_path))
        helper = guarded.written("ready")
        # Without its sentinel, a killed guard leaves behind whatever is not its direct child.
        os.kill(guarded.guard.pid, signal.SIGSTOP)
        sentinel = guarded.sentinel()
        os.kill(sentinel.pid, signal.SIGKILL)
        guarded.guard.kill()
        guarded.guard.wait()
        until(lambda: not alive(first))
        assert alive(helper)
        with Guarded(tmp_path).meet():
            assert not alive(helper)


def test_a_guard_starts_though_there_is_no_room_for_its_note(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        started = Guarded(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with started.meet() as guarded:
        assert (guarded.state_dir / "guard.lock").read_bytes() == b""
        assert alive(guarded.run(trees.plain(tmp_path)))


def test_a_note_takes_the_place_of_a_longer_one(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/guard.lock").write_text(f"1\n/no/such/{'x' * 100}\n")
    with Guarded(tmp_path, "walk").meet() as guarded:
        assert (guarded.state_dir / "guard.lock").read_text() == f"{guarded.guard.pid}\n\n"


@pytest.mark.parametrize(("path", "code"), [("pray", 2), ("walk", 1)])
def test_a_kill_path_must_exist(path: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    ended = guard_here(tmp_path / ("state" if path == "walk" else "fine"), MLTB_KILL_PATH=path)
    assert ended.returncode == code
    assert ("unknown kill path `pray`" if path == "pray" else "cannot use") in ended.stderr
