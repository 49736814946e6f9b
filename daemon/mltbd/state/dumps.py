"""Values of the replicated state as plain lists and back: what a snapshot is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")
_PLAIN = {"int": int, "str": str, "bool": bool, "float": float}


@cache
def _fields(cls: type) -> tuple[tuple[str, type | None], ...]:
    """Name and plain type of each field, looked up once: a snapshot asks for every event and placement."""
    return tuple((field.name, _PLAIN.get(str(field.type))) for field in dataclasses.fields(cls))


@cache
def _values(cls: type) -> Callable[[Any], tuple[Any, ...]]:
    names = [name for name, _ in _fields(cls)]
    return attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)


def row(value: Any) -> list[Any]:
    """The fields of a dataclass of plain fields, in order."""
    return list(_values(type(value))(value))  # type: ignore[arg-type]


def unrow(cls: type[T], dumped: object) -> T:
    """The inverse of `row`. Missing trailing fields take their defaults: an older release wrote it.

    Raises ValueError for anything else, surplus fields of a newer release included: to drop them would make two
    nodes disagree about one state.
    """
    fields = _fields(cls)  # type: ignore[arg-type]
    if type(dumped) is not list or len(dumped) > len(fields):
        raise ValueError(f"{cls.__name__} is no list of at most {len(fields)} fields")
    for (name, plain), value in zip(fields, dumped, strict=False):
        if type(value) is not plain:
            raise ValueError(f"{cls.__name__}.{name} is no {plain.__name__ if plain else 'plain value'}")
    try:
        return cls(*dumped)
    except TypeError as error:
        raise ValueError(f"{cls.__name__} lacks fields: {error}") from error


def rows(dumped: object, what: str) -> list[Any]:
    """A list, or ValueError."""
    if type(dumped) is not list:
        raise ValueError(f"{what} is no list")
    return dumped
