"""Rows: what a value of the state looks like in a snapshot, and what is refused on the way back."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from mltbd.state.dumps import row, rows, unrow


@dataclass(frozen=True, slots=True)
class Thing:
    name: str
    count: int
    good: bool = True
    share: float = 0.5


@pytest.mark.parametrize("thing", [Thing("a", 1), Thing("", -5, False, 2.0), Thing("ü" * 5000, 2**63)])
def test_there_and_back(thing: Thing) -> None:
    assert unrow(Thing, row(thing)) == thing


def test_what_an_older_release_did_not_write_takes_its_default() -> None:
    assert unrow(Thing, ["a", 1]) == Thing("a", 1)


@pytest.mark.parametrize(
    "dumped",
    [None, {}, "a", ["a"], ["a", "1"], ["a", True], ["a", 1, 1], ["a", 1, True, 1], ["a", 1, True, 0.5, "newer"]],
)
def test_anything_else_is_refused(dumped: object) -> None:
    with pytest.raises(ValueError):
        unrow(Thing, dumped)


def test_a_list_is_a_list() -> None:
    assert rows([1, [2]], "things") == [1, [2]]
    with pytest.raises(ValueError, match="things is no list"):
        rows((1,), "things")
