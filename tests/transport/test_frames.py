"""Frames: round trip, garbage, and the rules of the header."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.frames import (
    CLUSTER_CHARS_MAX,
    FRAME_BYTES_MAX,
    PROTOCOL,
    Frame,
    FrameError,
    UnknownKind,
    UnknownVersion,
    decode,
)
from mltb_transport.limits import PROTOCOL_MIN, PROTOCOL_READ_MAX
from mltb_transport.messages import KINDS, Append, Entry, Grant, Ping, Request
from mltb_transport.schema import INT_MAX
from tests.transport.frame_kit import encode
from tests.transport.strategies import any_frame, junk

PING = Frame(PROTOCOL, "cluster", "n1", 3, 4, Ping(5))


def header(**changes: Any) -> bytes:
    """A ping with some header fields replaced, whatever they are."""
    fields = {
        "version": PROTOCOL,
        "cluster": "c",
        "sender": "n1",
        "incarnation": 1,
        "seq": 1,
        "kind": 3,
        "body": [5],
        "to": "n2",
    }
    return bytes(msgpack.packb(list((fields | changes).values())))


@given(any_frame())
def test_every_kind_comes_back_equal(frame: Frame) -> None:
    assert decode(encode(frame)) == frame


@given(st.binary(max_size=200))
def test_garbage_is_a_frame_error_and_nothing_else(payload: bytes) -> None:
    with contextlib.suppress(FrameError):
        decode(payload)


@given(any_frame(), st.data())
def test_damaged_frames_are_a_frame_error_and_nothing_else(frame: Frame, data: st.DataObject) -> None:
    payload = bytearray(encode(frame))
    where = data.draw(st.integers(0, len(payload) - 1))
    payload[where] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FrameError):
        decode(bytes(payload))
    with pytest.raises(FrameError):
        decode(encode(frame)[:where])


@given(st.sampled_from(sorted(KINDS)), junk())
def test_a_junk_body_is_a_frame_error_and_nothing_else(kind: int, body: Any) -> None:
    with contextlib.suppress(FrameError):
        decode(header(kind=kind, body=body))


def test_the_layout_is_one_array() -> None:
    assert msgpack.unpackb(encode(PING)) == [1, "cluster", "n1", 3, 4, 3, [5]]


def test_who_it_is_meant_for_stands_behind_what_an_earlier_release_reads() -> None:
    meant = dataclasses.replace(PING, to="n2")
    assert msgpack.unpackb(encode(meant)) == [*msgpack.unpackb(encode(PING)), "n2"]
    assert decode(encode(meant)) == meant


def test_surplus_header_fields_of_a_newer_peer_are_ignored() -> None:
    meant = dataclasses.replace(PING, to="n2")
    assert decode(msgpack.packb([*msgpack.unpackb(encode(meant)), "trace id"])) == meant


@pytest.mark.parametrize("kind", [0, 99, 2**40])
def test_an_unknown_kind_is_told_apart(kind: int) -> None:
    with pytest.raises(UnknownKind, match=f"kind {kind} is unknown"):
        decode(header(kind=kind))


@pytest.mark.parametrize("version", [PROTOCOL_READ_MAX + 1, 2**40, 2**64 - 1])
def test_a_protocol_beyond_the_neighbours_is_told_apart_and_its_sender_named(version: int) -> None:
    with pytest.raises(UnknownVersion, match=f"protocol {min(version, INT_MAX)}, this release reads") as told:
        decode(header(version=version))
    assert (told.value.version, told.value.sender) == (min(version, INT_MAX), "n1")
    with pytest.raises(UnknownVersion) as nameless:
        decode(header(version=version, sender="N 1"))
    assert nameless.value.sender == ""
    with pytest.raises(UnknownVersion):
        encode(dataclasses.replace(PING, version=version))


@pytest.mark.parametrize("version", range(PROTOCOL_MIN, PROTOCOL_READ_MAX + 1))
def test_the_neighbours_are_read_and_what_a_newer_one_added_is_ignored(version: int) -> None:
    frame = dataclasses.replace(PING, version=version)
    header_of, body = msgpack.unpackb(encode(frame))[:-1], msgpack.unpackb(encode(frame))[-1]
    assert decode(msgpack.packb([*header_of, [*body, "a field of tomorrow", [1, 2]]])) == frame


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 0),
        ("version", -1),
        ("version", True),
        ("version", "1"),
        ("cluster", "c" * (CLUSTER_CHARS_MAX + 1)),
        ("cluster", None),
        ("sender", "N1"),
        ("sender", "n" * 64),
        ("sender", "a b"),
        ("sender", "n1\n"),
        ("sender", 1),
        ("sender", ""),
        ("incarnation", -1),
        ("incarnation", 2**63),
        ("seq", -1),
        ("seq", 1.5),
        ("kind", -1),
        ("kind", True),
        ("kind", "3"),
        ("body", None),
        ("body", []),
        ("to", None),
        ("to", 2),
        ("to", "N2"),
        ("to", "n" * 64),
    ],
)
def test_a_bad_header_is_refused(field: str, value: Any) -> None:
    with pytest.raises(FrameError):
        decode(header(**{field: value}))


def test_bad_names_are_not_sent_either() -> None:
    with pytest.raises(FrameError, match="cluster"):
        encode(dataclasses.replace(PING, cluster="c" * (CLUSTER_CHARS_MAX + 1)))
    with pytest.raises(FrameError, match="sender"):
        encode(dataclasses.replace(PING, sender="N1"))
    with pytest.raises(FrameError, match="addressee"):
        encode(dataclasses.replace(PING, to="N2"))


def test_the_ends_of_every_range_pass() -> None:
    frame = Frame(PROTOCOL, "c" * CLUSTER_CHARS_MAX, "a" * 63, INT_MAX, INT_MAX, Ping(1))
    assert decode(encode(frame)) == frame


def test_only_a_request_may_be_anonymous() -> None:
    request = Frame(PROTOCOL, "", "", 0, 1, Request(1, "ping", "{}"))
    assert decode(encode(request)) == request


def test_a_frame_has_a_limit() -> None:
    entry = Entry(1, 1, 1, Grant("w" * 1024, "n1", "failover", "r" * 1024))
    with pytest.raises(FrameError, match=f"exceed the {FRAME_BYTES_MAX} byte limit of a frame"):
        encode(dataclasses.replace(PING, message=Append(1, 1, 1, 1, 1, (), (entry,) * 1024)))
    with pytest.raises(FrameError, match="byte limit"):
        decode(bytes(FRAME_BYTES_MAX + 1))


def test_something_else_is_not_a_message() -> None:
    with pytest.raises(FrameError, match="`Frame` is not a message"):
        encode(dataclasses.replace(PING, message=PING))  # type: ignore[arg-type]
