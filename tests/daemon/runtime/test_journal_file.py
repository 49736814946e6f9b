"""Damage is found, named and never repaired in silence: torn ends, flipped bits, lost ends, missing files."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from mltbd.runtime.journal_errors import JournalCorrupt, JournalError
from mltbd.runtime.journal_file import JOURNAL, MARK, WAL_BYTES
from tests.daemon.runtime.journal_kit import FRAME, Book, entries, save

COUNT = 20


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The state directory of a node that stopped in good order after COUNT entries."""
    directory = tmp_path / "state"
    with Book(directory) as book:
        book.write(save(1, entries(1, COUNT, term=3), term=3))
    return directory


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A state directory as a crash leaves it: everything is still in the write-ahead log."""
    directory, copy = tmp_path / "live", tmp_path / "killed"
    with Book(directory) as book:
        for number in range(1, COUNT + 1):
            book.write(save(number, entries(number, number, term=3), term=3))
        shutil.copytree(directory, copy)
    assert (copy / f"{JOURNAL}-wal").stat().st_size > 0
    return copy


def change(directory: Path, statement: str) -> None:
    connection = sqlite3.connect(directory / JOURNAL)
    try:
        with connection:
            connection.execute(statement)
    finally:
        connection.close()


def end_of(log: bytes) -> int:
    """Where the frames of a write-ahead log end: behind them it is zeros."""
    end = 32
    while any(log[end : end + 24]):
        end += FRAME
    return end


def flip(path: Path, place: int) -> None:
    found = bytearray(path.read_bytes())
    found[place] ^= 0x10
    path.write_bytes(found)


def refused(directory: Path) -> str:
    """What is said of a damaged directory, twice: nothing may be repaired in silence."""
    for _ in range(2):
        with pytest.raises(JournalCorrupt) as caught:
            Book(directory).close()
        assert str(directory / JOURNAL) in str(caught.value)
        assert str(directory) in caught.value.hint
    return str(caught.value)


def test_undamaged_directories_open(written: Path, killed: Path) -> None:
    for directory in (written, killed):
        with Book(directory) as book:
            assert len(book.recovered.entries) == COUNT
            assert (book.recovered.term, book.recovered.incarnation) == (3, 2)


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE log SET body = substr(body, 1, 9) || x'00' || substr(body, 11) WHERE idx = 7", "entry 7"),
        ("UPDATE log SET body = 'text' WHERE idx = 7", "entry 7 is no entry"),
        ("UPDATE log SET body = NULL WHERE idx = 7", "entry 7|NOT NULL"),
        ("UPDATE log SET term = 2 WHERE idx = 7", "entry 7 does not match"),
        ("UPDATE log SET term = -1 WHERE idx = 7", "entry 7 is no entry"),
        ("UPDATE log SET crc = crc + 1 WHERE idx = 7", "entry 7 does not match"),
        ("DELETE FROM log WHERE idx = 7", "entry 7 is missing"),
        ("DELETE FROM log WHERE idx = 1", "entry 1 is missing"),
        ("DELETE FROM log WHERE idx > 15", "ends with entry 15, and 20 was acknowledged"),
        ("DELETE FROM log", "ends with entry 0"),
        ("INSERT INTO log SELECT 21, term, crc, body FROM log WHERE idx = 20", "entry 21 does not match"),
        ("UPDATE state SET term = 2", "state row"),
        ("UPDATE state SET vote = 'n2'", "state row"),
        ("UPDATE state SET vote = CAST(x'ff' AS TEXT)", "state row"),
        ("UPDATE state SET commits = commits - 1", "state row"),
        ("UPDATE state SET incarnation = 1000", "state row"),
        ("DELETE FROM state", "empty after 2 commits"),
        ("DROP TABLE log", "no such table"),
        ("DROP TABLE state", "no such table"),
    ],
)
def test_a_changed_row_is_found(written: Path, statement: str, what: str) -> None:
    if "NULL WHERE" in statement:
        change(written, "CREATE TABLE loose AS SELECT * FROM log")
        change(written, "DROP TABLE log")
        change(written, "ALTER TABLE loose RENAME TO log")
        what = "entry 7 is no entry"
    change(written, statement)
    assert what in refused(written)


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("DELETE FROM log WHERE idx > 19", "it stands at commit 16 (index 19), and 17 (index 20) was acknowledged"),
        ("DELETE FROM log WHERE idx > 3", "ends with entry 3, and 5 was acknowledged"),
        ("DELETE FROM log WHERE idx = 12", "entry 12 is missing"),
        ("UPDATE log SET crc = crc + 1 WHERE idx = 20", "entry 20 does not match"),
        ("UPDATE state SET last = 20", "state row"),
    ],
)
def test_a_change_of_entries_behind_the_state_row_is_found(tmp_path: Path, statement: str, what: str) -> None:
    """Of 20 entries the state row has seen five, and knows no more of the others than that they go on from there."""
    with Book(tmp_path) as book:
        book.write(save(1, entries(1, 5, term=3), term=3))
        for number in range(2, 17):
            book.write(save(number, entries(number + 4, number + 4, term=3), term=3))
    with contextlib.closing(sqlite3.connect(tmp_path / JOURNAL)) as connection:
        assert connection.execute("SELECT last, commits FROM state").fetchall() == [(5, 2)]
    change(tmp_path, statement)
    assert what in refused(tmp_path)


def test_another_log_under_the_same_state_row_is_found(written: Path, tmp_path: Path) -> None:
    """Each entry matches its checksum, and the last is not the one that the state row ends with."""
    other = tmp_path / "other"
    with Book(other) as book:
        book.write(save(1, entries(1, COUNT, term=3, owner="n2"), term=3))
    change(written, "DELETE FROM log")
    with contextlib.closing(sqlite3.connect(written / JOURNAL, isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS other", (str(other / JOURNAL),))
        connection.execute("INSERT INTO log SELECT * FROM other.log")
    assert f"entry {COUNT} is another one than was acknowledged" in refused(written)


def test_a_journal_goes_on_from_entries_behind_its_state_row(tmp_path: Path) -> None:
    """Also by what is not the usual case: a new term, and a cut."""
    with Book(tmp_path) as book:
        book.write(save(1, entries(1, 5, term=3), term=3))
        book.write(save(2, entries(6, 9, term=3), term=3), save(3, entries(10, 10, term=3), term=3))
        book.write(save(4, term=4, vote="n2"))
        book.write(save(5, entries(8, 12, term=4), term=4, vote="n2"))
        book.write(save(6, entries(13, 13, term=4), term=4, vote="n2"))
    with Book(tmp_path) as book:
        of_term_3 = entries(1, 5, term=3) + entries(6, 7, term=3)
        assert book.recovered.entries == of_term_3 + entries(8, 12, term=4) + entries(13, 13, term=4)
        assert (book.recovered.term, book.recovered.vote) == (4, "n2")
        book.write(save(1, entries(14, 14, term=4), term=4, vote="n2"))
    with Book(tmp_path) as book:
        assert len(book.recovered.entries) == 14


def test_a_bit_flipped_anywhere_in_the_file_is_found_or_harmless(written: Path) -> None:
    """Whatever is flipped: either the journal refuses to open, or all that was acknowledged is there."""
    chance = random.Random(1)
    whole = (written / JOURNAL).read_bytes()
    used = [place for place, byte in enumerate(whole) if byte]
    found = 0
    for place in chance.sample(used, 60):
        copy = written.parent / f"flip-{place}"
        shutil.copytree(written, copy)
        flip(copy / JOURNAL, place)
        try:
            with Book(copy) as book:
                assert book.recovered.entries == entries(1, COUNT, term=3), place
                assert (book.recovered.term, book.recovered.vote) == (3, "n1"), place
        except JournalError:
            found += 1
    assert found > 40


def test_a_torn_tail_that_nobody_was_promised_is_dropped(killed: Path) -> None:
    log = killed / f"{JOURNAL}-wal"
    found = log.read_bytes()
    end = end_of(found)
    with log.open("r+b") as torn:
        torn.seek(end)
        torn.write(found[end - FRAME :][:2000])
    with Book(killed) as book:
        assert len(book.recovered.entries) == COUNT


@pytest.mark.parametrize("frames", [1, 5, 15])
def test_a_lost_end_of_the_write_ahead_log_is_found(killed: Path, frames: int) -> None:
    """SQLite itself opens this without a word, at an earlier commit."""
    log = killed / f"{JOURNAL}-wal"
    found = log.read_bytes()
    log.write_bytes(found[: end_of(found) - frames * FRAME])
    assert "its end is lost" in refused(killed)


def test_a_bit_flipped_in_the_middle_of_the_write_ahead_log_is_found(killed: Path) -> None:
    log = killed / f"{JOURNAL}-wal"
    flip(log, end_of(log.read_bytes()) // 2)
    assert "its end is lost" in refused(killed)


@pytest.mark.parametrize("frames", [1, 5, 15])
def test_zeros_where_the_write_ahead_log_had_an_end_are_found(killed: Path, frames: int) -> None:
    """As a file system leaves it that lost the writes and kept the size."""
    log = killed / f"{JOURNAL}-wal"
    found = log.read_bytes()
    end = end_of(found)
    log.write_bytes(found[: end - frames * FRAME] + bytes(len(found) - end + frames * FRAME))
    assert "its end is lost" in refused(killed)


def test_the_write_ahead_log_does_not_grow_while_it_is_used(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        before = (tmp_path / f"{JOURNAL}-wal").stat().st_size
        for number in range(1, 600):
            book.write(save(number, entries(number, number, term=3), term=3))
        assert (tmp_path / f"{JOURNAL}-wal").stat().st_size == before == WAL_BYTES


def test_a_missing_write_ahead_log_is_found(killed: Path) -> None:
    (killed / f"{JOURNAL}-wal").unlink()
    refused(killed)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"nonsense" * 1024)


@pytest.mark.parametrize("damage", [Path.unlink, empty, garbage])
@pytest.mark.parametrize("name", [JOURNAL, MARK])
def test_a_missing_or_replaced_file_is_found(written: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(written / name)
    refused(written)


def test_one_torn_slot_of_the_mark_is_harmless(written: Path) -> None:
    for place in (3, 30):
        copy = written.parent / f"torn-{place}"
        shutil.copytree(written, copy)
        flip(copy / MARK, place)
        with Book(copy) as book:
            assert len(book.recovered.entries) == COUNT


def test_an_earlier_journal_in_the_place_of_the_newest_is_found(written: Path) -> None:
    earlier = (written / JOURNAL).read_bytes()
    with Book(written) as book:
        book.write(save(1, entries(COUNT + 1, COUNT + 1, term=3), term=3))
    (written / JOURNAL).write_bytes(earlier)
    assert "its end is lost" in refused(written)


def test_a_newer_format_is_refused(written: Path) -> None:
    change(written, "UPDATE state SET format = 2")
    with pytest.raises(JournalError, match="has format 2, this mltbd reads 1"):
        Book(written)


def test_a_creation_that_was_cut_short_begins_anew(tmp_path: Path) -> None:
    (tmp_path / MARK).touch()
    Book(tmp_path).close()
    other = tmp_path / "other"
    other.mkdir()
    (other / JOURNAL).touch()
    with Book(other) as book:
        assert book.recovered.incarnation == 1
