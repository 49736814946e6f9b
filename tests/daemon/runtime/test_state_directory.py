"""One process a state directory, whoever dies; and a mark that never lies about the past."""

from __future__ import annotations

import errno
import os
import signal
import stat
from pathlib import Path

import pytest

from mltbd.runtime.journal_errors import JournalError, StateLocked
from mltbd.runtime.state_directory import LOCK, Mark, MarkFile, StateLock


def test_a_lock_held_by_another_process_is_refused_until_that_dies(tmp_path: Path) -> None:
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            StateLock(tmp_path)
            os.write(told, b"held")
            signal.pause()
        finally:
            os._exit(1)
    try:
        os.close(told)
        assert os.read(ready, 4) == b"held"
        with pytest.raises(StateLocked, match=rf"pid {child}\)"):
            StateLock(tmp_path)
    finally:
        os.close(ready)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    lock = StateLock(tmp_path)
    assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"
    lock.release()
    lock.release()


def test_a_full_disk_has_no_room_for_the_process_and_the_lock_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room for all else comes from the ballast, which whoever holds the lock may drop."""

    def no_room(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", no_room)
    lock = StateLock(tmp_path)
    with pytest.raises(StateLocked, match="pid unknown"):
        StateLock(tmp_path)
    lock.release()


def test_children_do_not_inherit_the_lock(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    assert not os.get_inheritable(lock._file)
    lock.release()


def test_a_missing_directory_is_made_private(tmp_path: Path) -> None:
    StateLock(tmp_path / "a" / "b").release()
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(JournalError, match="a/b"):
        StateLock(tmp_path / "a" / "b")


def test_a_mark_is_read_back_and_the_newest_counts(tmp_path: Path) -> None:
    file = MarkFile(tmp_path / "mark")
    assert file.read() is None
    for commits in range(5):
        file.write(Mark(commits, commits * 10, 2**63 - 1))
        assert file.read() == Mark(commits, commits * 10, 2**63 - 1)
    file.close()


@pytest.mark.parametrize("length", range(56))
def test_a_mark_torn_anywhere_leaves_the_one_before(tmp_path: Path, length: int) -> None:
    path = tmp_path / "mark"
    file = MarkFile(path)
    for commits in (6, 7):
        file.write(Mark(commits, 1, 1))
    file.close()
    with path.open("r+b") as torn:
        torn.seek(28)
        before = torn.read()
        torn.seek(28)
        torn.write(before[: length - 28] + bytes(56 - length) if length >= 28 else bytes(28))
    again = MarkFile(path)
    assert again.read() == Mark(6, 1, 1)
    again.close()
