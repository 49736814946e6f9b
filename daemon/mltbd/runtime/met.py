"""Where the other members were seen last, kept beside the journal: beyond the seeds of the configuration.

A founder has no seeds, and a node that comes back at another address can be found only if it speaks first. These are
places to knock at, nothing more: who answers there decides what it is.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from mltbd.core.peers import PORT_MAX

FILE = "met.json"
MET_MAX = 16
BYTES_MAX = 16 * 1024
HOST_CHARS_MAX = 255
log = logging.getLogger("mltbd")


class Met:
    """`found` is what the last run left; `keep` writes down what this one sees, when that changed."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE
        self.found = _read(self._path)
        self._kept = self.found

    def seeds(self, configured: tuple[str, ...], own: str) -> tuple[str, ...]:
        """Those of the configuration first, then those that were met."""
        return tuple(seed for seed in dict.fromkeys((*configured, *self.found)) if seed != own)

    def keep(self, addresses: Iterable[tuple[str, int]]) -> None:
        """Not worth an error: without it only the seeds are left."""
        places = tuple(sorted(f"{host}:{port}" for host, port in addresses)[:MET_MAX])
        if not places or places == self._kept:
            return
        self._kept = places
        draft = self._path.with_suffix(".new")
        try:
            draft.write_text(json.dumps(places))
            os.replace(draft, self._path)
        except OSError as error:
            log.warning("cannot keep where the others are: %s", error)


def _read(path: Path) -> tuple[str, ...]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        with path.open("rb") as file:
            found = json.loads(file.read(BYTES_MAX))
        if isinstance(found, list):
            return tuple(place for place in found if isinstance(place, str) and _is_place(place))[:MET_MAX]
    return ()


def _is_place(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    plain = port.isascii() and port.isdigit() and len(port) <= len(str(PORT_MAX))
    return bool(colon and 0 < len(host) <= HOST_CHARS_MAX and plain) and 0 < int(port) <= PORT_MAX
