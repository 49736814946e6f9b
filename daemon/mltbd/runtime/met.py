"""Where other members were linked, kept beside the journal: beyond the seeds of the configuration. Newest first.

A founder has no seeds, and a node that comes back at another address can be found only if it speaks first. These are
places to knock at, nothing more: who answers there decides what it is. `mltbctl recover` listens at all of them, so a
place stays when nobody is linked there any more: a node in a minority sees few of those it must not live beside.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from mltbd.core.membership import SEEDS_MAX
from mltbd.core.peers import PORT_MAX

FILE = "met.json"
MET_MAX = 128
"""Twice what a cluster may have of members that replicate."""
KNOCKS_MAX = 16
"""At so many of them, the newest, this run knocks."""
BYTES_MAX = 64 * 1024
HOST_CHARS_MAX = 255
log = logging.getLogger("mltbd")


class Met:
    """`found` is what earlier runs left; `keep` writes down what this one sees, when that changed."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE
        self.found = _read(self._path)
        self._kept = self.found

    def seeds(self, configured: tuple[str, ...], own: str) -> tuple[str, ...]:
        """Those of the configuration first, then those that were met."""
        known = dict.fromkeys((*configured, *self.found[:KNOCKS_MAX]))
        return tuple(seed for seed in known if seed != own)[:SEEDS_MAX]

    @property
    def places(self) -> tuple[tuple[str, int], ...]:
        """What earlier runs left, as (host, port)."""
        pairs = (place.rpartition(":") for place in self.found)
        return tuple((host, int(port)) for host, _, port in pairs)

    def keep(self, addresses: Iterable[tuple[str, int]]) -> None:
        """Not worth an error: without it only the seeds are left."""
        linked = sorted(f"{host}:{port}" for host, port in addresses)
        places = tuple(dict.fromkeys((*linked, *self._kept)))[:MET_MAX]
        if places == self._kept:
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
