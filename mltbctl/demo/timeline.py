"""The live timeline: a line for each thing that happened, and on a terminal a last line that moves."""

from __future__ import annotations

import time
from typing import TextIO

from mltbctl.result import Style

REFRESH_S = 0.1


class Timeline:
    """Prints to a stream. `live` keeps a last line that is redrawn in place; only for a terminal."""

    def __init__(self, stream: TextIO, style: Style, *, live: bool) -> None:
        self._stream = stream
        self._style = style
        self._live = live
        self._began = time.monotonic()
        self._drawn_at = 0.0
        self._drawn = False

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def say(self, text: str, glyph: str = "waiting", *, paint: str = "") -> None:
        """One more line, with one of Style's glyphs, painted by the named method of Style."""
        self.clear()
        line = f"{self._style.glyph(glyph)} {text}"
        painted = getattr(self._style, paint)(line) if paint else line
        stamp = self._style.dim(f"{self.seconds:6.1f}s")
        self._stream.write(f"{stamp}  {painted}\n")
        self._stream.flush()

    def refresh(self, text: str) -> None:
        """Redraws the last line, a few times a second at the most."""
        if not self._live or time.monotonic() - self._drawn_at < REFRESH_S:
            return
        self._drawn_at, self._drawn = time.monotonic(), True
        shown = text[: self._style.width - 10]
        self._stream.write(f"\r\x1b[K{self.seconds:6.1f}s  {self._style.dim(shown)}")
        self._stream.flush()

    def clear(self) -> None:
        """Removes the last line."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False
