"""The record of clients that share keys and locks, and everything it has to prove. The record itself judges nothing."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.histories.linear import Op
from tests.histories.models import flaws, old_tokens, tokens_out_of_order


@dataclass(frozen=True, slots=True)
class Belief:
    """From when until when a client was sure that a lock was its own."""

    tag: str
    since: float
    until: float


@dataclass(slots=True)
class Record:
    """What clients did and were told, for any number of threads; times of all of them are of one clock.

    `guarded`: accepted writes under a lock as (version, token). `sure` and `unsure`: lines of the ledger, each
    written once by one client, that were acknowledged, and that got no answer. `strange`: answers that nobody expects.
    """

    keys: dict[str, list[Op]] = field(default_factory=dict)
    locks: dict[str, list[Op]] = field(default_factory=dict)
    guarded: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    beliefs: dict[str, list[Belief]] = field(default_factory=dict)
    sure: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    strange: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str, where: str, op: Op) -> None:
        """`what` is `key` or `lock`."""
        word = op.result[0] if op.kind in ("set", "delete", "acquire") and op.answered else op.answered and op.result
        with self.mutex:
            self.seen[f"{op.kind} {word if op.kind != 'get' else op.answered}"] += 1
            (self.keys if what == "key" else self.locks).setdefault(where, []).append(op)

    def accepted(self, lock: str, version: int, token: int) -> None:
        with self.mutex:
            self.guarded.setdefault(lock, []).append((version, token))

    def believed(self, lock: str, belief: Belief) -> None:
        with self.mutex:
            self.beliefs.setdefault(lock, []).append(belief)

    def wrote(self, line: str, sure: bool) -> None:
        with self.mutex:
            (self.sure if sure else self.unsure).add(line)

    def odd(self, what: str) -> None:
        with self.mutex:
            self.strange.append(what)

    def count(self, what: str) -> None:
        with self.mutex:
            self.seen[what] += 1

    def answered(self, client: str) -> int:
        """How many answers one client has got."""
        with self.mutex:
            every = [op for ops in (*self.keys.values(), *self.locks.values()) for op in ops]
        return sum(op.client == client and op.answered for op in every)


def wrongs(record: Record, ledger: Iterable[str]) -> list[str]:
    """All that no honest cluster would have answered. `ledger`: the lines that were found at the end."""
    found = set(ledger)
    return [
        *flaws(record.keys, record.locks),
        *tokens_out_of_order(op for ops in record.locks.values() for op in ops),
        *(f"an old token was accepted: {why}" for why in old_tokens(record.guarded)),
        *(f"two holders at once: {why}" for why in _two_holders(record.beliefs)),
        *(f"acknowledged and lost: {line}" for line in sorted(record.sure - found)),
        *(f"refused and written all the same: {line}" for line in sorted(found - record.sure - record.unsure)),
        *(f"strange: {what}" for what in record.strange),
    ]


def _two_holders(beliefs: dict[str, list[Belief]]) -> list[str]:
    return [
        f"`{lock}`: {before} and {after}"
        for lock, held in sorted(beliefs.items())
        for before, after in _by_start(held)
        if before.tag != after.tag and after.since < before.until
    ]


def _by_start(held: list[Belief]) -> list[tuple[Belief, Belief]]:
    """Each belief with the one before it that lasted longest."""
    pairs = []
    longest: Belief | None = None
    for belief in sorted(held, key=lambda belief: (belief.since, belief.until)):
        if longest is not None:
            pairs.append((longest, belief))
        if longest is None or belief.until > longest.until:
            longest = belief
    return pairs
