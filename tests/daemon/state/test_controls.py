"""The pause and the drained nodes: what each entry changes, what is ignored, and that a dump holds it all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.messages import Command, Entry, Founding, NoOp
from mltb_transport.operations import Drain, Pause, Resume, Undrain
from mltbd.core.describe import sentence
from mltbd.state.controls import DRAINED_MAX, Controls, Drained, Paused
from mltbd.state.machine import State


def told(*commands: Command) -> Controls:
    """The commands applied from index 2 on; entry i was written at wall clock i * 1000."""
    controls = Controls()
    for index, command in enumerate(commands, start=2):
        controls.apply(Entry(index, 1, index * 1000, command))
    return controls


def test_a_pause_is_remembered_with_its_index() -> None:
    controls = told(Pause(1800.0, "alice", "kernel"))
    assert controls.paused == Paused(2, 2000, 1800.0, "alice", "kernel")
    assert controls.changed == 2


def test_a_later_pause_takes_the_place_of_the_first() -> None:
    assert told(Pause(60.0, "alice"), Pause(0.0, "bob")).paused == Paused(3, 3000, 0.0, "bob", "")


def test_a_resume_ends_its_own_pause_only() -> None:
    assert told(Pause(60.0, "alice"), Resume(2, "asked")).paused is None
    late = told(Pause(60.0, "alice"), Pause(60.0, "bob"), Resume(2, "expired"))
    assert late.paused is not None
    assert (late.paused.index, late.changed) == (3, 3)


def test_a_drained_node_is_drained_until_undrained() -> None:
    controls = told(Drain("n1", "alice", "disk"), Drain("n2", "bob"), Undrain("n1", "alice"))
    assert controls.drained == {"n2": Drained("n2", 3, 3000, "bob", "")}
    assert controls.changed == 4


def test_repeats_and_strangers_change_nothing() -> None:
    controls = told(Drain("n1", "alice"), Drain("n1", "bob"), Undrain("n2", "alice"), Resume(0, "asked"), NoOp())
    assert controls.drained == {"n1": Drained("n1", 2, 2000, "alice", "")}
    assert controls.changed == 2


def test_drained_nodes_have_a_limit() -> None:
    controls = told(*(Drain(f"n{number}", "alice") for number in range(DRAINED_MAX + 1)))
    assert len(controls.drained) == DRAINED_MAX
    assert controls.changed == DRAINED_MAX + 1


names = st.sampled_from(["n1", "n2", "n3"])
commands = st.one_of(
    st.builds(Pause, st.floats(0, 1e6), names, st.text(max_size=5)),
    st.builds(Resume, st.integers(0, 30), st.sampled_from(["asked", "expired"])),
    st.builds(Drain, names, names, st.text(max_size=5)),
    st.builds(Undrain, names, names),
)


@given(st.lists(commands, max_size=25))
def test_a_dump_holds_it_all(entries: list[Command]) -> None:
    controls = told(*entries)
    again = Controls.load(json.loads(json.dumps(controls.dump())))
    assert (again.paused, again.drained, again.changed) == (controls.paused, controls.drained, controls.changed)
    assert list(again.drained) == list(controls.drained)


@pytest.mark.parametrize(
    "dumped", [[], [1, []], ["1", [], []], [1, [[2]], []], [1, [], [["n1", 2, 3, "alice"]]], [1, 2, 3]]
)
def test_what_no_dump_holds_is_refused(dumped: list[Any]) -> None:
    with pytest.raises(ValueError):
        Controls.load(dumped)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (Pause(60.0, "alice", "kernel"), "no automatic moves, asked for by alice: kernel"),
        (Resume(2, "expired"), "automatic moves are on: expired"),
        (Drain("n1", "alice", "disk"), "n1 is to be empty, asked for by alice: disk"),
        (Undrain("n1", "alice"), "n1 takes workloads again, asked for by alice"),
    ],
)
def test_the_history_tells_of_each_change_once(command: Command, words: str) -> None:
    state = State()
    first: list[Command] = [Founding("c", "c", ()), Pause(1.0, "x"), Drain("n1", "x"), Undrain("n1", "x")]
    for index, each in enumerate(first, start=1):
        state.apply(Entry(index, 1, 1, each))
    if isinstance(command, Undrain):
        state.apply(Entry(5, 1, 1, Drain("n1", "x")))
    index = state.applied + 1
    state.apply(Entry(index, 1, 1, command))
    state.apply(Entry(index + 1, 1, 1, Resume(77, "asked")))  # Ends nothing, and is not told.
    assert [sentence(event) for event in state.audit.events.values() if event.id >= index] == [words]
