"""One line to stderr, for guard and sentinel, which must never wait for whoever reads there."""

from __future__ import annotations

import contextlib
import os
import select

LINE_BYTES_MAX = 1024


def say(who: str, text: str) -> None:
    """Dropped if nobody reads, or reads any more."""
    with contextlib.suppress(OSError):
        writable = select.poll()
        writable.register(2, select.POLLOUT)
        if any(event & select.POLLOUT for _, event in writable.poll(0)):
            os.write(2, f"{who}: {text}\n".encode(errors="replace")[:LINE_BYTES_MAX])
