"""Two programs that use keys and a lock all year long, and remember every call for the judge of histories."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from mltbctl.client import Client, Conflict, Entry, LockNotAcquired, MltbError, UnknownOutcome
from tests.histories.linear import Op
from tests.histories.models import flaws, tokens_out_of_order

KEYS = ("year/even", "year/odd")
LOCK = "year/turn"
TTL_S = 5.0
PACE_S = 0.05
LOCK_EVERY = 7
CALL_S = 20.0
JOIN_S = 3 * CALL_S


class Program(threading.Thread):
    """Reads a key, swaps it, and now and then takes the lock and writes under its token."""

    def __init__(self, name: str, endpoints: Sequence[str]) -> None:
        super().__init__(name=name, daemon=True)
        self.keys: dict[str, list[Op]] = defaultdict(list)
        self.locks: dict[str, list[Op]] = defaultdict(list)
        self.done = 0
        self.trouble: list[str] = []
        self.ending = threading.Event()
        self._endpoints = endpoints

    def run(self) -> None:
        with Client(*self._endpoints, timeout=CALL_S) as node:
            turn = 0
            while not self.ending.wait(PACE_S):
                turn += 1
                self._count(node, KEYS[turn % len(KEYS)], f"{self.name} {turn}")
                if turn % LOCK_EVERY == 0:
                    self._take(node, f"{self.name} {turn}")

    def _count(self, node: Client, key: str, value: str) -> None:
        """A read, then a swap that rests on it."""
        found = self._call(self.keys[key], "get", (), lambda: _seen(node.state.get(key)))
        if found is not None:
            version = found[1]
            swap = self._swapped(node, key, version, value)
            self._call(self.keys[key], "set", (value, version), swap)

    @staticmethod
    def _swapped(node: Client, key: str, version: int, value: str) -> Callable[[], Any]:
        def swap() -> tuple[str, int]:
            answer = node.state.compare_and_swap(key, version, value)
            if isinstance(answer, Conflict):
                return "conflict", answer.entry.version if answer.entry is not None else 0
            return "ok", answer.version

        return swap

    def _take(self, node: Client, attempt: str) -> None:
        """The lock for one write that its token guards; `attempt` is its name in the history."""
        held: list[Any] = []

        def acquire() -> tuple[Any, ...] | None:
            try:
                held.append(node.locks.acquire(LOCK, ttl=TTL_S, holder=attempt))
            except LockNotAcquired as error:
                # Without a holder it was given back at that very moment: nothing that the model could judge.
                return ("held",) if error.details["holder"] else None
            return "ok", held[0].token

        granted = self._call(self.locks[LOCK], "acquire", (attempt, TTL_S), acquire)
        if granted is None or granted[0] != "ok":
            return
        key, grant = KEYS[0], held[0]
        self._call(
            self.keys[key], "set", (attempt, None), lambda: ("ok", node.state.set(key, attempt, token=grant).version)
        )
        self._call(self.locks[LOCK], "release", (attempt,), lambda: node.locks.release(grant))

    def _call(self, history: list[Op], kind: str, args: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        """What it answered; None when nobody could tell, or when it certainly was not done."""
        called = time.monotonic()
        try:
            result = ask()
        except UnknownOutcome as error:
            self.trouble.append(f"{kind}: {error.message}")
            history.append(Op(self.name, kind, args, called))
            return None
        except MltbError as error:
            self.trouble.append(f"{kind}: {error.code}: {error.message}")
            return None
        if result is not None:
            history.append(Op(self.name, kind, args, called, time.monotonic(), result))
            self.done += 1
        return result


def _seen(entry: Entry | None) -> tuple[Any, int]:
    return (entry.value, entry.version) if entry is not None else (None, 0)


def end(programs: Sequence[Program]) -> None:
    """They finish their calls; AssertionError when one hangs."""
    for program in programs:
        program.ending.set()
    for program in programs:
        program.join(JOIN_S)
        assert not program.is_alive(), f"{program.name} hangs: {program.trouble}"


def verdict(programs: Sequence[Program]) -> list[str]:
    """What is wrong with what they were told, taken together; empty when all of it can be explained."""
    keys = {key: [op for program in programs for op in program.keys[key]] for key in KEYS}
    locks = {LOCK: [op for program in programs for op in program.locks[LOCK]]}
    return flaws(dict(keys), dict(locks)) + tokens_out_of_order(locks[LOCK])
