"""Fields of the tables in mltb.toml, read totally: what is wrong becomes a ValueProblem."""

from __future__ import annotations

from mltbd.config.names import shown
from mltbd.config.problem import ValueProblem

ARGUMENTS_MAX = 256
ARGUMENT_CHARS_MAX = 8192


def text(value: object, what: str) -> str:
    """Text that a process can be given."""
    if not isinstance(value, str):
        raise ValueProblem(f"{what} is text, not `{shown(str(value))}`", "put it in quotes")
    if len(value) > ARGUMENT_CHARS_MAX:
        raise ValueProblem(f"{what} is longer than {ARGUMENT_CHARS_MAX} characters")
    if "\0" in value:
        raise ValueProblem(f"{what} contains a zero byte, which no process can be given")
    return value


def texts(value: object, what: str, most: int) -> tuple[str, ...]:
    """A list of at most so many texts."""
    if not isinstance(value, list):
        raise ValueProblem(f"a list of {what}s is needed, not `{shown(str(value))}`", f'write `["{what}", ...]`')
    if len(value) > most:
        raise ValueProblem(f"{len(value)} {what}s are more than {most}")
    return tuple(text(item, f"each {what}") for item in value)


def command(value: object) -> tuple[str, ...]:
    """What to run, word by word."""
    if isinstance(value, str):
        words = ", ".join(f'"{word}"' for word in value[:128].split()) or '"python3", "-m", "bot"'
        raise ValueProblem(
            "a command is a list of arguments, never one string: no shell ever reads it",
            f"write `command = [{words}]`",
        )
    argv = texts(value, "argument", ARGUMENTS_MAX)
    if not argv or not argv[0]:
        raise ValueProblem("a command needs a program to run", 'write `command = ["python3", "-m", "bot"]`')
    return argv


def seconds(value: object, what: str, low: float, high: float) -> float:
    """A duration within these limits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueProblem(
            f"seconds are needed, not `{shown(str(value))}`",
            f"write a plain number, as in `{what} = {max(low, 1.0)}`",
        )
    if not low <= value <= high:
        raise ValueProblem(f"`{shown(str(value))}` is outside {low:g} to {high:g} s")
    return float(value)


def whole(value: object, low: int, high: int) -> int:
    """A whole number within these limits."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueProblem(f"a whole number is needed, not `{shown(str(value))}`")
    if not low <= value <= high:
        raise ValueProblem(f"`{shown(str(value))}` is outside {low} to {high}")
    return value


def absolute(value: object, what: str, example: str) -> str:
    """A path from the root: a daemon is started from anywhere."""
    path = text(value, what)
    if not path.startswith("/"):
        raise ValueProblem(
            f"`{shown(path)}` is not an absolute path, and a daemon is started from anywhere",
            f"write the whole path, as in `{example}`",
        )
    return path
