"""What is acknowledged is there again, in order, for one process and one node only."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mltbd.core.effects import Save
from mltbd.core.events import Recovered
from mltbd.runtime import journal as rules
from mltbd.runtime.journal_errors import (
    InvalidSave,
    JournalBusy,
    JournalClosed,
    JournalError,
    JournalFailed,
    StateLocked,
    WrongStateDirectory,
)  # fmt: skip
from mltbd.runtime.journal_file import JOURNAL, JournalFile, prepare
from tests.daemon.runtime.journal_kit import FRAME, PATIENCE_S, Book, entries, save
from tests.waiting import until


def test_the_entries_of_the_start_are_not_kept_beside_the_nodes_own(tmp_path: Path) -> None:
    """The node lets go of them once they are in a snapshot."""
    with Book(tmp_path) as book:
        found, book.recovered = [book.recovered], Recovered("", 0, 0, "", ())
        until(lambda: sys.getrefcount(found[0]) == sys.getrefcount(object()) + 1, PATIENCE_S, "let go of")


def test_a_new_journal_is_empty_and_private(tmp_path: Path) -> None:
    with Book(tmp_path / "a" / "b") as book:
        found = book.recovered
        assert (found.incarnation, found.term, found.vote, found.entries) == (1, 0, "", ())
        assert len(found.store) == 32
        assert int(found.store, 16) >= 0
        assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
        for file in (tmp_path / "a" / "b").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_every_run_is_a_new_incarnation_of_the_same_store(tmp_path: Path) -> None:
    found = []
    for _ in range(4):
        with Book(tmp_path) as book:
            found.append((book.recovered.incarnation, book.recovered.store))
    assert [incarnation for incarnation, _ in found] == [1, 2, 3, 4]
    assert len({store for _, store in found}) == 1


def test_two_state_directories_are_two_stores(tmp_path: Path) -> None:
    with Book(tmp_path / "a") as one, Book(tmp_path / "b", "n2") as other:
        assert one.recovered.store != other.recovered.store


def test_term_vote_and_log_are_there_again(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.write(save(1, entries(1, 3)), save(2, entries(4, 5, term=2), term=2, vote="n2"))
        book.write(save(3, term=7, vote=""))
    with Book(tmp_path) as book:
        found = book.recovered
        assert (found.term, found.vote) == (7, "")
        assert found.entries == entries(1, 3) + entries(4, 5, term=2)


@pytest.mark.parametrize("first", [1, 3, 5])
def test_new_entries_replace_all_from_the_first_of_them(tmp_path: Path, first: int) -> None:
    with Book(tmp_path) as book:
        book.write(save(1, entries(1, 5)))
        book.write(save(2, entries(first, first, term=2, owner="n2"), term=2))
        book.write(save(3, entries(first + 1, first + 1, term=2), term=2))
    with Book(tmp_path) as book:
        kept = entries(1, 5)[: first - 1]
        assert book.recovered.entries == (
            *kept,
            *entries(first, first, term=2, owner="n2"),
            *entries(first + 1, first + 1, term=2),
        )


def test_a_cut_and_its_repair_within_one_batch(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        log = [save(n, entries(n, n)) for n in range(1, 6)]
        cut = [save(6, entries(3, 4, term=2), term=2), save(7, entries(2, 2, term=3), term=3)]
        book.write(*log, *cut, save(8, entries(3, 3, term=3), term=3))
    with Book(tmp_path) as book:
        assert book.recovered.entries == entries(1, 1) + entries(2, 2, term=3) + entries(3, 3, term=3)


def test_saves_are_acknowledged_in_order_and_batched(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        with held(book, save(1)):
            book.submit(*[save(n, entries(n - 1, n - 1)) for n in range(2, 502)])
            assert book.journal._queue.qsize() == 500
        book.wait(lambda: len(book.acknowledged) == 500)
        assert book.acknowledged == list(range(2, 502))
        assert transactions(tmp_path) == 1 + 1 + 2, "500 saves that wait are two, after the opening and the first"
    with Book(tmp_path) as book:
        assert len(book.recovered.entries) == 500


def transactions(directory: Path) -> int:
    """How many there are in the write-ahead log: the last frame of each tells the size of the file."""
    log = (directory / f"{JOURNAL}-wal").read_bytes()
    return sum(log[place + 4 : place + 8] != bytes(4) for place in range(32, len(log), FRAME))


@contextlib.contextmanager
def held(book: Book, first: Save) -> Iterator[None]:
    """The writer stands still in the acknowledgement of `first`."""
    inside, release = threading.Event(), threading.Event()

    def stand_still() -> None:
        inside.set()
        release.wait(PATIENCE_S)

    book.journal.submit(first, stand_still)
    assert inside.wait(PATIENCE_S)
    try:
        yield
    finally:
        release.set()


def test_saves_that_wait_are_bounded(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        numbers = range(2, 2 + rules.WAITING_MAX)
        with held(book, save(1)):
            book.submit(*[save(number) for number in numbers])
            with pytest.raises(JournalBusy):
                book.submit(save(5000))
        book.wait(lambda: book.acknowledged == list(numbers))


def test_close_writes_what_waits_and_takes_nothing_more(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.submit(*[save(n, entries(n, n)) for n in range(1, 301)])
    book.close()
    assert book.acknowledged == list(range(1, 301))
    with pytest.raises(JournalClosed):
        book.submit(save(301))
    book.close()
    with Book(tmp_path) as again:
        assert len(again.recovered.entries) == 300


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (save(3, term=4), "term 4 is before 5"),
        (save(3, term=5, vote="n2"), "a second vote"),
        (save(3, term=5, vote=""), "a second vote"),
        (save(3, entries(5, 5, term=5), term=5), "begin at 5, and could from 1 to 4"),
        (save(3, entries(0, 1, term=5), term=5), "begin at 0"),
        (save(3, entries(4, 4, term=6), term=5), "entry 4 of term 6"),
        (save(3, (*entries(4, 4, term=5), *entries(6, 6, term=5)), term=5), "entry 6 of term 5 at 5"),
        (save(3, entries(4, 4, term=1), term=5), "entry 4 of term 1"),
        (save(2, term=5), "save 2 came after save 2"),
    ],
)
def test_a_save_that_breaks_the_journal_is_refused_before_it_is_written(tmp_path: Path, wrong: Save, why: str) -> None:
    with Book(tmp_path) as book:
        book.write(save(1, entries(1, 3, term=2), term=2))
        book.write(save(2, term=5))
        book.submit(wrong)
        error = book.wait_for_failure()
        assert isinstance(error, InvalidSave)
        assert why in str(error)
        book.submit(save(9, term=9))
    assert book.acknowledged == [1, 2]
    assert len(book.failures) == 1
    with Book(tmp_path) as book:
        assert (book.recovered.term, len(book.recovered.entries)) == (5, 3)


# -- one process, one node, one connection ------------------------------------------------------------------


def test_what_nobody_foresaw_is_told_and_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that ends unheard would leave a node that acknowledges nothing any more, and says nothing."""
    with Book(tmp_path) as book:
        book.write(save(1))
        monkeypatch.setattr(JournalFile, "write", _out_of_memory)
        book.submit(save(2))
        failure = book.wait_for_failure()
        assert isinstance(failure, JournalFailed)
        assert "MemoryError" in str(failure)
        book.submit(save(3))
    assert (book.acknowledged, len(book.failures)) == ([1], 1)


