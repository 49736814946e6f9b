"""Where other members were linked, kept beside the journal: beyond the seeds of the configuration. Newest first.

A founder has no seeds, and a node that comes back at another address can be found only if it speaks first. These are
places to knock at, nothing more: who answers there decides what it is. `mltbctl recover` listens at all of them, so a
place stays when nobody is linked there any more: a node in a minority sees few of those it must not live beside.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from mltb_transport.limits import PORT_MAX
from mltb_transport.places import MET, MET_DAMAGED
from mltbd.core.membership import SEEDS_MAX
from mltbd.runtime.state_directory import sync_directory

MET_MAX = 128
"""Twice what a cluster may have of members that replicate."""
KNOCKS_MAX = 16
"""At so many of them, the newest, this run knocks."""
BYTES_MAX = 64 * 1024
HOST_CHARS_MAX = 255
log = logging.getLogger("mltbd")


class Met:
    """`found` is what earlier runs left; `keep` writes down what this one sees, when that changed.

    `aside` has the disk wait for elsewhere: one write at a time, and then the newest.
    """

    def __init__(self, state_dir: Path, aside: Callable[[Callable[[], None]], object] = lambda work: work()) -> None:
        self._path = state_dir / MET
        self._aside = aside
        self._lock = threading.Lock()
        self._writing = False
        self.found = self._recovered()
        self._kept = self.found

    def _recovered(self) -> tuple[str, ...]:
        found, why = _read(self._path)
        if not why:
            return found
        try:
            os.replace(self._path, self._path.with_name(MET_DAMAGED))
        except OSError as error:
            self._writing = True  # Never over what is not known.
            why = f"{why}; {error}"
        log.warning("`%s` is damaged (%s) and put aside: of the others some may not be known any more", self._path, why)
        return found

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
        with self._lock:
            if places == self._kept:
                return
            self._kept = places
            if self._writing:
                return
            self._writing = True
        try:
            self._aside(self._write)
        except RuntimeError:  # No thread to be had.
            self._write()

    def _write(self) -> None:
        places: tuple[str, ...] | None = None
        while True:
            with self._lock:
                if places == self._kept:
                    self._writing = False
                    return
                places = self._kept
            try:
                _put(self._path, json.dumps(places))
            except OSError as error:
                log.warning("cannot keep where the others are: %s", error)


def _put(path: Path, text: str) -> None:
    """Whole or not at all, also when the power goes."""
    draft = path.with_suffix(".new")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    sync_directory(path.parent)


def _read(path: Path) -> tuple[tuple[str, ...], str]:
    """The places, as far as they can be read, and what is wrong with the rest."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(BYTES_MAX))
    except (FileNotFoundError, NotADirectoryError):
        return (), ""
    except (OSError, ValueError, RecursionError) as error:
        return (), str(error)
    if not isinstance(found, list):
        return (), "it is no list"
    places = tuple(filter(_is_place, found))
    return places[:MET_MAX], "" if len(places) == len(found) else "not all of it are places"


def _is_place(text: object) -> bool:
    if not isinstance(text, str):
        return False
    host, colon, port = text.rpartition(":")
    plain = port.isascii() and port.isdigit() and len(port) <= len(str(PORT_MAX))
    return bool(colon and 0 < len(host) <= HOST_CHARS_MAX and plain) and 0 < int(port) <= PORT_MAX
