"""The replicated state: every entry once and in order, whoever applies it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.messages import (
    Abandon,
    CancelFailback,
    Command,
    Entry,
    Founding,
    Grant,
    Move,
    NoOp,
    Release,
    Settled,
    Started,
)
from mltb_transport.operations import Drain, Pause, Resume, Undrain
from mltb_transport.voters import Voter
from mltbd.state.machine import PARTS, State

VOTERS = (Voter("n1", "disk-n1"), Voter("n2", "disk-n2"))
FOUNDING = Entry(1, 1, 0, Founding("c1", "bots", VOTERS))


def test_before_the_founding_there_is_nothing() -> None:
    state = State()
    assert (state.applied, state.cluster, state.name, state.voters) == (0, "", "", ())


def test_the_founding_names_the_cluster_and_its_voters() -> None:
    state = State()
    state.apply(FOUNDING)
    assert (state.applied, state.cluster, state.name, state.voters) == (1, "c1", "bots", VOTERS)
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


workloads = st.sampled_from(("main", "other"))
nodes = st.sampled_from(("n1", "n2", "n3"))
small = st.integers(0, 40)
commands: st.SearchStrategy[Command] = st.one_of(
    st.just(NoOp()),
    st.builds(Grant, workloads, nodes, st.sampled_from(("placement", "failover", "failback")), st.text(max_size=9)),
    st.builds(Release, workloads, small, st.sampled_from(("moved", "failed", "leaving"))),
    st.builds(Move, workloads, small, nodes, st.sampled_from(("switchover", "failback")), st.text(max_size=9)),
    st.builds(Abandon, workloads, small, st.just("late")),
    st.builds(Started, workloads, small),
    st.builds(Settled, workloads, small),
    st.builds(CancelFailback, workloads),
    st.builds(Pause, st.floats(0, 9), nodes, st.text(max_size=9)),
    st.builds(Resume, small, st.sampled_from(("asked", "expired"))),
    st.builds(Drain, nodes, nodes),
    st.builds(Undrain, nodes, nodes),
)


def played(before: list[Command]) -> State:
    state = State()
    state.apply(FOUNDING)
    for index, command in enumerate(before, start=2):
        state.apply(Entry(index, 1, index * 1000, command))
    return state


@given(st.lists(commands, max_size=40), st.lists(commands, max_size=10))
def test_a_state_from_a_dump_is_the_state_and_goes_on_like_it(before: list[Command], after: list[Command]) -> None:
    state = played(before)
    again = State.load(state.dump())
    assert again.dump() == state.dump()
    assert (again.voters, again.placements.by_workload) == (state.voters, state.placements.by_workload)
    for index, command in enumerate(after, start=state.applied + 1):
        state.apply(Entry(index, 2, index * 1000, command))
        again.apply(Entry(index, 2, index * 1000, command))
    assert again.dump() == state.dump()


@given(st.lists(commands, max_size=20))
def test_a_dump_is_no_window_on_the_state(before: list[Command]) -> None:
    state = played(before)
    dumped = state.dump()
    kept = repr(dumped)
    state.apply(Entry(state.applied + 1, 9, 9, Grant("main", "n1", "placement")))
    assert repr(dumped) == kept


def test_a_state_becomes_another() -> None:
    state, other = State(), played([Grant("main", "n2", "placement")])
    state.become(other)
    assert (state.applied, state.cluster, state.voters) == (2, "c1", VOTERS)
    assert state.placements.get("main").owner == "n2"


plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4)), lambda inner: st.lists(inner, max_size=5)
)


@given(st.lists(plain, max_size=6))
def test_what_no_state_dumped_is_refused(dumped: list[Any]) -> None:
    try:
        state = State.load(dumped)
    except ValueError:
        return
    assert state.dump()[:4] == dumped[:4]


def test_a_part_of_a_newer_release_is_refused() -> None:
    dumped = played([]).dump()
    dumped[4].append(["novelties", []])
    with pytest.raises(ValueError, match="novelties"):
        State.load(dumped)


def test_every_part_is_dumped() -> None:
    ours = {name for name, part in vars(State()).items() if hasattr(part, "dump")}
    assert ours == set(PARTS)
