"""What validation says about one key of the configuration. Errors forbid a start, warnings do not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """`key`: the option (or `workload.NAME.key`), `origin`: where the offending value came from, or empty."""

    level: Level
    key: str
    message: str
    hint: str = ""
    origin: str = ""


class ValueProblem(ValueError):
    """A value that is not of the option's kind or range. Always says what was needed."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def error(key: str, message: str, hint: str = "", origin: str = "") -> Problem:
    """A problem that forbids a start."""
    return Problem("error", key, message, hint, origin)


def warning(key: str, message: str, hint: str = "", origin: str = "") -> Problem:
    """A problem an operator should know of; the configuration can run."""
    return Problem("warning", key, message, hint, origin)


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Those that forbid a start."""
    return [problem for problem in problems if problem.level == "error"]


def warnings(problems: Iterable[Problem]) -> list[Problem]:
    """Those that do not."""
    return [problem for problem in problems if problem.level == "warning"]
