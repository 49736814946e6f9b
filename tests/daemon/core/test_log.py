"""The replicated log: what may follow, what a leader may replace, and what nobody may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.messages import Entry, NoOp
from mltb_transport.voters import ChangeVoters, Voter
from mltbd.core.log import BATCH_ENTRIES_MAX, InvariantViolation, Log
from tests.daemon.core.core_kit import WALL, entries, founding, log_of

term_lists = st.lists(st.integers(1, 4), max_size=8).map(sorted)


def test_an_empty_log_belongs_to_no_cluster() -> None:
    log = Log()
    assert (log.cluster, log.voters, log.last_index, log.last_term) == ("", (), 0, 0)
    assert log.batch(1) == log.after(0) == ()


def test_the_first_entry_says_whose_log_it_is() -> None:
    log = Log(log_of(("n1", "n2"), 2, 2))
    assert log.cluster == "c1"
    assert log.voters == (Voter("n1", "disk-n1"), Voter("n2", "disk-n2"))
    assert (log.last_index, log.last_term) == (3, 2)


def test_a_log_that_begins_with_anything_else_is_refused_when_it_matters() -> None:
    log = Log(entries(1))
    for ask in (lambda: log.cluster, lambda: log.voters):
        with pytest.raises(InvariantViolation, match="no founding"):
            ask()


def test_a_log_with_a_gap_is_refused() -> None:
    with pytest.raises(InvariantViolation, match="entry 3 stands at place 2"):
        Log((founding("n1"), Entry(3, 1, WALL, NoOp())))


@pytest.mark.parametrize(("index", "term"), [(0, 0), (1, 1), (2, 2), (3, 5), (4, -1), (99, -1), (-1, -1)])
def test_term_at(index: int, term: int) -> None:
    assert Log(log_of(("n1",), 2, 5)).term_at(index) == term


def test_entries_are_found_by_index() -> None:
    whole = log_of(("n1",), 2, 3)
    log = Log(whole)
    assert [log.entry(index) for index in (1, 2, 3)] == list(whole)
    assert log.after(0) == whole
    assert log.after(2) == whole[2:]
    assert log.after(3) == ()
    assert log.batch(2) == whole[1:]


def test_a_batch_has_a_limit() -> None:
    log = Log(log_of(("n1",), *[1] * (BATCH_ENTRIES_MAX + 5)))
    assert len(log.batch(1)) == BATCH_ENTRIES_MAX
    assert log.batch(1)[-1].index == BATCH_ENTRIES_MAX
    assert [entry.index for entry in log.batch(BATCH_ENTRIES_MAX + 5)] == [BATCH_ENTRIES_MAX + 5, BATCH_ENTRIES_MAX + 6]


@pytest.mark.parametrize(
    ("index", "term", "follows"),
    [(4, 3, True), (4, 9, True), (4, 2, False), (3, 3, False), (5, 3, False)],
)
def test_append_leaves_no_gap_and_terms_never_fall(index: int, term: int, follows: bool) -> None:
    log = Log(log_of(("n1",), 2, 3))
    entry = Entry(index, term, WALL, NoOp())
    if not follows:
        with pytest.raises(InvariantViolation, match=f"entry {index} of term {term} does not follow 3"):
            log.append(entry)
        assert log.last_index == 3
        return
    log.append(entry)
    assert log.entry(4) == entry


@pytest.mark.parametrize(
    ("theirs", "first", "commit", "fresh", "terms"),
    [
        # ours is founding(1), 2, 2, 3
        ((), 5, 4, 0, (1, 2, 2, 3)),
        ((3, 3), 5, 4, 2, (1, 2, 2, 3, 3, 3)),  # goes on
        ((2, 2, 3), 2, 4, 0, (1, 2, 2, 3)),  # repeated: nothing to save
        ((2, 2, 3, 4), 2, 4, 1, (1, 2, 2, 3, 4)),  # overlaps
        ((4,), 4, 3, 1, (1, 2, 2, 4)),  # a conflicting tail is cut
        ((2, 3, 4), 2, 1, 2, (1, 2, 3, 4)),  # from the first conflict on
        ((2,), 2, 1, 0, (1, 2, 2, 3)),  # an old, short message cuts nothing
    ],
)
def test_merge(theirs: tuple[int, ...], first: int, commit: int, fresh: int, terms: tuple[int, ...]) -> None:
    log = Log(log_of(("n1",), 2, 2, 3))
    came = entries(*theirs, first=first)
    assert log.merge(came, commit) == came[len(came) - fresh :]
    assert tuple(log.term_at(index) for index in range(1, log.last_index + 1)) == terms


@pytest.mark.parametrize("commit", [3, 4])
def test_merge_never_cuts_what_is_committed(commit: int) -> None:
    log = Log(log_of(("n1",), 2, 2, 3))
    with pytest.raises(InvariantViolation, match="committed entry 3"):
        log.merge(entries(4, 4, first=3), commit)
    assert [log.term_at(index) for index in (2, 3, 4)] == [2, 2, 3]


@pytest.mark.parametrize(
    ("index", "term", "wanted"),
    [
        (4, 3, None),  # it matches
        (2, 2, None),
        (9, 3, 5),  # behind: whatever follows the last one
        (4, 4, 3),  # in doubt: whatever follows the committed ones
        (3, 9, 3),
    ],
)
def test_where_a_leader_is_to_begin(index: int, term: int, wanted: int | None) -> None:
    assert Log(log_of(("n1",), 2, 2, 3)).wanted(index, term, 2) == wanted


def test_a_leader_with_another_committed_entry_is_no_leader() -> None:
    """It would ask for ever: nothing it sends can be taken. One of the two lost what it had acknowledged."""
    with pytest.raises(InvariantViolation, match="another entry 2 than the committed one"):
        Log(log_of(("n1",), 2, 2, 3)).wanted(2, 1, 2)


def test_merge_refuses_a_gap() -> None:
    with pytest.raises(InvariantViolation, match="does not follow"):
        Log(log_of(("n1",), 2)).merge(entries(2, first=4), 1)


@given(ours=term_lists, theirs=term_lists, shared=st.integers(0, 8), repeat=st.integers(0, 8))
def test_after_a_merge_the_log_is_the_leaders_up_to_what_it_sent(
    ours: list[int], theirs: list[int], shared: int, repeat: int
) -> None:
    """Ours and the leader's agree up to some index, as log matching promises; then each went on alone."""
    common = [1] * shared
    log = Log(log_of(("n1",), *common, *[term + 4 for term in ours]))  # other terms than the leader's tail
    leader = log_of(("n1",), *common, *[term + 8 for term in theirs])
    start = min(repeat, shared)
    before = log.after(0)
    fresh = log.merge(leader[1 + start :], commit=1 + shared)
    after = log.after(0)
    assert after[: len(leader)] == leader
    if theirs:
        assert after == leader
        assert fresh == leader[1 + shared :]
    else:
        assert (after, fresh) == (before, ())


