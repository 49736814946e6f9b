"""The level of a cluster: which version of the protocol its log is written in, and what each version added to it."""

from __future__ import annotations

from dataclasses import dataclass

FIRST = 1
"""What a cluster is at that says nothing else."""


@dataclass(frozen=True, slots=True)
class Level:
    """Once this is committed the log may hold what version `level` of the protocol added. A level never falls."""

    level: int


LEVEL_OF: dict[type, int] = {}
"""The commands that a later version than the first added, and that version. Below its level none is proposed."""
STORE_LEVEL_OF: dict[int, int] = {}
"""The same for the kinds of client commands (store.py)."""


def level_of(command: object) -> int:
    """The version that knows this command: who does not speak it must not take the entry into its log."""
    # A founding, like Level, names its level.
    return max(LEVEL_OF.get(type(command), FIRST), getattr(command, "level", FIRST))
