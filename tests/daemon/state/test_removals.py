"""Who was removed: applied, remembered within a limit, dumped and loaded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.messages import Command, Entry, NoOp
from mltb_transport.voters import ChangeVoters, Voter
from mltbd.state.machine import State
from mltbd.state.removals import REMOVED_MAX, Removals

ONE, TWO = Voter("n1", "d1"), Voter("n2", "d2")
names = st.sampled_from(("n1", "n2", "n3"))
changes = st.builds(
    ChangeVoters,
    st.lists(st.builds(Voter, names, names), max_size=4).map(tuple),
    st.sampled_from(("promoted", "lost", "removed", "admitted", "recovered")),
    names,
    names,
)


def applied(*commands: Command) -> State:
    state = State()
    for index, command in enumerate(commands, start=1):
        state.apply(Entry(index, 1, 0, command))
    return state


def test_the_committed_voters_are_those_of_the_youngest_change() -> None:
    assert applied(ChangeVoters((ONE, TWO), "promoted", "n2", "d2"), NoOp()).voters == (ONE, TWO)


def test_who_is_removed_is_remembered_by_its_disk() -> None:
    state = applied(ChangeVoters((ONE,), "removed", "n2", "d2"))
    assert state.voters == (ONE,)
    assert state.removals.has("n2", "d2")
    assert not state.removals.has("n2", "another")
    assert not state.removals.has("n1", "d2")


def test_admission_forgets_it() -> None:
    out = ChangeVoters((ONE,), "removed", "n2", "d2")
    assert not applied(out, ChangeVoters((ONE,), "admitted", "n2", "d2")).removals.removed


def test_who_goes_on_alone_is_refused_no_more() -> None:
    out = ChangeVoters((ONE,), "removed", "n2", "d2")
    assert not applied(out, ChangeVoters((TWO,), "recovered", "n2", "d2")).removals.removed


def test_who_is_lost_or_promoted_is_not_refused() -> None:
    state = applied(ChangeVoters((ONE,), "lost", "n2", "d2"), ChangeVoters((ONE, TWO), "promoted", "n2", "d2"))
    assert not state.removals.removed


def test_the_memory_has_a_limit() -> None:
    state = applied(*(ChangeVoters((ONE,), "removed", f"n{n}", "d") for n in range(REMOVED_MAX + 2)))
    assert len(state.removals.removed) == REMOVED_MAX
    assert not state.removals.has("n1", "d")
    assert state.removals.has("n2", "d")


@given(st.lists(changes, max_size=12))
def test_what_is_dumped_comes_back(commands: list[ChangeVoters]) -> None:
    removals = applied(*commands).removals
    loaded = Removals.load(removals.dump())
    assert list(loaded.removed.items()) == list(removals.removed.items())  # The order decides who is forgotten first.


@pytest.mark.parametrize("dumped", [[["n1", "d1"]], [["n1", 1, 1]], [1], [["n1", "d1", "x"]]])
def test_anything_else_is_refused(dumped: list[object]) -> None:
    with pytest.raises(ValueError, match="removal"):
        Removals.load(dumped)
