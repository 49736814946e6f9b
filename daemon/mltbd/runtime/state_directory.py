"""The state directory of a node: made private, taken by one process at a time, and the mark that guards its
journal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from mltbd.runtime.journal_errors import JournalFailed, StateLocked, failed

LOCK = "lock"
_SLOT = struct.Struct(">QQQI")  # commits, last index, term, checksum of these
PID_DIGITS_MAX = 20


class StateLock:
    """The right to use a state directory. Ends with `release` or with the process, whatever ends that."""

    def __init__(self, directory: Path) -> None:
        """Makes the directory (mode 0700) when it is missing. Raises StateLocked, or JournalFailed."""
        path = directory / LOCK
        try:
            _make(directory)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise failed(path, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._file, PID_DIGITS_MAX, 0).decode("ascii", "replace").strip()
            self.release()
            raise StateLocked(
                f"`{directory}` is in use by another mltbd (pid {holder or 'unknown'})",
                "stop it, or give this node its own directory with `--state-dir`",
            ) from error
        except OSError as error:
            self.release()
            raise failed(path, error) from error
        with contextlib.suppress(OSError):  # A courtesy. On a full disk the ballast is dropped later than this.
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the journal had come: after this many commits its last entry was `index`, its term `term`."""

    commits: int
    index: int
    term: int


class MarkFile:
    """The journal's latest Mark, in a file of its own.

    SQLite ends the recovery of its write-ahead log at the first damaged page and says nothing: acknowledged
    commits vanish without an error. This file remembers that they existed. It is written after each commit
    and left to the system to flush, so it may lag behind the journal, but is never ahead of it. Two slots in
    turn: a torn write leaves the other.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._next = 0  # the slot to write

    def read(self) -> Mark | None:
        """None when there is no whole slot. Before the first `write`, which spares the slot that was found."""
        found = os.pread(self._file, 2 * _SLOT.size, 0)
        newest: Mark | None = None
        for number in (0, 1):
            slot = found[number * _SLOT.size : (number + 1) * _SLOT.size]
            if len(slot) == _SLOT.size and zlib.crc32(slot[:-4]) == int.from_bytes(slot[-4:], "big"):
                commits, index, term, _ = _SLOT.unpack(slot)
                if newest is None or commits > newest.commits:
                    newest, self._next = Mark(commits, index, term), 1 - number
        return newest

    def write(self, mark: Mark) -> None:
        body = _SLOT.pack(mark.commits, mark.index, mark.term, 0)[:-4]
        slot = body + zlib.crc32(body).to_bytes(4, "big")
        if os.pwrite(self._file, slot, self._next * _SLOT.size) != _SLOT.size:
            raise JournalFailed("the mark of the journal was written in part", "check the disk")
        self._next = 1 - self._next

    def sync(self) -> None:
        os.fsync(self._file)

    def close(self) -> None:
        # Everything is acknowledged by the journal itself; a mark that lags is allowed.
        with contextlib.suppress(OSError):
            os.fsync(self._file)
        os.close(self._file)


def sync_directory(directory: Path) -> None:
    """Make names created in it durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make(directory: Path) -> None:
    if directory.is_dir():
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    sync_directory(directory.parent)
