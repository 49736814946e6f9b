"""stdin, stdout and stderr where whoever called us has closed them, and what cannot be written."""

from __future__ import annotations

import errno
import io
import os
import sys

from mltbctl.errors import CliError

_LOST = frozenset({errno.EBADF, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class Closed(io.TextIOWrapper):
    """A stream that is not there. It holds its descriptor, lest a socket gets that number."""

    def __init__(self, name: str) -> None:
        self._said = f"{name} is closed"
        super().__init__(open(os.devnull, "rb" if name == "stdin" else "wb"), "utf-8")  # noqa: SIM115 - until the end

    def read(self, size: int | None = -1, /) -> str:
        del size
        raise OSError(errno.EBADF, self._said)

    def write(self, text: str, /) -> int:
        if text:
            raise OSError(errno.EBADF, self._said)
        return 0


def stand_in() -> None:
    """Streams for those that are closed. What is read or written there fails; talk just goes nowhere."""
    for name in ("stdin", "stdout"):
        if getattr(sys, name) is None:
            setattr(sys, name, Closed(name))
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the end


def unwritten(error: OSError) -> CliError:
    """The failure that stdout could not take what was written."""
    return CliError(f"cannot write the output: {(error.strerror or str(error)).lower()}")


def is_about_output(error: Exception) -> bool:
    """Whether it is stdout that fails: no disk and no socket of ours says this elsewhere."""
    return isinstance(error, OSError) and error.errno in _LOST and error.filename is None
