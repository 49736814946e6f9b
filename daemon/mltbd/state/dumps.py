"""Values of the replicated state as plain lists and back: what a snapshot is made of."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

T = TypeVar("T")
_PLAIN = {"int": int, "str": str, "bool": bool, "float": float}


def row(value: Any) -> list[Any]:
    """The fields of a dataclass of plain fields, in order."""
    return [getattr(value, field.name) for field in dataclasses.fields(value)]


def unrow(cls: type[T], dumped: object) -> T:
    """The inverse of `row`. Missing trailing fields take their defaults: an older release wrote it.

    Raises ValueError for anything else, surplus fields of a newer release included: to drop them would make two
    nodes disagree about one state.
    """
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    if type(dumped) is not list or len(dumped) > len(fields):
        raise ValueError(f"{cls.__name__} is no list of at most {len(fields)} fields")
    for field, value in zip(fields, dumped, strict=False):
        if type(value) is not _PLAIN[str(field.type)]:
            raise ValueError(f"{cls.__name__}.{field.name} is no {field.type}")
    try:
        return cls(*dumped)
    except TypeError as error:
        raise ValueError(f"{cls.__name__} lacks fields: {error}") from error


def rows(dumped: object, what: str) -> list[Any]:
    """A list, or ValueError."""
    if type(dumped) is not list:
        raise ValueError(f"{what} is no list")
    return dumped
