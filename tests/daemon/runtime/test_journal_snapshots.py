"""The journal with a snapshot: replaced whole, together with the log it stands for, or not at all."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import msgpack
import pytest

from mltb_transport.messages import Entry
from mltb_transport.voters import Voter
from mltbd.core.effects import Save
from mltbd.core.events import Recovered
from mltbd.core.snapshots import Snapshot
from mltbd.runtime.journal_errors import InvalidSave, JournalCorrupt, NewerJournal
from mltbd.runtime.journal_file import JOURNAL, JournalFile
from tests.daemon.runtime.journal_kit import entries, save

VOTERS = (Voter("n1", "disk-n1"),)


def snapshot(index: int, term: int = 1, fill: str = "") -> Snapshot:
    return Snapshot.take(index, term, "c1", VOTERS, [fill])


def keep(number: int, index: int, base: int, term: int = 1) -> Save:
    """The snapshot of `index`, and the log behind `base`."""
    return Save(number, term, "n1", (), snapshot(index, term), (base, term))


def written(directory: Path, *saves: Save) -> Recovered:
    """What a new incarnation finds after these saves."""
    directory.mkdir(exist_ok=True)
    file = JournalFile(directory, "n1")
    for each in saves:
        file.write([each])
    file.close()
    return found(directory)


def found(directory: Path) -> Recovered:
    file = JournalFile(directory, "n1")
    file.close()
    return file.recovered()


def test_a_compacted_log_comes_back_with_its_tail(tmp_path: Path) -> None:
    back = written(tmp_path / "s", save(1, entries(1, 9)), keep(2, 7, 5))
    assert (back.snapshot, back.base) == (snapshot(7), (5, 1))
    assert back.entries == entries(1, 9)[5:]
    assert back.last_index == 9


def test_the_log_goes_on_behind_it_and_is_compacted_again(tmp_path: Path) -> None:
    back = written(
        tmp_path / "s", save(1, entries(1, 4)), keep(2, 4, 4), save(3, entries(5, 8)), keep(4, 7, 6), save(5)
    )
    assert (back.snapshot, back.base, back.entries) == (snapshot(7), (6, 1), entries(5, 8)[2:])


def test_a_leaders_snapshot_replaces_a_log_that_does_not_reach_it(tmp_path: Path) -> None:
    back = written(tmp_path / "s", save(1, entries(1, 4)), keep(2, 9, 9), save(3, entries(10, 11)))
    assert (back.snapshot, back.base, back.entries) == (snapshot(9), (9, 1), entries(10, 11))


def test_a_log_that_differs_goes(tmp_path: Path) -> None:
    back = written(tmp_path / "s", save(1, entries(1, 9)), keep(2, 6, 6, term=3), save(3, entries(7, 7, term=3), 3))
    assert (back.base, back.entries, back.last_index) == ((6, 3), entries(7, 7, term=3), 7)


def test_one_save_may_bring_a_snapshot_and_what_follows_it(tmp_path: Path) -> None:
    both = Save(2, 1, "n1", entries(10, 12), snapshot(9), (9, 1))
    back = written(tmp_path / "s", save(1, entries(1, 4)), both)
    assert (back.base, back.entries) == ((9, 1), entries(10, 12))


def test_behind_a_snapshot_a_conflicting_tail_is_cut_down_to_the_base(tmp_path: Path) -> None:
    back = written(tmp_path / "s", save(1, entries(1, 6)), keep(2, 4, 4), save(3, entries(5, 5, term=2), term=2))
    assert (back.base, back.entries) == ((4, 1), entries(5, 5, term=2))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (keep(3, 4, 4), "goes back behind 6"),
        (keep(3, 8, 3), "goes back behind 6"),
        (keep(3, 7, 8), "with base 8"),
        (save(3, entries(5, 5)), "begin at 5, and could from 7 to 10"),
        (save(3, entries(6, 6)), "begin at 6, and could from 7 to 10"),
        (Save(3, 1, "n1", entries(8, 8), snapshot(8), (8, 1)), "begin at 8, and could from 9"),
    ],
)
def test_what_would_lose_something_is_refused_before_it_is_written(tmp_path: Path, wrong: Save, why: str) -> None:
    state = tmp_path / "s"
    state.mkdir()
    file = JournalFile(state, "n1")
    file.write([save(1, entries(1, 9)), keep(2, 6, 5)])
    with pytest.raises(InvalidSave, match=why):
        file.write([wrong])
    file.close()
    back = found(state)
    assert (back.snapshot, back.base, back.last_index) == (snapshot(6), (5, 1), 9)


@pytest.mark.parametrize("seed", range(12))
def test_any_story_is_found_again_as_it_was_told(tmp_path: Path, seed: int) -> None:
    """Appends, cuts, compactions and snapshots from elsewhere, against a model in memory; reopened all the time."""
    dice = random.Random(seed)
    state = tmp_path / "s"
    state.mkdir()
    model: list[Entry] = []
    base, taken, term = (0, 0), None, 1
    for number in range(1, 40):
        last = base[0] + len(model)
        covered = taken.index if taken is not None else 0
        kind = dice.choice(("append", "append", "cut", "compact", "install"))
        if kind in ("append", "cut"):
            first = last + 1 if kind == "append" else dice.randint(covered + 1, last + 1)
            term += kind == "cut"
            fresh = entries(first, first + dice.randrange(6), term=term)
            model[first - base[0] - 1 :] = fresh
            told = save(number, fresh, term)
        elif kind == "compact" and last > covered:
            index = dice.randint(max(covered, 1), last)
            at = dice.randint(base[0], index)
            cut_term = base[1] if at == base[0] else model[at - base[0] - 1].term
            taken = snapshot(index, term, "x" * dice.randrange(9000))
            del model[: at - base[0]]
            base = (at, cut_term)
            told = Save(number, term, "n1", (), taken, base)
        else:
            term += 1
            index = dice.randint(covered + 1, last + 3)
            taken, model, base = snapshot(index, term), [], (index, term)
            told = Save(number, term, "n1", (), taken, base)
        back = written(state, told)
        assert (back.entries, back.snapshot, back.base, back.term) == (tuple(model), taken, base, term)


# -- damage ------------------------------------------------------------------------------------------------------


def change(state: Path, *statements: str, **values: object) -> None:
    connection = sqlite3.connect(state / JOURNAL)
    with connection:
        for statement in statements:
            connection.execute(statement, values)
    connection.close()


DAMAGED = snapshot(7).data[:-1] + b"?"


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DELETE FROM snapshot", "does not match its checksum"),
        ("UPDATE snapshot SET body = :damaged", "does not match its checksum"),
        ("UPDATE state SET snapshot = 6", "state row"),
        ("UPDATE state SET base = 4", "state row"),
        ("DELETE FROM log WHERE idx = 6", "entry 6 is missing"),
        ("DELETE FROM log", "it ends with entry 5, and 9 was acknowledged"),
    ],
)
def test_damage_is_found_at_the_start(tmp_path: Path, statement: str, why: str) -> None:
    state = tmp_path / "s"
    written(state, save(1, entries(1, 9)), keep(2, 7, 5))
    change(state, statement, damaged=DAMAGED) if ":damaged" in statement else change(state, statement)
    with pytest.raises(JournalCorrupt, match=why) as told:
        found(state)
    assert "restore a backup" in told.value.hint


def test_a_snapshot_of_a_newer_release_is_not_called_damaged(tmp_path: Path) -> None:
    state = tmp_path / "s"
    data = b"\x97\x07" + snapshot(7).data[2:]  # layout 7
    written_by_newer = Save(2, 1, "n1", (), Snapshot(7, 1, "c1", VOTERS, data), (5, 1))
    state.mkdir()
    file = JournalFile(state, "n1")
    file.write([save(1, entries(1, 9)), written_by_newer])
    file.close()
    with pytest.raises(NewerJournal, match="layout 7, this release reads 1") as told:
        found(state)
    assert told.value.hint == "install the newer mltbd that wrote it"


def test_an_entry_of_a_newer_release_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "s"
    body = msgpack.packb([1, 1, 0, [77, []]])
    monkeypatch.setattr("mltbd.runtime.journal_file.pack_entry", lambda _entry: body)
    state.mkdir()
    file = JournalFile(state, "n1")
    file.write([save(1, entries(1, 1))])
    file.close()
    with pytest.raises(NewerJournal, match=r"entry 1: Entry\.command: unknown command 77") as told:
        found(state)
    assert told.value.hint == "install the newer mltbd that wrote it"
