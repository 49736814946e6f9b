"""Plain lists there and back; any bytes give a value or a PlainError."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.plain import PlainError, pack_plain, unpack_plain

scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text())
plain = st.lists(st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=20), max_size=5)


@given(plain)
def test_there_and_back(value: list[Any]) -> None:
    assert unpack_plain(pack_plain(value)) == value


def test_half_a_letter_is_kept_as_it_is() -> None:
    assert unpack_plain(pack_plain(["\ud800"])) == ["\ud800"]


def test_more_than_a_frame_may_hold() -> None:
    assert unpack_plain(pack_plain([["x" * 2_000_000], list(range(5000))]))[1][-1] == 4999


@given(st.binary(max_size=80))
def test_any_bytes_are_a_value_or_refused(packed: bytes) -> None:
    try:
        unpack_plain(packed)
    except PlainError:
        return
    assert packed


@pytest.mark.parametrize("packed", [b"", msgpack.packb({"a": 1}), msgpack.packb(b"x"), b"\x91" * 5000, b"\x01\x01"])
def test_maps_bytes_and_bombs_are_refused(packed: bytes) -> None:
    with pytest.raises(PlainError):
        unpack_plain(packed)