# -- the voters ------------------------------------------------------------------------------------------------------


def change(index: int, term: int, *nodes: str) -> Entry:
    return Entry(index, term, 0, ChangeVoters(tuple(Voter(node, f"disk-{node}") for node in nodes), "promoted", "", ""))


def ruling(log: Log) -> tuple[str, int]:
    return " ".join(voter.node for voter in log.voters), log.voters_index


def test_founders_replace_nobody() -> None:
    assert not Log(log_of(("n1", "n2"), 1)).voters_before


def test_a_change_of_the_voters_rules_as_soon_as_it_is_appended() -> None:
    log = Log(log_of(("n1", "n2"), 1))
    assert ruling(log) == ("n1 n2", 1)
    log.append(change(3, 1, "n1", "n2", "n3"))
    assert ruling(log) == ("n1 n2 n3", 3)
    assert [voter.node for voter in log.voters_before] == ["n1", "n2"]
    log.append(Entry(4, 1, 0, NoOp()))
    assert ruling(log) == ("n1 n2 n3", 3)


def test_a_change_that_is_cut_rules_no_more() -> None:
    log = Log((*log_of(("n1", "n2"), 1), change(3, 1, "n1"), change(4, 1, "n1", "n4")))
    assert ruling(log) == ("n1 n4", 4)
    log.merge((change(4, 2, "n1", "n5"),), commit=2)
    assert ruling(log) == ("n1 n5", 4)
    log.merge((Entry(3, 3, 0, NoOp()),), commit=2)
    assert ruling(log) == ("n1 n2", 1)
