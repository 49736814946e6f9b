"""What may be asked of a what-if, and what is said of everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltbd.whatif.faults import FAULT_CHARS_MAX, FaultError, parse

NAMES = ("n1", "n2", "n3")


@pytest.mark.parametrize(
    ("text", "words", "apart"),
    [
        ("kill n1", "kill n1", 0),
        ("  kill   n1  n2 ", "kill n1 n2", 0),
        ("kill leader", "kill n1", 0),
        ("kill owner", "kill n2", 0),
        ("stop primary", "stop n2", 0),
        ("cut n1 n3", "cut n1 n3", 2),
        ("split n1 | n2 n3", "split n1 | n2 n3", 4),
        ("split n1|n2|n3", "split n1 | n2 | n3", 6),
        ("split leader | owner n3", "split n1 | n2 n3", 4),
    ],
)
def test_faults(text: str, words: str, apart: int) -> None:
    fault = parse(text, NAMES, "n1", "n2")
    assert str(fault) == words
    assert len(fault.apart) == len(set(fault.apart)) == apart
    assert all((b, a) in fault.apart for a, b in fault.apart)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "begins with none of kill, stop, split, cut"),
        ("n1", "begins with none of"),
        ("unplug n1", "begins with none of"),
        ("kill", "use: kill NODE"),
        ("kill n9", "no node `n9` here, only n1, n2, n3"),
        ("kill n1 n1", "names a node twice"),
        ("kill leader n1", "names a node twice"),
        ("kill n1 | n2", "use: kill NODE"),
        ("cut n1", "use: cut NODE NODE"),
        ("cut n1 n2 n3", "use: cut NODE NODE"),
        ("split n1 n2 n3", "use: split NODE"),
        ("split n1 | ", "use: split NODE"),
        ("split n1 | n2", "n3 must be on one of the sides"),
        ("split n1 n2 | n2 n3", "names a node twice"),
        ("kill " + "n" * FAULT_CHARS_MAX, "more than 500 characters"),
    ],
)
def test_no_faults(text: str, why: str) -> None:
    with pytest.raises(FaultError) as error:
        parse(text, NAMES, "n1", "n2")
    assert why in str(error.value)


def test_a_role_that_nobody_has_is_said_so() -> None:
    with pytest.raises(FaultError, match="there is no owner now"):
        parse("kill owner", NAMES, "n1", "")


@given(st.lists(st.sampled_from(["kill", "split", "cut", "n1", "n2", "n3", "|", "leader", "owner"]), max_size=8))
def test_any_words_are_a_fault_of_known_nodes_or_refused(words: list[str]) -> None:
    try:
        fault = parse(" ".join(words), NAMES, "n1", "")
    except FaultError:
        return
    assert set(fault.nodes) <= set(NAMES)
    assert parse(str(fault), NAMES, "n1", "") == fault
