"""Node ids: what they look like, and the nearest to anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltbd.config.names import SHOWN_CHARS_MAX, check_node_id, node_id_from, shown
from mltbd.config.problem import ValueProblem


@given(st.text(max_size=100))
def test_any_text_has_a_nearest_node_id(text: str) -> None:
    assert check_node_id(node_id_from(text))


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True))
def test_a_node_id_is_nearest_to_itself(text: str) -> None:
    assert node_id_from(text) == check_node_id(text) == text


@pytest.mark.parametrize("text", ["", "N1", "a_b", "x" * 64, "n1\n"])
def test_what_is_no_node_id_is_refused(text: str) -> None:
    with pytest.raises(ValueProblem):
        check_node_id(text)


def test_long_texts_are_cut_for_messages() -> None:
    assert shown("x" * SHOWN_CHARS_MAX) == "x" * SHOWN_CHARS_MAX
    assert len(shown("x" * 10_000)) == SHOWN_CHARS_MAX + 3
