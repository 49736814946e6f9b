"""What a command hands back and how it may be painted: Result, ExitCode, Style. Nothing is printed here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """How a command ends; the meaning of each is listed by `mltbctl help exit-codes`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    AUTH = 4
    REFUSED = 5
    TIMEOUT = 6
    UNREACHABLE = 7
    DEGRADED = 8
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """One line of words for people."""
        return _MEANINGS[self]


def never_no(code: ExitCode) -> ExitCode:
    """How a question ends that could not be answered: 1 would read as `no`."""
    return ExitCode.UNREACHABLE if code == ExitCode.FAILED else code


_MEANINGS = {
    ExitCode.DONE: "done, true, or healthy",
    ExitCode.FAILED: "failed, or false",
    ExitCode.USAGE: "wrong usage or invalid configuration",
    ExitCode.CANCELLED: "cancelled, confirmation declined, or not possible (no terminal and no --yes)",
    ExitCode.AUTH: "authentication refused",
    ExitCode.REFUSED: "no quorum, or refused for safety",
    ExitCode.TIMEOUT: "--timeout ran out; an operation goes on, its id is printed",
    ExitCode.UNREACHABLE: "no daemon could be reached",
    ExitCode.DEGRADED: "degraded (only with status --exit-code or doctor --strict)",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C",
}

_GLYPHS = {
    "healthy": ("●", "*"),
    "leader": ("●", "*"),
    "follower": ("○", "o"),
    "witness": ("◇", "w"),
    "observer": ("·", "."),
    "suspect": ("◐", "~"),
    "dead": ("✗", "x"),
    "local": ("›", ">"),
    "alert": ("!", "!"),
    "ok": ("✓", "+"),
    "no": ("✗", "x"),
    "running": ("▸", ">"),
    "waiting": ("·", "."),
    "arrow": ("→", "->"),
    "dash": ("—", "-"),
    "times": ("×", "x"),
}
_SPINNER = ("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\")


@dataclass(frozen=True, slots=True)
class Style:
    """How text may look here: with colour or without, with unicode glyphs or ASCII, in how many columns.

    `whole`: tables are as wide as what they hold, for whoever reads them is no screen.
    """

    colour: bool = False
    unicode: bool = True
    width: int = 80
    whole: bool = False

    def bold(self, text: str) -> str:
        """`text`, bold where colour is on; so for each of the paints below."""
        return self._paint("1", text)

    def dim(self, text: str) -> str:
        return self._paint("2", text)

    def red(self, text: str) -> str:
        return self._paint("31", text)

    def green(self, text: str) -> str:
        return self._paint("32", text)

    def yellow(self, text: str) -> str:
        return self._paint("33", text)

    def cyan(self, text: str) -> str:
        return self._paint("36", text)

    def glyph(self, name: str) -> str:
        """The sign of that name, in ASCII where the terminal cannot show it; KeyError for an unknown name."""
        return _GLYPHS[name][0 if self.unicode else 1]

    def spinner(self, turn: int) -> str:
        """One frame of the waiting sign."""
        frames = _SPINNER[0 if self.unicode else 1]
        return frames[turn % len(frames)]

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text


@dataclass(frozen=True, slots=True)
class Result:
    """What a command found out or did.

    `data` is the JSON object (`"schema": 1` is added when it is printed). `text` is what people read, whole
    or painted for a Style; empty prints nothing. `rows` names the key of `data` whose items `-o jsonl` prints
    one a line.
    """

    data: dict[str, Any]
    text: str | Callable[[Style], str] = ""
    exit_code: int = ExitCode.DONE
    rows: str = ""
