"""A log that begins behind a snapshot: it knows whose it is, and what came before stays out of reach."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Entry, Grant, NoOp
from mltb_transport.store import Batch
from mltb_transport.voters import Voter
from mltbd.core.events import Recovered
from mltbd.core.log import BATCH_BYTES_MAX, InvariantViolation, Log, never_back, weight
from mltbd.core.snapshots import Snapshot
from tests.daemon.core.core_kit import WALL, entries, log_of

VOTERS = (Voter("n1", "disk-n1"), Voter("n2", "disk-n2"))


def snapshot(index: int = 10, term: int = 3) -> Snapshot:
    return Snapshot.take(index, term, "c1", VOTERS, [])


def test_it_knows_its_cluster_and_its_voters_without_the_founding() -> None:
    log = Log((), snapshot())
    assert (log.cluster, log.voters) == ("c1", VOTERS)
    assert (log.base_index, log.base_term, log.last_index, log.last_term) == (10, 3, 10, 3)


@pytest.mark.parametrize(("index", "term"), [(0, -1), (9, -1), (10, 3), (11, 3), (12, 4), (13, -1)])
def test_term_at(index: int, term: int) -> None:
    assert Log(entries(3, 4, first=11), snapshot()).term_at(index) == term


def test_entries_are_found_by_index() -> None:
    kept = entries(2, 3, 3, 4, first=8)
    log = Log(kept, snapshot(), (7, 2))
    assert [log.entry(index) for index in (8, 9, 10, 11)] == list(kept)
    assert (log.after(0), log.after(7), log.after(9), log.after(11)) == (kept, kept, kept[2:], ())
    assert log.batch(9) == kept[1:]
    assert [log.holds(index) for index in (7, 8, 11, 12)] == [False, True, True, False]


@pytest.mark.parametrize("index", [0, 1, 7, 12])
def test_what_is_not_there_is_not_given(index: int) -> None:
    log = Log(entries(2, 3, 3, 4, first=8), snapshot(), (7, 2))
    with pytest.raises(InvariantViolation, match=f"entry {index} is not in a log of 8 to 11"):
        log.entry(index)


def test_a_batch_does_not_begin_before_the_log() -> None:
    with pytest.raises(InvariantViolation, match="entry 10 is gone"):
        Log((), snapshot()).batch(10)


@pytest.mark.parametrize(
    ("first", "count", "base", "wrong"),
    [
        (12, 1, None, "entry 12 stands at place 11"),
        (10, 1, None, "entry 10 stands at place 11"),
        (8, 2, (7, 2), "a log of 8 to 9 with a snapshot of 10"),
        (12, 1, (11, 3), "a log of 12 to 12 with a snapshot of 10"),
    ],
)
def test_a_log_that_does_not_meet_its_snapshot_is_refused(
    first: int, count: int, base: tuple[int, int] | None, wrong: str
) -> None:
    with pytest.raises(InvariantViolation, match=wrong):
        Log(entries(*[3] * count, first=first), snapshot(), base)


def test_appends_go_on_behind_the_snapshot() -> None:
    log = Log((), snapshot())
    with pytest.raises(InvariantViolation, match="entry 11 of term 2 does not follow 10"):
        log.append(Entry(11, 2, WALL, NoOp()))
    log.append(Entry(11, 3, WALL, NoOp()))
    assert (log.last_index, log.last_term) == (11, 3)


def test_a_merge_cuts_behind_the_base_only() -> None:
    log = Log(entries(3, 3, first=11), snapshot())
    assert log.merge(entries(3, 5, first=11), commit=10) == entries(5, first=12)
    assert [log.term_at(index) for index in (11, 12)] == [3, 5]
    with pytest.raises(InvariantViolation, match="committed entry 9"):
        log.merge(entries(9, first=9), commit=0)


def test_the_end_of_what_was_recovered() -> None:
    assert Recovered("d", 1, 1, "", ()).last_index == 0
    assert Recovered("d", 1, 1, "", log_of(("n1",), 2)).last_index == 2
    assert Recovered("d", 1, 3, "", (), snapshot()).last_index == 10
    assert Recovered("d", 1, 3, "", entries(3, first=11), snapshot()).last_index == 11


def test_a_batch_weighs_less_than_a_frame_and_is_never_empty() -> None:
    heavy = Grant("main", "n1", "placement", "x" * 1000)
    log = Log(log_of(("n1",), *[1] * 3) + entries(*[1] * 200, first=5, command=heavy))
    assert len(log.batch(1)) == 128
    log = Log(log_of(("n1",)) + tuple(Entry(i, 1, 0, Grant("m", "n", "c", "x" * BATCH_BYTES_MAX)) for i in (2, 3)))
    assert [len(log.batch(first)) for first in (1, 2, 3, 4)] == [1, 1, 1, 0]


def test_weights_add_up_from_the_base_on() -> None:
    whole = log_of(("n1",), 1, 1)
    log = Log(whole)
    assert log.weight_between(0, 0) == 0
    assert log.weight_between(0, 2) == weight(whole[0]) + weight(whole[1])
    log.append(Entry(4, 1, 0, Grant("main", "n1", "placement", "ü" * 100)))
    assert 400 < log.weight_between(3, 4) == log.weight_between(0, 4) - log.weight_between(0, 3)


def batch(index: int, *commands: bytes, term: int = 1) -> Entry:
    return Entry(index, term, 0, Batch(commands))


@pytest.mark.parametrize("commands", [(), (b"",), (b"x" * 100, b"y" * 7)])
def test_a_batch_of_commands_weighs_what_its_parts_do(commands: tuple[bytes, ...]) -> None:
    assert weight(batch(1, *commands)) == 7 + 3 * weight(1) + weight(Batch(commands))


def test_it_knows_where_others_than_clients_have_a_place() -> None:
    """By hand, over every pair of indexes, while the log grows, is cut, compacted and replaced."""

    def check(log: Log) -> None:
        for index in range(log.last_index + 1):
            for last in range(index, log.last_index + 1):
                behind = range(index + 1, last + 1)
                alone = index >= log.base_index and all(isinstance(log.entry(i).command, Batch) for i in behind)
                assert log.only_batches(index, last) == alone, (index, last)

    log = Log((*log_of(("n1",), 1), *(batch(index) for index in (3, 4)), *entries(1, 1, first=5), batch(7)))
    check(log)
    log.append(batch(8))
    check(log)
    log.merge((batch(6, term=2), batch(7, term=2)), commit=5)
    check(log)
    log.compact(snapshot(5, 1), 4)
    check(log)
    log.compact(snapshot(6, 2), 6)
    log.append(Entry(8, 2, 0, NoOp()))
    check(log)
    log.install(snapshot(12, 3))
    log.append(batch(13, term=3))
    check(log)


@pytest.mark.parametrize(("commit", "covered"), [(5, 3), (9, 3), (9, 9), (9, 7)])
def test_commit_and_snapshot_only_grow(commit: int, covered: int) -> None:
    assert never_back((5, 3), commit, covered) == (commit, covered)


def test_a_snapshot_found_on_disk_may_be_ahead_of_what_a_leader_has_said() -> None:
    assert never_back((0, 8), 0, 8) == (0, 8)


@pytest.mark.parametrize(("commit", "covered"), [(4, 3), (5, 2), (5, 6)])
def test_neither_goes_back_and_nothing_uncommitted_is_covered(commit: int, covered: int) -> None:
    with pytest.raises(InvariantViolation):
        never_back((5, 3), commit, covered)
