"""Client commands on the wire and in the log: key-values and locks. Each is packed once, by whoever takes it in.

A packed command is one msgpack array [client, seq, kind, arguments ...]. It is copied as it is into frames, into the
log and into the journal, and unpacked when it is applied.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgpack

from mltb_transport.limits import COMMAND_BYTES_MAX
from mltb_transport.store_kinds import (
    ACQUIRE,
    ARGUMENTS,
    DELETE,
    EXPIRE,
    EXTEND,
    HINTS,
    INTERNAL,
    OPEN,
    RELEASE,
    SET,
    WITHDRAW,
    packed_body,
)
from mltb_transport.values import dataclass

__all__ = [
    "ACQUIRE",
    "ARGUMENTS",
    "DELETE",
    "EXPIRE",
    "EXTEND",
    "HINTS",
    "INTERNAL",
    "OPEN",
    "RELEASE",
    "SET",
    "WITHDRAW",
    "Arguments",
    "Batch",
    "Bundle",
    "BundleAnswer",
    "Command",
    "Forward",
    "Forwarded",
    "Packed",
    "packed",
    "packed_outcome",
    "packed_read",
    "unpacked",
    "unpacked_read",
]

Arguments = tuple[Any, ...]


class Command(NamedTuple):
    """One command, unpacked and of the right shape."""

    client: str
    seq: int
    kind: int
    arguments: Arguments


class Packed(NamedTuple):
    """One command as it travels, with what finds its outcome."""

    client: str
    seq: int
    body: bytes

    @property
    def key(self) -> tuple[str, int]:
        """By which its outcome is known."""
        return self.client, self.seq


def packed(client: str, seq: int, kind: int, *arguments: str | int) -> Packed:
    """A command, ready to travel. Its shape is the caller's to keep; `unpacked` drops what has another one."""
    return Packed(client, seq, packed_body(client, seq, kind, *arguments))


def unpacked(body: bytes) -> Command | None:
    """The command in these bytes; None for whatever no conforming node packs."""
    if len(body) > COMMAND_BYTES_MAX:
        return None
    try:
        fields = msgpack.unpackb(body, raw=False, max_bin_len=0, max_map_len=0, max_ext_len=0)
    except (ValueError, msgpack.UnpackException):
        return None
    if type(fields) is not list or len(fields) < 3:
        return None
    client, seq, kind, *arguments = fields
    shape = ARGUMENTS.get(kind) if type(kind) is int else None
    if shape is None or type(client) is not str or type(seq) is not int or seq < 0 or len(arguments) < len(shape):
        return None
    arguments = arguments[: len(shape)]
    if tuple(map(type, arguments)) != shape:
        return None
    return Command(client, seq, kind, tuple(arguments))


@dataclass(frozen=True, slots=True)
class Batch:
    """Client commands that share one place in the log, one write to disk and one round; applied one by one."""

    commands: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Forward:
    """A follower passes its clients' commands on to the leader; without any, it asks for a read index."""

    number: int
    commands: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The leader's word on a Forward: why nothing of it was taken, or (no `code`) the read index.

    Commands that were taken are not answered: every node learns their outcome when it applies them.
    """

    number: int
    code: str
    message: str
    index: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """Commands and reads of a control client, packed by it: set, delete, acquire, extend and release.

    A read is a msgpack array [number, key]: the entry of that key, linearizable. All reads of a bundle share a round.
    """

    commands: tuple[bytes, ...]
    reads: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class BundleAnswer:
    """Outcomes, as they become known: each a msgpack array [client, seq, word, values ...], see state/store.py.

    An acquire is told of when its wait is over: `ok`, or `held` and by whom (empty: by nobody). The client of a read
    is empty, and its seq the number it came with: `entry`, revision, value, version, revision of the entry; or `none`
    and the revision. What has no outcome here has the word `error`, then a code of ERROR_CODES and a message. What is
    no command of a client, or no read, is told of without a client, with number 0.
    `leader`: id and control endpoint of the node that leads, when it is another: the shorter way.
    """

    outcomes: tuple[bytes, ...]
    leader: str = ""


def packed_outcome(client: str, seq: int, outcome: tuple[Any, ...]) -> bytes:
    """One outcome of a BundleAnswer."""
    packed: bytes = msgpack.packb([client, seq, *outcome])
    return packed


def packed_read(number: int, key: str) -> bytes:
    """One read of a Bundle."""
    packed: bytes = msgpack.packb([number, key])
    return packed


def unpacked_read(body: bytes) -> tuple[int, str] | None:
    """The number and the key in these bytes; None for whatever no conforming client packs."""
    try:
        fields = msgpack.unpackb(body, raw=False, max_bin_len=0, max_map_len=0, max_ext_len=0)
    except (ValueError, msgpack.UnpackException):
        return None
    if type(fields) is not list or len(fields) < 2 or type(fields[0]) is not int or type(fields[1]) is not str:
        return None
    return fields[0], fields[1]
