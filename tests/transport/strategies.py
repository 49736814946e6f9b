"""Random values of every message class, made from the same annotations as the codec."""

from __future__ import annotations

import dataclasses
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from mltb_transport.frames import PROTOCOL, Frame
from mltb_transport.messages import COMMANDS, KINDS
from mltb_transport.schema import INT_MAX, INT_MIN

NODE_IDS = st.from_regex(r"[a-z0-9-]{1,63}", fullmatch=True)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of one annotation of messages.py."""
    if hint is int:
        return st.integers(INT_MIN, INT_MAX)
    if hint is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if hint is bool:
        return st.booleans()
    if hint is bytes:
        return st.binary(max_size=12)
    if hint is str:
        return st.text(max_size=12)
    if hint is bytes:
        return st.binary(max_size=12)
    if get_origin(hint) is tuple:
        return st.lists(values(get_args(hint)[0]), max_size=3).map(tuple)
    if get_origin(hint) in (types.UnionType, Union):
        return st.one_of(*[messages(cls) for cls in COMMANDS.values()])
    return messages(hint)


def messages(cls: type) -> st.SearchStrategy[Any]:
    """Values of one class."""
    hints = get_type_hints(cls)
    return st.builds(cls, **{field.name: values(hints[field.name]) for field in dataclasses.fields(cls)})


def frames(cls: type) -> st.SearchStrategy[Frame]:
    """Frames that carry one class."""
    numbers = st.integers(0, INT_MAX)
    return st.builds(
        Frame,
        st.just(PROTOCOL),
        st.text(max_size=64),
        NODE_IDS,
        numbers,
        numbers,
        messages(cls),
        st.just("") | NODE_IDS,
    )


def any_frame() -> st.SearchStrategy[Frame]:
    """Frames of every kind."""
    return st.one_of(*[frames(cls) for cls in KINDS.values()])


def junk() -> st.SearchStrategy[Any]:
    """Whatever msgpack can hold."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats()
        | st.text(max_size=8)
        | st.binary(max_size=8)
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=12,
    )
