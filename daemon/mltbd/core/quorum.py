"""Arithmetic over sets of voters. Nothing here knows a message."""

from __future__ import annotations

from collections.abc import Iterable


def needed(voters: int, quorum_size: int = 0) -> int:
    """How many of `voters` make a quorum: the majority, or more when `quorum_size` asks for it; never less."""
    return min(max(voters // 2 + 1, quorum_size), max(voters, 1))


def reached(voters: Iterable[str], granted: Iterable[str], quorum_size: int = 0) -> bool:
    """Whether those who granted are a quorum of the voters. Who is no voter counts nowhere."""
    electorate = set(voters)
    return len(electorate & set(granted)) >= needed(len(electorate), quorum_size) if electorate else False


def agreed(values: Iterable[int], voters: int, quorum_size: int = 0) -> int:
    """The largest value that a quorum of the `voters` has reached. `values`: of those that have one, others have 0."""
    ranked = sorted(values, reverse=True)
    last = needed(voters, quorum_size) - 1
    return ranked[last] if last < len(ranked) else 0


def tolerance(voters: int, reachable: int, quorum_size: int = 0) -> int:
    """How many more voters may be lost before there is no quorum; 0 when there is none already."""
    return max(0, reachable - needed(voters, quorum_size)) if voters else 0
