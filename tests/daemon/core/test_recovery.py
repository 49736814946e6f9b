"""Going on alone: nothing that this disk has is lost, no number is given twice, and nobody else is a member."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Entry, Founding, Grant, NoOp
from mltb_transport.voters import ChangeVoters, Voter
from mltbd.core.events import Recovered
from mltbd.core.log import Log
from mltbd.core.recovery import INDEX_LEAP, TERM_LEAP, NothingToRecover, alone, replayed
from mltbd.core.snapshots import Snapshot, restored

VOTERS = tuple(Voter(f"n{number}", f"disk-n{number}") for number in (1, 2, 3))
ENTRIES = (
    Entry(1, 1, 0, Founding("c1", "lab", VOTERS)),
    Entry(2, 2, 0, NoOp()),
    Entry(3, 2, 0, Grant("main", "n1", "placement")),
)
FOUND = Recovered("disk-n2", 4, 7, "n1", ENTRIES)


def taken(found: Recovered = FOUND) -> Snapshot:
    save = alone(found, "n2", "c2", 1000)
    assert save.snapshot is not None
    assert (save.save, save.vote, save.entries) == (1, "", ())
    assert save.base == (save.snapshot.index, save.snapshot.term)
    assert save.term == save.snapshot.term == found.term + TERM_LEAP
    return save.snapshot


def test_this_node_is_the_only_voter_of_another_cluster() -> None:
    state = restored(taken())
    assert (state.cluster, state.name, state.voters) == ("c2", "lab", (Voter("n2", "disk-n2"),))
    log = Log((), taken())
    assert (log.cluster, log.voters) == ("c2", state.voters)


def test_what_this_disk_has_is_kept_and_numbers_leap() -> None:
    state = restored(taken())
    assert state.placements.get("main").token == 3
    assert state.applied > ENTRIES[-1].index + INDEX_LEAP
    (event,) = [event for event in state.audit.events.values() if event.kind == "recovered"]
    assert (event.node, event.reason) == ("n2", "cluster c1 was given up")


def test_it_goes_on_from_a_snapshot_and_the_entries_behind_it() -> None:
    first = Recovered("disk-n2", 4, 7, "", ENTRIES[:2])
    state = replayed(first)
    snapshot = Snapshot.take(2, 2, "c1", state.voters, state.dump())
    assert restored(taken(Recovered("disk-n2", 4, 7, "", ENTRIES, snapshot, (0, 0)))).placements.get("main").token == 3


def test_a_second_time_is_not_needed_and_an_empty_disk_has_nothing() -> None:
    again = Recovered("disk-n2", 5, 9, "", (), taken())
    with pytest.raises(NothingToRecover, match="only voter already"):
        alone(again, "n2", "c3", 0)
    with pytest.raises(NothingToRecover, match="never belonged"):
        alone(Recovered("disk-n2", 1, 0, "", ()), "n2", "c2", 0)


def test_one_that_was_removed_is_a_member_again_when_it_goes_on_alone() -> None:
    """The operator says so, and its disk may be all that is left."""
    others = tuple(voter for voter in VOTERS if voter.node != "n2")
    removal = Entry(4, 2, 0, ChangeVoters(others, "removed", "n2", "disk-n2"))
    state = restored(taken(Recovered("disk-n2", 4, 7, "n1", (*ENTRIES, removal))))
    assert not state.removals.removed
    state.removals.removed["n2", "disk-n2"] = 4  # As it was left behind once: such a disk can be recovered as well.
    left = Snapshot.take(state.applied, 9, "c2", state.voters, state.dump())
    assert not restored(taken(Recovered("disk-n2", 5, 9, "", (), left))).removals.removed


def test_one_that_is_left_alone_by_a_removal_needs_no_recovery() -> None:
    only = Entry(4, 2, 0, ChangeVoters((VOTERS[1],), "removed", "n1", "disk-n1"))
    with pytest.raises(NothingToRecover):
        alone(Recovered("disk-n2", 4, 7, "", (*ENTRIES, only)), "n2", "c2", 0)
