"""The codec: what goes in comes out, and nothing beyond a limit goes in."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.limits import ENTRY_BYTES_MAX, ITEMS_MAX, STRING_CHARS_MAX, TEXT_CHARS_MAX
from mltb_transport.messages import (
    COMMANDS,
    KINDS,
    Append,
    Entry,
    Founding,
    Grant,
    NoOp,
    Ping,
    Renewed,
    Request,
    Response,
)
from mltb_transport.schema import (
    INT_MAX,
    INT_MIN,
    FrameError,
    UnknownCommand,
    from_bytes,
    pack,
    pack_entry,
    to_bytes,
    unpack,
    unpack_entry,
)
from mltb_transport.voters import Voter
from tests.transport.strategies import junk, messages

ALL = [*KINDS.values(), *COMMANDS.values(), Entry]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_what_is_packed_comes_back_equal(cls: type, data: st.DataObject) -> None:
    message = data.draw(messages(cls))
    packed = from_bytes(to_bytes(pack(message)), 1 << 20)
    again = unpack(cls, packed)
    assert again == message
    assert [type(getattr(again, f.name)) for f in dataclasses.fields(cls)] == [
        type(getattr(message, f.name)) for f in dataclasses.fields(cls)
    ]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
@given(fields=junk())
def test_junk_is_a_frame_error_and_nothing_else(cls: type, fields: Any) -> None:
    with contextlib.suppress(FrameError):
        assert isinstance(unpack(cls, fields), cls)


@given(messages(Entry))
def test_entries_come_back_from_the_journal(entry: Entry) -> None:
    assert unpack_entry(pack_entry(entry)) == entry


@given(st.binary(max_size=80))
def test_a_damaged_entry_is_a_frame_error(packed: bytes) -> None:
    with contextlib.suppress(FrameError):
        unpack_entry(packed)


def test_missing_trailing_fields_take_their_defaults() -> None:
    assert unpack(Grant, ["main", "n1", "failover"]) == Grant("main", "n1", "failover", reason="")


def test_a_missing_field_without_default_is_named() -> None:
    with pytest.raises(FrameError, match="Renewed lacks ok"):
        unpack(Renewed, ["main", 1, 2])


def test_surplus_trailing_fields_of_a_newer_peer_are_ignored() -> None:
    assert unpack(Ping, [7, "from the future", [1, 2]]) == Ping(7)


@pytest.mark.parametrize("number", [INT_MIN, INT_MAX])
def test_integers_up_to_64_bits(number: int) -> None:
    assert unpack(Ping, pack(Ping(number))) == Ping(number)


@pytest.mark.parametrize("number", [INT_MIN - 1, INT_MAX + 1, True, 1.0, "1", None])
def test_no_other_integers(number: Any) -> None:
    with pytest.raises(FrameError, match=r"Ping\.nonce"):
        pack(Ping(number))
    with pytest.raises(FrameError, match=r"Ping\.nonce"):
        unpack(Ping, [number])


@pytest.mark.parametrize("age", [float("nan"), float("inf"), float("-inf"), True, "0", 2**70])
def test_only_finite_floats(age: Any) -> None:
    answer = [1, "vote", True, age]
    with pytest.raises(FrameError, match=r"Answer\.age"):
        unpack(KINDS[13], answer)
    with pytest.raises(FrameError, match=r"Answer\.age"):
        pack(KINDS[13](*answer))


def test_an_integer_does_for_a_float() -> None:
    assert isinstance(unpack(KINDS[13], [1, "vote", True, 3]).age, float)


@pytest.mark.parametrize("granted", [0, 1, None, "true"])
def test_booleans_are_strict(granted: Any) -> None:
    with pytest.raises(FrameError, match=r"Answer\.granted"):
        unpack(KINDS[13], [1, "vote", granted, 0.0])


def test_text_has_a_limit() -> None:
    longest = Grant("x" * STRING_CHARS_MAX, "n1", "failover")
    assert unpack(Grant, pack(longest)) == longest
    too_long = Grant("x" * (STRING_CHARS_MAX + 1), "n1", "failover")
    with pytest.raises(FrameError, match=r"Grant\.workload of 1025 characters"):
        pack(too_long)
    with pytest.raises(FrameError, match=r"Grant\.workload of 1025 characters"):
        unpack(Grant, ["x" * (STRING_CHARS_MAX + 1), "n1", "failover"])


def test_json_text_has_a_larger_limit() -> None:
    for message in (Request(1, "status", "x" * TEXT_CHARS_MAX), Response(1, True, "x" * TEXT_CHARS_MAX)):
        assert unpack(type(message), pack(message)) == message
    with pytest.raises(FrameError, match=r"Request\.params"):
        pack(Request(1, "status", "x" * (TEXT_CHARS_MAX + 1)))
    with pytest.raises(FrameError, match=r"Request\.method"):
        pack(Request(1, "s" * (STRING_CHARS_MAX + 1), ""))


def test_tuples_have_a_limit() -> None:
    append = Append(1, 1, 1, 1, 1, ("n",) * ITEMS_MAX, ())
    assert unpack(Append, pack(append)) == append
    with pytest.raises(FrameError, match=r"Append\.alive of 1025 items"):
        pack(Append(1, 1, 1, 1, 1, ("n",) * (ITEMS_MAX + 1), ()))
    with pytest.raises(FrameError, match=r"Append\.alive of 1025 items"):
        unpack(Append, [1, 1, 1, 1, 1, ["n"] * (ITEMS_MAX + 1), []])


def test_entries_have_a_limit() -> None:
    voters = tuple(Voter("n" * 1000, "s" * 1000) for _ in range(100))
    with pytest.raises(FrameError, match=f"exceeds the {ENTRY_BYTES_MAX} byte limit"):
        pack_entry(Entry(1, 1, 1, Founding("c", "name", voters)))
    with pytest.raises(FrameError, match="byte limit"):
        unpack_entry(bytes(ENTRY_BYTES_MAX + 1))


def test_an_unknown_command_is_named() -> None:
    with pytest.raises(UnknownCommand, match="unknown command 77"):
        unpack(Entry, [1, 1, 1, [77, []]])


def test_a_value_that_is_no_command_is_not_an_entry() -> None:
    with pytest.raises(FrameError, match=r"Entry\.command is not a command"):
        pack(Entry(1, 1, 1, Ping(1)))  # type: ignore[arg-type]


def test_only_dataclasses_travel() -> None:
    with pytest.raises(FrameError, match="`int` is not a message"):
        pack(3)


def test_text_that_is_not_unicode_is_refused_both_ways() -> None:
    with pytest.raises(FrameError, match="cannot be encoded"):
        to_bytes(pack(Grant("\ud800", "n1", "failover")))
    with pytest.raises(FrameError, match="not a frame"):
        from_bytes(b"\xa1\xff", 10)


@pytest.mark.parametrize(
    "value",
    [{}, {"a": 1}, b"bytes", b"", msgpack.ExtType(4, b"x"), msgpack.Timestamp(1, 1)],
    ids=["empty map", "map", "binary", "empty binary", "extension", "timestamp"],
)
def test_msgpack_types_without_a_use_here_never_become_a_message(value: Any) -> None:
    with pytest.raises(FrameError):
        unpack(Ping, from_bytes(msgpack.packb([value]), 100))


def test_a_deep_nest_is_refused() -> None:
    with pytest.raises(FrameError):
        unpack(NoOp, from_bytes(b"\x91" * 100_000, 1 << 20))


def test_a_huge_announced_array_costs_no_memory() -> None:
    with pytest.raises(FrameError, match="not a frame"):
        from_bytes(b"\xdd\xff\xff\xff\xff", 100)