def test_what_nobody_foresaw_while_it_opens_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "JournalFile", _out_of_memory)
    with pytest.raises(JournalFailed, match="MemoryError"):
        Book(tmp_path)
    monkeypatch.undo()
    Book(tmp_path).close()


def _out_of_memory(*_: object) -> None:
    raise MemoryError


def test_a_second_journal_is_refused_and_names_the_process(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        with pytest.raises(StateLocked, match=f"pid {os.getpid()}") as caught:
            Book(tmp_path)
        assert "--state-dir" in caught.value.hint
        book.write(save(1))
    Book(tmp_path).close()


def test_another_node_is_refused_and_the_directory_stays_usable(tmp_path: Path) -> None:
    Book(tmp_path, "n1").close()
    with pytest.raises(WrongStateDirectory, match="belongs to node `n1`, this is `n2`"):
        Book(tmp_path, "n2")
    with Book(tmp_path, "n1") as book:
        assert book.recovered.incarnation == 2


def test_nobody_else_can_open_the_live_file(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.write(save(1, entries(1, 3)))
        other = sqlite3.connect(tmp_path / JOURNAL, timeout=0.0)
        try:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("SELECT * FROM log").fetchall()
        finally:
            other.close()


def test_a_file_that_another_program_holds_is_refused(tmp_path: Path) -> None:
    Book(tmp_path).close()
    other = sqlite3.connect(tmp_path / JOURNAL, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalFailed, match="open in another program"):
            Book(tmp_path)
    finally:
        other.close()
    Book(tmp_path).close()


def test_a_file_in_the_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a directory")
    with pytest.raises(JournalError, match="state"):
        Book(tmp_path / "state")


def test_sqlite_that_cannot_log_ahead_is_refused() -> None:
    connection = sqlite3.connect(":memory:")
    try:
        with pytest.raises(JournalFailed, match="offers journal_mode memory, WAL is needed"):
            prepare(connection, Path("journal.db"))
    finally:
        connection.close()


def test_the_file_is_fully_synchronous_and_exclusive(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "some.db")
    try:
        prepare(connection, tmp_path / "some.db")
        found = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "locking_mode")
        }
        assert found == {"journal_mode": "wal", "synchronous": 2, "locking_mode": "exclusive"}
    finally:
        connection.close()
