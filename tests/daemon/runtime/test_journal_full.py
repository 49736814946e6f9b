"""A full disk: the ballast goes, the write is done once more, and room that comes back is noticed."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mltb_transport.messages import Entry, Founding
from mltb_transport.voters import Voter
from mltbd.core.effects import Save
from mltbd.core.snapshots import Snapshot
from mltbd.runtime import journal as journal_module
from mltbd.runtime import recover
from mltbd.runtime.ballast import BALLAST, BALLAST_BYTES, Ballast
from mltbd.runtime.journal_errors import JournalFailed, JournalFull
from mltbd.runtime.journal_file import JournalFile
from mltbd.runtime.state_directory import MarkFile
from tests.daemon.runtime.journal_kit import PATIENCE_S, Book, entries, save

SIZE = 64 * 1024
Write = Callable[[JournalFile, Sequence[Save]], None]


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """The next writes fail with these, one each; a write that fails leaves nothing, as on a full disk."""
    failing: list[Exception] = []
    write: Write = JournalFile.write

    def perhaps(self: JournalFile, saves: Sequence[Save]) -> None:
        if failing:
            raise failing.pop(0)
        write(self, saves)

    monkeypatch.setattr(JournalFile, "write", perhaps)
    monkeypatch.setattr(journal_module, "LOOK_S", 0.01)
    return failing


def full() -> JournalFull:
    return JournalFull("`journal.db`: no room is left on the disk", "make room")


def test_the_ballast_goes_and_nothing_is_lost(tmp_path: Path, writes: list[Exception], no_room: Path) -> None:
    with Book(tmp_path, ballast_bytes=SIZE) as book:
        book.write(save(1, entries(1, 3)))
        assert (tmp_path / BALLAST).exists()
        no_room.touch()
        writes.append(full())
        book.write(save(2, entries(4, 6)))
        assert (book.rooms, book.failures) == ([False], [])
        assert not (tmp_path / BALLAST).exists()
        book.write(save(3, entries(7, 7)))
    with Book(tmp_path) as book:
        assert book.recovered.entries == (*entries(1, 3), *entries(4, 6), *entries(7, 7))


@pytest.fixture
def no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """While this file exists the disk is too full for a ballast."""
    flag = tmp_path / "no-room"
    take = Ballast.take
    monkeypatch.setattr(Ballast, "take", lambda self: take(self) if self.aboard or not flag.exists() else False)
    return flag


def test_room_that_comes_back_is_noticed_without_any_write(
    tmp_path: Path, writes: list[Exception], no_room: Path
) -> None:
    with Book(tmp_path, ballast_bytes=SIZE) as book:
        book.write(save(1, entries(1, 3)))
        no_room.touch()
        writes.append(full())
        book.write(save(2, entries(4, 6)))
        assert book.rooms == [False]
        no_room.unlink()
        book.wait(lambda: book.rooms == [False, True])
        assert (tmp_path / BALLAST).exists()


def test_a_disk_full_from_the_start_is_told(tmp_path: Path, writes: list[Exception], no_room: Path) -> None:
    no_room.touch()
    with Book(tmp_path, ballast_bytes=SIZE) as book:
        book.wait(lambda: book.rooms == [False])
        book.write(save(1, entries(1, 3)))
        assert not writes
        assert book.failures == []


def test_without_any_room_left_it_acknowledges_no_more(tmp_path: Path, writes: list[Exception], no_room: Path) -> None:
    with Book(tmp_path, ballast_bytes=SIZE) as book:
        book.write(save(1, entries(1, 3)))
        no_room.touch()
        writes += [full(), full()]
        book.submit(save(2, entries(4, 6)))
        assert isinstance(book.wait_for_failure(), JournalFull)
        assert (book.acknowledged, book.rooms) == ([1], [False])
    with Book(tmp_path) as book:
        assert book.recovered.entries == entries(1, 3)


def test_what_is_committed_is_not_written_again_where_its_mark_found_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that takes new room for what is overwritten."""
    mark, written, gate = MarkFile.write, threading.Event(), threading.Event()
    with Book(tmp_path, ballast_bytes=SIZE) as book:

        def both_are_there() -> None:
            written.set()
            gate.wait(PATIENCE_S)
            monkeypatch.setattr(MarkFile, "write", refuse)

        def refuse(*_: object) -> None:
            monkeypatch.setattr(MarkFile, "write", mark)
            raise OSError(errno.ENOSPC, "no space left on device")

        book.journal.submit(save(1, entries(1, 3)), both_are_there)
        written.wait(PATIENCE_S)
        book.submit(Save(2, 5, "n2", ()), Save(3, 6, "", ()))
        gate.set()
        book.wait(lambda: book.acknowledged == [2, 3])
        assert (book.failures, book.rooms[0]) == ([], False)
    with Book(tmp_path) as book:
        assert (book.recovered.term, book.recovered.vote, book.recovered.entries) == (6, "", entries(1, 3))


def test_any_other_error_of_the_disk_is_the_end_at_once(tmp_path: Path, writes: list[Exception]) -> None:
    with Book(tmp_path, ballast_bytes=SIZE) as book:
        book.write(save(1, entries(1, 3)))
        writes.append(JournalFailed("`journal.db`: disk I/O error"))
        book.submit(save(2, entries(4, 6)))
        book.wait_for_failure()
        assert (book.acknowledged, book.rooms) == ([1], [])
        assert (tmp_path / BALLAST).exists(), "it is for a full disk alone"


def test_the_ballast_grows_with_the_snapshot(tmp_path: Path) -> None:
    """The next one goes through the write-ahead log as a whole."""
    with Book(tmp_path, ballast_bytes=SIZE) as book:
        book.write(save(1, entries(1, 3)))
        snapshot = Snapshot.take(3, 1, "c1", (Voter("n1", "disk-n1"),), ["x" * 50_000])
        book.write(Save(2, 1, "n1", (), snapshot, (1, 1)))
        book.write(save(3))
        assert (tmp_path / BALLAST).stat().st_size == SIZE + 2 * len(snapshot.data)
    (tmp_path / BALLAST).unlink()
    with Book(tmp_path, ballast_bytes=SIZE):
        assert (tmp_path / BALLAST).stat().st_size == SIZE + 2 * len(snapshot.data), "from the start on"


def test_recovery_on_a_full_disk_has_the_ballast_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the same disk, and an hour at which nobody wants to make room first."""
    with Book(tmp_path, ballast_bytes=BALLAST_BYTES) as book:
        named = tuple(Voter(node, node if node != "n1" else book.recovered.store) for node in ("n1", "n2", "n3"))
        book.write(save(1, (Entry(1, 1, 0, Founding("c1", "demo", named)),)))

    class Crowded(JournalFile):
        def __init__(self, state_dir: Path, node: str) -> None:
            if (tmp_path / BALLAST).exists():
                raise full()
            super().__init__(state_dir, node)

    monkeypatch.setattr(journal_module, "JournalFile", Crowded)
    assert recover.main(["go", str(tmp_path), "n1", "demo"]) == recover.DONE, capsys.readouterr().out
