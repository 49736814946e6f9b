"""The ballast: room on the disk that is given up when there is no other, so that a node can go on with care."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from mltbd.runtime.state_directory import sync_directory

BALLAST = "ballast"
BALLAST_BYTES = 8 * 1024 * 1024
"""More than the write-ahead log, which must go into the journal first; the rest is enough for days of what a quiet
cluster writes, for the journal is compacted and its file reused. Beside a snapshot: twice its size more."""
ROOM_FACTOR = 4
"""The ballast is taken up again only when this many times its size is free: a disk on the edge must not flap."""
NO_SUCH_CALL = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)
"""What a file system answers that cannot set room aside: musl on NFS, ZFS."""
CHUNK = bytes(64 * 1024)


class Ballast:
    """A file of `size` bytes beside the journal; size 0: none. Never raises: a node runs without it as well."""

    def __init__(self, directory: Path, size: int) -> None:
        self._directory = directory
        self._path = directory / BALLAST
        self._base = self._size = size

    @property
    def aboard(self) -> bool:
        """Whether there is something to drop."""
        try:
            return 0 < self._size <= self._path.stat().st_size
        except OSError:
            return False

    @property
    def wanted(self) -> bool:
        """It should be aboard and is not: the disk is full, or was when we looked last."""
        return self._size > 0 and not self.aboard

    def take(self) -> bool:
        """Occupy the room, if there is enough besides. Whether it is aboard now; always when none is wanted."""
        if not self.wanted:
            return True
        try:
            if self._free() < ROOM_FACTOR * self._size:
                return False
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _occupy(handle, self._size)
                os.fsync(handle)
            finally:
                os.close(handle)
            sync_directory(self._directory)
        except OSError:
            self.drop()
            return False
        return self.aboard

    def carry(self, snapshot_bytes: int) -> None:
        """The journal holds a snapshot of this size: its next one passes through the write-ahead log as a whole, and
        from there into the file. Where the disk has no room to spare for more, the ballast stays as it is."""
        size = self._base and self._base + 2 * snapshot_bytes
        if size <= self._size or not self.aboard:
            return
        with contextlib.suppress(OSError):
            if self._free() < ROOM_FACTOR * (size - self._size):
                return
            handle = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                _occupy(handle, size)
                os.fsync(handle)
            finally:
                os.close(handle)
            self._size = size

    def drop(self) -> bool:
        """Give the room back. Whether that made any. Of size 0: another's is left where it is."""
        if not self._size:
            return False
        made = self.aboard
        with contextlib.suppress(OSError):
            os.unlink(self._path)
            sync_directory(self._directory)
        return made and not self.aboard

    def _free(self) -> int:
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize


def _occupy(handle: int, size: int) -> None:
    """Blocks, not a hole."""
    allocate = getattr(os, "posix_fallocate", None)  # macOS has none
    if allocate is not None:
        try:
            allocate(handle, 0, size)
            return
        except OSError as error:
            if error.errno not in NO_SUCH_CALL:
                raise
    for _ in range(0, size, len(CHUNK)):
        os.write(handle, CHUNK)
