"""What can be wrong with a state directory. Each says what, and what a person should do about it."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

_NOT_OURS = (
    sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB,
    # Our statements are fixed: when the file refuses one, its schema or rows are not what we wrote.
    sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH,
)  # fmt: skip


NEWER = "install the newer mltbd that wrote it"


class JournalError(Exception):
    """The journal cannot be used (any further). `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class StateLocked(JournalError):
    """Another mltbd uses this state directory."""


class NewerJournal(JournalError):
    """A newer release wrote it. Nothing is wrong with it; this release must not touch it."""


class WrongStateDirectory(JournalError):
    """The state directory belongs to another node."""


class JournalCorrupt(JournalError):
    """What is on disk is not what was acknowledged. Nothing was repaired."""


class JournalFailed(JournalError):
    """The disk or SQLite failed. What was not acknowledged before must be taken for lost."""


class JournalFull(JournalFailed):
    """No room is left on the disk."""


class InvalidSave(JournalError):
    """A Save that would break the journal: a fault of the caller, found before anything was written."""


class JournalBusy(JournalError):
    """Too many Saves wait already."""


class JournalClosed(JournalError):
    """A Save came after `close`."""


def corrupt(path: Path, what: str) -> JournalCorrupt:
    return JournalCorrupt(
        f"`{path}`: {what}; this node's memory of votes and acknowledged entries cannot be trusted",
        f"move `{path.parent}` away and start again: the node returns as a new voter, which a leader must admit;"
        " if all nodes say this, restore a backup",
    )


def failed(path: Path, error: sqlite3.Error | OSError) -> JournalError:
    """The error of the system as one of ours."""
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _full(path)
        return JournalFailed(f"`{path}`: {error.strerror or error}", "check the disk and the permissions")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return _full(path)
    if code in _NOT_OURS:
        return corrupt(path, str(error))
    if code == sqlite3.SQLITE_BUSY:
        return JournalFailed(f"`{path}` is open in another program", "close it; only mltbd itself may open the journal")
    name = getattr(error, "sqlite_errorname", "")
    return JournalFailed(f"`{path}`: {error} {name}".rstrip(), "check the disk: see `dmesg` and `df`")


def as_ours(error: Exception) -> JournalError:
    """What nobody foresaw, memory that ran out say, ends a journal like an error of the disk."""
    if isinstance(error, JournalError):
        return error
    return JournalFailed(f"the journal ended by {error!r}", "start the node again; it goes on with what is on disk")


def _full(path: Path) -> JournalFull:
    return JournalFull(f"`{path}`: no room is left on the disk", f"make room: see `df {path.parent}`")
