"""Room that is given up when there is no other: taken when there is plenty, never in the way of anything."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from mltbd.runtime.ballast import BALLAST, ROOM_FACTOR, Ballast

SIZE = 256 * 1024


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=size, f_frsize=1))


def test_it_occupies_real_blocks_and_gives_them_back(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path, SIZE)
    assert (ballast.aboard, ballast.wanted) == (False, True)
    assert ballast.take()
    found = (tmp_path / BALLAST).stat()
    assert (found.st_size, found.st_mode & 0o777) == (SIZE, 0o600)
    assert found.st_blocks * 512 >= SIZE, "a hole holds no room"
    assert ballast.take(), "it is aboard already"
    assert ballast.drop()
    assert not (tmp_path / BALLAST).exists()
    assert not ballast.drop(), "nothing was left to give"


def test_the_next_run_finds_it_aboard(tmp_path: Path) -> None:
    Ballast(tmp_path, SIZE).take()
    assert Ballast(tmp_path, SIZE).aboard
    assert Ballast(tmp_path, 2 * SIZE).wanted, "half of it is not enough"


@pytest.mark.parametrize(("room", "taken"), [(ROOM_FACTOR * SIZE - 1, False), (ROOM_FACTOR * SIZE, True)])
def test_it_is_taken_only_where_there_is_plenty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, taken: bool
) -> None:
    free(monkeypatch, room)
    assert Ballast(tmp_path, SIZE).take() is taken
    assert (tmp_path / BALLAST).exists() is taken


def test_what_could_not_be_taken_whole_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(handle: int, _start: int, _size: int) -> None:
        os.write(handle, b"x" * 100)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", none_left, raising=False)
    assert not Ballast(tmp_path, SIZE).take()
    assert not (tmp_path / BALLAST).exists()


def test_without_the_call_of_the_system_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    assert Ballast(tmp_path, SIZE).take()
    assert (tmp_path / BALLAST).read_bytes() == bytes(SIZE)


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
def test_where_the_file_system_does_not_know_the_call_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", unknown, raising=False)
    ballast = Ballast(tmp_path, SIZE)
    assert ballast.take()
    ballast.carry(SIZE)
    assert (tmp_path / BALLAST).read_bytes() == bytes(3 * SIZE)


def test_it_grows_with_what_the_journal_carries_and_never_shrinks(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path, SIZE)
    ballast.take()
    for snapshot_bytes, size in ((100, SIZE + 200), (SIZE, 3 * SIZE), (0, 3 * SIZE)):
        ballast.carry(snapshot_bytes)
        found = (tmp_path / BALLAST).stat()
        assert (found.st_size, ballast.aboard) == (size, True)
        assert found.st_blocks * 512 >= size
    ballast.drop()
    ballast.take()
    assert (tmp_path / BALLAST).stat().st_size == 3 * SIZE


def test_where_room_is_scarce_it_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ballast = Ballast(tmp_path, SIZE)
    ballast.take()
    free(monkeypatch, ROOM_FACTOR * 2 * SIZE - 1)
    ballast.carry(SIZE)
    assert (tmp_path / BALLAST).stat().st_size == SIZE
    assert ballast.aboard, "the disk is not full for that"


def test_what_is_not_aboard_does_not_grow(tmp_path: Path) -> None:
    for ballast in (Ballast(tmp_path, SIZE), Ballast(tmp_path, 0)):
        ballast.carry(SIZE)
        assert not (tmp_path / BALLAST).exists()


def test_of_size_0_there_is_none(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path, 0)
    assert (ballast.take(), ballast.wanted, ballast.drop()) == (True, False, False)
    Ballast(tmp_path, SIZE).take()
    assert (ballast.drop(), (tmp_path / BALLAST).exists()) == (False, True)


def test_it_never_raises(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "missing", SIZE)
    assert (ballast.take(), ballast.aboard, ballast.drop()) == (False, False, False)
