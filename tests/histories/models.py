"""What one key and one lock may answer: the sequential truth that a concurrent history has to agree with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Any

from tests.histories.linear import Op, Undecided, stuck

ABSENT = (None, 0)

# -- one key: the state is (value, version); an absent key is (None, 0) ------------------------------------------


def key_model(state: tuple[Any, int], op: Op) -> Iterable[tuple[Any, int]]:
    """`get () -> (value, version)`, `set (value, if_version or None)`, `delete (if_version or None)`.

    A change answers `("ok", version)` or `("conflict", version found)`; a delete answers with the version it took
    away, 0 where there was nothing.
    """
    value, version = state
    if op.kind == "get":
        return [state] if not op.answered or op.result == (value, version) else []
    wanted = op.args[-1]
    if wanted is not None and wanted != version:
        return [state] if not op.answered or op.result == ("conflict", version) else []
    after = (op.args[0], version + 1) if op.kind == "set" else ABSENT
    told = ("ok", after[1] if op.kind == "set" else version)
    return [after] if not op.answered or op.result == told else []


# -- one lock: the state is (lock id, token, not before) ---------------------------------------------------------
# `not before` is when the lock may expire at the earliest: the call of what last set its time to live, plus that.

FREE = ("", 0, -inf)


def lock_model(state: tuple[str, int, float], op: Op) -> Iterable[tuple[str, int, float]]:
    """`acquire (lock id, ttl)` -> ("ok", token) or ("held",); `extend` -> bool; `release (lock id,)` -> bool.

    `guarded (lock id,)` -> bool: whether a write was accepted that demands the token of this grant.
    Expiry is nobody's operation: it may come at any moment from `not before` on, and not before.
    """
    found = list(_lock_step(state, op))
    held, token, not_before = state
    if held and op.returned >= not_before:
        found += _lock_step(("", token, -inf), op)
    return found


def _lock_step(state: tuple[str, int, float], op: Op) -> Iterable[tuple[str, int, float]]:
    held, token, not_before = state
    lock_id = op.args[0]
    if op.kind == "acquire":
        if held:
            # Repeated under one name: it holds it already.
            return [state] if op.result in (None, ("held",)) or (held == lock_id and op.result == ("ok", token)) else []
        if not op.answered:
            return [(lock_id, -1, op.called + op.args[1])]  # Its token is nobody's knowledge.
        if op.result[0] != "ok" or op.result[1] <= token:
            return []
        return [(lock_id, op.result[1], op.called + op.args[1])]
    mine = bool(held) and held == lock_id
    if op.answered and op.result != mine:
        return []
    if not mine:
        return [state]
    if op.kind == "release":
        return [("", token, -inf)]
    if op.kind == "guarded":
        return [state]
    return [(held, token, max(not_before, op.called + op.args[1]))]


# -- whole histories ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flaw:
    """A history that cannot be explained, or (not `decided`) not be judged."""

    why: str
    ops: Sequence[Op]
    decided: bool = True

    def __str__(self) -> str:
        story = "\n  ".join(map(str, sorted(self.ops, key=lambda op: op.called)))
        return f"{self.why}\n its history:\n  {story}"


def judged(keys: Mapping[str, Sequence[Op]], locks: Mapping[str, Sequence[Op]]) -> list[Flaw]:
    """What is wrong with the history of each key and each lock."""
    found = []
    for what, histories, model, initial in (("key", keys, key_model, ABSENT), ("lock", locks, lock_model, FREE)):
        for name, ops in sorted(histories.items()):
            try:
                why = stuck(ops, model, initial)
            except Undecided as error:
                found.append(Flaw(f"{what} `{name}`: undecided: {error}", ops, decided=False))
                continue
            if why:
                found.append(Flaw(f"{what} `{name}`: {why}", ops))
    return found


def flaws(keys: Mapping[str, Sequence[Op]], locks: Mapping[str, Sequence[Op]]) -> list[str]:
    """One line or more for each key and lock whose history cannot be explained, or not be judged."""
    return [str(flaw) for flaw in judged(keys, locks)]


def old_tokens(guarded: Mapping[str, Sequence[tuple[int, int]]]) -> list[str]:
    """Writes of one key as (version, token): in the order of its versions their tokens never fall."""
    return [
        f"`{lock}` at version {after[0]} with {after[1]}, after {before[1]}"
        for lock, writes in sorted(guarded.items())
        for before, after in pairwise(sorted(writes))
        if after[1] < before[1]
    ]


def tokens_out_of_order(ops: Iterable[Op]) -> list[str]:
    """Grants of any locks: a grant called after another one returned has the greater token."""
    granted = sorted(
        (op for op in ops if op.kind == "acquire" and op.answered and op.result[0] == "ok"), key=lambda op: op.called
    )
    return [
        f"token {after.result[1]} of {after} is not above {before.result[1]} of {before}"
        for before in granted
        for after in granted
        if before.returned < after.called and before.result[1] >= after.result[1]
    ]
