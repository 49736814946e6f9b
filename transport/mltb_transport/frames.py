"""Frames to and from bytes: the one wall where network input becomes a typed value or a FrameError."""

from __future__ import annotations

import re
import struct
from functools import lru_cache

from mltb_transport.limits import (
    CLUSTER_CHARS_MAX,
    FRAME_BYTES_MAX,
    HEADER_FIELDS,
    PROTOCOL,
    PROTOCOL_MIN,
    PROTOCOL_READ_MAX,
)
from mltb_transport.messages import KINDS, Message, Request
from mltb_transport.schema import INT_MAX, KIND_OF, FrameError, from_bytes, pack, to_bytes, unpack
from mltb_transport.store import Bundle
from mltb_transport.values import dataclass

__all__ = [
    "CLUSTER_CHARS_MAX",
    "FRAME_BYTES_MAX",
    "PROTOCOL",
    "Frame",
    "FrameError",
    "UnknownKind",
    "UnknownVersion",
    "decode",
]

FROM_CLIENTS = (Request, Bundle)
"""What a control client may send: it has no node id."""
_ARRAYS = [bytes([0x90 + size]) for size in range(16)]
"""The first byte of a msgpack array of so many elements."""
_UINT64, _SEQ = 0xCF, struct.Struct(">BQ")
"""A number as msgpack has it, in its longest form: packed by itself in one call."""
_NODE_ID = re.compile(r"[a-z0-9-]{1,63}")
NAMES_MAX = 1024
"""Names of nodes that were judged, and are not judged again."""


class UnknownKind(FrameError):
    """A well-formed frame of a kind this release does not have: the peer is newer. Counted apart."""


class UnknownVersion(FrameError):
    """A protocol version this release does not read. Counted apart; `sender` is empty where none is told."""

    def __init__(self, message: str, version: int, sender: str) -> None:
        super().__init__(message)
        self.version = version
        self.sender = sender


@dataclass(frozen=True, slots=True)
class Frame:
    """One message and who sent it.

    `cluster`: empty while the sender belongs to none. `sender`: a node id; empty for a control client, which
    may send nothing but Request and Bundle. `incarnation`, `seq`: which run of the sender, a number that grows in it.
    `to`: the node it is meant for; empty: for whoever gets it.
    """

    version: int
    cluster: str
    sender: str
    incarnation: int
    seq: int
    message: Message
    to: str = ""


def packed_origin(version: int, cluster: str, sender: str, incarnation: int) -> bytes:
    """The part of a frame that its sender's next frames share."""
    _check_header([version, cluster, sender, incarnation, 0, KIND_OF[Request]])
    return _elements([version, cluster, sender, incarnation])


def packed_message(message: Message) -> bytes:
    """The part that is the same to whomever it goes: kind and body."""
    kind = KIND_OF.get(type(message))
    if kind is None:
        raise FrameError(f"`{type(message).__name__}` is not a message")
    return _elements([kind, pack(message)])


def assembled(origin: bytes, seq: int, message: bytes, to: str) -> bytes:
    """A frame of its parts: one msgpack array [version, cluster, sender, incarnation, seq, kind, body, to]."""
    if type(seq) is not int or not 0 <= seq <= INT_MAX:
        raise FrameError("the sequence is not an integer from 0 to 2^63 - 1")
    fields = HEADER_FIELDS + bool(to)
    payload = b"".join((_ARRAYS[fields], origin, _SEQ.pack(_UINT64, seq), message, _addressee(to)))
    if len(payload) > FRAME_BYTES_MAX:
        raise FrameError(f"{len(payload)} bytes exceed the {FRAME_BYTES_MAX} byte limit of a frame")
    return payload


def _elements(values: list[object]) -> bytes:
    """Up to 15 values as the elements of an array whose first byte somebody else writes."""
    return to_bytes(values)[1:]


def decode(payload: bytes) -> Frame:
    """The inverse of `assembled`. Total: any bytes give a Frame or a FrameError, nothing else."""
    header = from_bytes(payload, FRAME_BYTES_MAX)
    if type(header) is not list or len(header) < HEADER_FIELDS:
        raise FrameError(f"a frame is an array of {HEADER_FIELDS} fields")
    _check_header(header)
    version, cluster, sender, incarnation, seq, kind, body = header[:HEADER_FIELDS]
    to = header[HEADER_FIELDS] if len(header) > HEADER_FIELDS else ""  # An earlier release does not say.
    _check_addressee(to)
    return Frame(version, cluster, sender, incarnation, seq, unpack(KINDS[kind], body), to)


@lru_cache(NAMES_MAX)
def _addressee(to: str) -> bytes:
    """The last element; none where it is for whoever gets it."""
    _check_addressee(to)
    return _elements([to]) if to else b""


@lru_cache(NAMES_MAX)
def _is_node_id(text: str) -> bool:
    return _NODE_ID.fullmatch(text) is not None


def _check_addressee(to: object) -> None:
    if type(to) is not str or (to and not _is_node_id(to)):
        raise FrameError("the addressee is not a node id: a-z, 0-9 and -, 1 to 63 characters")


def _check_header(header: list[object]) -> None:
    version, cluster, sender, incarnation, seq, kind = header[: HEADER_FIELDS - 1]
    if type(version) is not int or version < 1:
        raise FrameError("the version is not a positive integer")
    if not PROTOCOL_MIN <= version <= PROTOCOL_READ_MAX:
        told = sender if type(sender) is str and _is_node_id(sender) else ""
        why = f"protocol {min(version, INT_MAX)}, this release reads {PROTOCOL_MIN} to {PROTOCOL_READ_MAX}"
        raise UnknownVersion(why, min(version, INT_MAX), told)
    if type(cluster) is not str or len(cluster) > CLUSTER_CHARS_MAX:
        raise FrameError(f"the cluster is not text of up to {CLUSTER_CHARS_MAX} characters")
    for name, number in (("incarnation", incarnation), ("sequence", seq)):
        if type(number) is not int or not 0 <= number <= INT_MAX:
            raise FrameError(f"the {name} is not an integer from 0 to 2^63 - 1")
    if type(kind) is not int or kind < 0:
        raise FrameError("the kind is not a natural number")
    if kind not in KINDS:
        raise UnknownKind(f"kind {kind} is unknown")
    if type(sender) is not str or (sender and not _is_node_id(sender)):
        raise FrameError("the sender is not a node id: a-z, 0-9 and -, 1 to 63 characters")
    if not sender and KINDS[kind] not in FROM_CLIENTS:
        raise FrameError(f"{KINDS[kind].__name__} without a sender")
