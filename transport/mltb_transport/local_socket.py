"""The ipc socket of one daemon: held by a lock file, since a second bind would silently steal it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path

import zmq

from mltb_transport.bus import BindError
from mltb_transport.sockets import RawSocket

PATH_BYTES_MAX = 107
MODE = 0o600
"""Who may open it is an admin."""


class LocalSocket:
    """Owns `path` and `path`.lock from `acquire` to `release`."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._lock_fd = -1

    def acquire(self) -> None:
        """Make the directory (0700) if missing, take the lock, remove a dead socket. Raises BindError."""
        path = self._path
        if len(os.fsencode(path)) > PATH_BYTES_MAX:
            raise BindError(
                f"the socket path `{path}` is longer than {PATH_BYTES_MAX} bytes",
                "choose a shorter directory with `--runtime-dir`",
            )
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_directory(path.parent)
            self._lock_fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError as error:
            self._unlock()
            raise BindError(
                f"another daemon serves `{path}`", "stop it, or choose another node id or `--runtime-dir`"
            ) from error
        except OSError as error:
            self._unlock()
            raise BindError(f"cannot serve `{path}`: {(error.strerror or str(error)).lower()}") from error

    def bind(self, socket: RawSocket) -> None:
        """Bind with the right mode from the first moment on."""
        umask = os.umask(0o777 & ~MODE)
        try:
            socket.bind(f"ipc://{self._path}")
        except zmq.ZMQError as error:
            raise BindError(f"cannot serve `{self._path}`: {error.strerror.lower()}") from error
        finally:
            os.umask(umask)
        self._path.chmod(MODE)

    def release(self) -> None:
        """Remove the socket and let the lock go. Again, or never acquired: no effect."""
        if self._lock_fd < 0:
            return
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _check_directory(self, directory: Path) -> None:
        status = directory.stat()
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & stat.S_IWOTH:
            raise BindError(
                f"the directory `{directory}` belongs to, or can be written by, other users",
                "choose another with `--runtime-dir` or `MLTB_SOCKET`, or close this one to other users",
            )
