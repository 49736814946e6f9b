"""The one row beside the log, and the format of the journal."""

from __future__ import annotations

import sqlite3
import zlib
from dataclasses import dataclass, fields
from operator import attrgetter

FORMAT = 1
"""Of the whole file. Another one is refused."""

LOG_TABLE = (
    "CREATE TABLE log (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL)"
)
_STATE_TABLE = (
    "CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT NULL, node TEXT NOT NULL,"
    " store TEXT NOT NULL, incarnation INTEGER NOT NULL, commits INTEGER NOT NULL, term INTEGER NOT NULL,"
    " vote TEXT NOT NULL, last INTEGER NOT NULL, last_term INTEGER NOT NULL, last_crc INTEGER NOT NULL,"
    " base INTEGER NOT NULL, base_term INTEGER NOT NULL, base_crc INTEGER NOT NULL, snapshot INTEGER NOT NULL,"
    " snapshot_crc INTEGER NOT NULL, seal INTEGER NOT NULL)"
)
_SNAPSHOT_TABLE = "CREATE TABLE snapshot (one INTEGER PRIMARY KEY CHECK (one = 1), body BLOB NOT NULL)"

SCHEMA = (LOG_TABLE, _STATE_TABLE, _SNAPSHOT_TABLE)


@dataclass(slots=True)
class State:
    """`base` is what stands before the first entry of the log, `snapshot` the index and checksum of the snapshot (0:
    none). `last` is the end of the log when this row was written: each entry behind it counts as one commit more."""

    format: int
    node: str
    store: str
    incarnation: int
    commits: int
    term: int = 0
    vote: str = ""
    last: int = 0
    last_term: int = 0
    last_crc: int = 0
    base: int = 0
    base_term: int = 0
    base_crc: int = 0
    snapshot: int = 0
    snapshot_crc: int = 0

    def values(self) -> tuple[int | str, ...]:
        """The fields in their order."""
        return _values_of(self)

    def seal(self) -> int:
        """A checksum: SQLite does not notice a flipped bit in a row."""
        return zlib.crc32("\x1f".join(map(str, self.values())).encode())


_values_of: attrgetter[tuple[int | str, ...]] = attrgetter(*(field.name for field in fields(State)))
_NAMES = ", ".join(field.name for field in fields(State))
WRITE_ENTRY = "INSERT INTO log VALUES (?, ?, ?, ?)"
WRITE_STATE = f"INSERT OR REPLACE INTO state VALUES (1, {', '.join('?' * (len(fields(State)) + 1))})"


def read_format(connection: sqlite3.Connection) -> object:
    """What stands in the first column, whatever the others are; None where there is no row."""
    row: tuple[object] | None = connection.execute("SELECT format FROM state").fetchone()
    return None if row is None else row[0]


def read_rows(connection: sqlite3.Connection) -> list[tuple[State, int]]:
    """Every row there is, with the seal it bears. One is right."""
    found = connection.execute(f"SELECT {_NAMES}, seal FROM state").fetchall()
    return [(State(*row[:-1]), row[-1]) for row in found]
