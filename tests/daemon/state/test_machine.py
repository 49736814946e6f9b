"""The replicated state: every entry once and in order, whoever applies it."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Entry, Founding, Grant, NoOp
from mltb_transport.voters import Voter
from mltbd.state.machine import State

VOTERS = (Voter("n1", "disk-n1"), Voter("n2", "disk-n2"))
FOUNDING = Entry(1, 1, 0, Founding("c1", "bots", VOTERS))


def test_before_the_founding_there_is_nothing() -> None:
    state = State()
    assert (state.applied, state.cluster, state.name, state.voters.agreed) == (0, "", "", ())


def test_the_founding_names_the_cluster_and_its_voters() -> None:
    state = State()
    state.apply(FOUNDING)
    assert (state.applied, state.cluster, state.name, state.voters.agreed) == (1, "c1", "bots", VOTERS)
    assert state.placements.by_workload == {}


def test_everything_else_is_about_places() -> None:
    state = State()
    for entry in (FOUNDING, Entry(2, 1, 0, NoOp()), Entry(3, 1, 0, Grant("main", "n2", "placement"))):
        state.apply(entry)
    assert state.applied == 3
    assert (state.placements.get("main").owner, state.placements.get("main").token) == ("n2", 3)
    assert state.cluster == "c1"


@pytest.mark.parametrize(("before", "index"), [(0, 2), (0, 0), (1, 1), (1, 3), (2, 1)])
def test_entries_are_neither_skipped_nor_repeated(before: int, index: int) -> None:
    state = State()
    for entry in (FOUNDING, Entry(2, 1, 0, NoOp()))[:before]:
        state.apply(entry)
    with pytest.raises(ValueError, match=f"entry {index} applied after {before}"):
        state.apply(Entry(index, 1, 0, Grant("main", "n1", "placement")))
    assert state.applied == before
    assert state.placements.get("main").owner == ""
