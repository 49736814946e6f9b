"""The level in the state: it rises by the log, never falls, and goes through a dump."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport import store as wire
from mltb_transport.level import STORE_LEVEL_OF, Level
from mltb_transport.messages import Command, Entry, Founding, NoOp
from mltb_transport.store import Batch
from mltbd.core.describe import sentence
from mltbd.state.levels import Levels
from mltbd.state.machine import State

changes = st.lists(st.one_of(st.builds(Level, st.integers(0, 9)), st.just(NoOp())), max_size=12)


def applied(*commands: Command) -> State:
    state = State()
    for index, command in enumerate(commands, start=1):
        state.apply(Entry(index, 1, 1000 * index, command))
    return state


def test_a_cluster_begins_where_its_founding_says() -> None:
    assert applied(NoOp()).levels.level == 1
    assert applied(Founding("c1", "", ())).levels.level == 1
    assert applied(Founding("c1", "", (), 3)).levels.dump() == [3, 1, 1000]


@given(changes)
def test_it_never_falls(commands: list[Command]) -> None:
    state = State()
    for index, command in enumerate(commands, start=1):
        before = state.levels.level
        state.apply(Entry(index, 1, 0, command))
        assert state.levels.level == max(before, command.level if isinstance(command, Level) else 0)


@given(changes)
def test_it_goes_through_a_dump(commands: list[Command]) -> None:
    state = applied(*commands)
    assert State.load(state.dump()).levels.dump() == state.levels.dump()


@pytest.mark.parametrize("dumped", [[], [1, 2], ["1", 0, 0], [0, 0, 0], [1, 2, 3, 4]])
def test_anything_else_is_refused(dumped: list[Any]) -> None:
    with pytest.raises(ValueError, match="a level has"):
        Levels.load(dumped)


def test_a_state_without_a_level_is_of_the_first() -> None:
    dumped = applied(Founding("c1", "", ())).dump()
    dumped[4] = [part for part in dumped[4] if part[0] != "levels"]
    assert State.load(dumped).levels.level == 1


def test_a_rise_is_an_event_of_the_history_and_a_repeat_is_none() -> None:
    state = applied(Founding("c1", "", ()), Level(2), Level(2), Level(1))
    told = [event for event in state.audit.events.values() if event.kind == "level"]
    assert [(event.id, sentence(event)) for event in told] == [
        (2, "the protocol level rose from 1 to 2: all members speak it")
    ]


def test_what_the_level_does_not_have_is_passed_over_by_every_node(monkeypatch: pytest.MonkeyPatch) -> None:
    body = wire.packed("c", 1, wire.SET, "k", "1", -1, "", 0).body
    monkeypatch.setitem(STORE_LEVEL_OF, wire.SET, 2)
    state = applied(Founding("c1", "", ()), Batch((body,)))
    assert (state.done, state.store.revision) == ([], 0)
    state = applied(Founding("c1", "", ()), Level(2), Batch((body,)))
    assert [done[:2] for done in state.done] == [("c", 1)]
