"""The kinds of client commands, their arguments, and how they are packed: what the command line needs to send one.

Apart from store.py, whose classes would take 2 ms of every start.
"""

from __future__ import annotations

import msgpack

SET, DELETE = 1, 2
ACQUIRE, EXTEND, RELEASE, WITHDRAW, EXPIRE, OPEN = 10, 11, 12, 13, 14, 15

_TEXT, _NUMBER = str, int
ARGUMENTS: dict[int, tuple[type, ...]] = {
    SET: (_TEXT, _TEXT, _NUMBER, _TEXT, _NUMBER),  # key, value, if_version (-1: any), lock (empty: none), token
    DELETE: (_TEXT, _NUMBER, _TEXT, _NUMBER),  # key, if_version, lock, token
    ACQUIRE: (_TEXT, _NUMBER, _NUMBER, _NUMBER, _TEXT),  # name, ttl_ms (0: not in the log), wait_ms, delay_ms, holder
    EXTEND: (_TEXT, _TEXT, _NUMBER),  # name, lock_id, ttl_ms (0: as before)
    RELEASE: (_TEXT, _TEXT),  # name, lock_id
    WITHDRAW: (_TEXT, _TEXT),  # name, lock_id of a waiter
    EXPIRE: (_TEXT, _NUMBER, _NUMBER, _NUMBER),  # name, token, generation, term of the leader whose clock says so
    OPEN: (_TEXT, _NUMBER, _NUMBER),  # name, generation, term: its delay after an expiry is over
}
"""The arguments of each kind. Kinds are never reused; arguments may be added at the end."""

INTERNAL = "~"
"""Clients whose id begins so are daemons: their commands are safe to repeat and are remembered by nobody."""


def packed_body(client: str, seq: int, kind: int, *arguments: str | int) -> bytes:
    """A command as it travels."""
    packed: bytes = msgpack.packb([client, seq, kind, *arguments])
    return packed


HINTS = {
    "no_quorum": "mltbctl status",
    "unavailable": "try again",
    "unknown_outcome": "repeat it under the same sequence number, or read what became of it",
    "overloaded": "try again, slower",
    "forgotten": "begin anew as another client",
    "full": "mltbctl state list, mltbctl lock list",
    "refused": "mltbctl lock list",
    "usage": "mltbctl --help",
    "off": "mltbctl config show",
}
"""What to do about an error of locks and state, by its code; for all others `mltbctl status`."""
