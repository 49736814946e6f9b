"""How a configuration or a secret is opened: never one that could keep its reader waiting."""

from __future__ import annotations

import errno
import os
import stat


def regular(path: str, flags: int) -> int:
    """An opener for `open`. OSError for a pipe or a device, which may wait for its other end for ever; not for
    /dev/null, the usual name of a file with nothing in it."""
    found = os.stat(path)
    device = stat.S_ISCHR(found.st_mode) and not os.path.samestat(found, os.stat(os.devnull))
    if device or stat.S_ISFIFO(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    return os.open(path, flags)
