"""What the journal's writer learns about the room on its disk, told to the node as a check of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from mltbd.core.events import Checked
from mltbd.core.health import JOURNAL, NODE

log = logging.getLogger("mltbd")


class DiskRoom:
    """`say` is called in the writer's thread, perhaps before there is a node to tell; `attach` gives it one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, state_dir: Path) -> None:
        self._loop = loop
        self._state_dir = state_dir
        self._last = Checked(NODE, JOURNAL, ok=True)
        self._tell: Callable[[Checked], None] | None = None

    def say(self, enough: bool) -> None:
        """The disk is full and the ballast gone, or there is room again and the ballast is back."""
        if enough:
            log.warning("the disk has room again")
        else:
            log.error("the disk is full: goes on without its ballast (hint: make room: see `df %s`)", self._state_dir)
        self._loop.call_soon_threadsafe(self._told, enough)

    def attach(self, tell: Callable[[Checked], None]) -> None:
        self._tell = tell
        tell(self._last)

    def _told(self, enough: bool) -> None:
        detail = "" if enough else f"the disk is full, make room in {self._state_dir}"
        self._last = Checked(NODE, JOURNAL, enough, detail)
        if self._tell is not None:
            self._tell(self._last)
