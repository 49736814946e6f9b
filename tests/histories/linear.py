"""Whether a recorded history is linearizable: each operation took effect at one instant between call and return.

The search is Wing and Gong's (1993) with Lowe's memoisation (2017): a set of operations that have taken effect, and
the state they led to, is looked at once only. An operation without an answer may have taken effect at any moment
after its call, or never.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

VISITS_MAX = 2_000_000
"""Pairs of (operations done, state) looked at before the answer is `undecided`."""


@dataclass(frozen=True, slots=True)
class Op:
    """One call of one client. `returned` is infinite, and `result` None, when no answer came."""

    client: str
    kind: str
    args: tuple[Any, ...]
    called: float
    returned: float = inf
    result: Any = None

    @property
    def answered(self) -> bool:
        return self.returned < inf


State = Hashable
Model = Callable[[Any, Op], Iterable[State]]
"""The states that an operation may lead to from a state, given its answer; none when it cannot have come there."""


class Undecided(Exception):
    """The history was too wide to judge within VISITS_MAX."""


def stuck(ops: Sequence[Op], model: Model, initial: State) -> str:
    """Why there is no order that explains every answer; empty when there is one. Raises Undecided."""
    order = sorted(ops, key=lambda op: (op.called, op.returned))
    wanted = sum(1 << place for place, op in enumerate(order) if op.answered)
    todo: list[tuple[int, State]] = [(0, initial)]
    seen = {(0, initial)}
    best = (0, initial)
    while todo:
        done, state = todo.pop()
        if done & wanted == wanted:
            return ""
        if (done & wanted).bit_count() > (best[0] & wanted).bit_count():
            best = (done, state)
        for place in _next(order, done):
            for after in model(state, order[place]):
                found = (done | 1 << place, after)
                if found not in seen:
                    seen.add(found)
                    todo.append(found)
        if len(seen) > VISITS_MAX:
            raise Undecided(f"{len(order)} operations, {len(seen)} places looked at")
    return _told(order, *best)


def _next(order: Sequence[Op], done: int) -> list[int]:
    """Who may take effect now: whoever was called before the first return of those that have not."""
    first_return = inf
    open_ops = []
    for place in range(_lowest_open(done), len(order)):
        op = order[place]
        if op.called > first_return:
            break
        if not done >> place & 1:
            open_ops.append(place)
            first_return = min(first_return, op.returned)
    return [place for place in open_ops if order[place].called <= first_return]


def _lowest_open(done: int) -> int:
    """The place of the first zero."""
    return ((done + 1) & ~done).bit_length() - 1


def _told(order: Sequence[Op], done: int, state: State) -> str:
    waiting = [order[place] for place in _next(order, done)]
    lines = [f"after {done.bit_count()} of {len(order)} operations, with {state!r}, none of these can follow:"]
    return "\n  ".join([*lines, *map(str, waiting)])
