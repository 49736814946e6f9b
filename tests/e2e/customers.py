"""Clients of locks and state in threads of their own, through the SDK, who write down what they were told.

Keys and locks change with time, so that each has few enough operations for its history to be judged.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from mltbctl.client import Client, Conflict, Entry, HeldLock, LockLost, LockNotAcquired, MltbError, Refused
from mltbctl.clock import boottime
from tests.histories.linear import Op
from tests.histories.record import Belief, Record

KEY_AGE_S, LOCK_AGE_S = 1.0, 6.0
"""For how long a key and a lock are in use."""
KEYS, LOCKS = 3, 2
TTL_S = (0.5, 1.0, 2.0)
WAIT_S = (0.0, 0.0, 0.4)
TIMEOUT_S = 5.0
UNDONE = frozenset({"no_quorum", "unreachable", "unavailable", "overloaded", "timeout"})
"""Failures that promise that nothing was changed: what they were given for must never be seen."""
LEDGER = "ledger/"


@dataclass(slots=True)
class Hold:
    """A grant, under the name that the record has for it."""

    name: str
    tag: str
    lock: HeldLock
    since: float


class Customer(threading.Thread):
    """One call after the other until `ending` is set, or `calls` of them are made."""

    def __init__(
        self,
        name: str,
        endpoints: Sequence[str],
        record: Record,
        seed: str,
        pause_s: float,
        *,
        calls: float = inf,
        secret: str | None = None,
        client: Callable[..., Any] = Client,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.ending = threading.Event()
        self._endpoints = endpoints
        self._record = record
        self._dice = random.Random(f"{seed} {name}")
        self._pause_s = pause_s
        self._secret = secret
        self._client = client
        self._calls = calls
        self._number = 0
        self._versions: dict[str, int] = {}
        self._hold: Hold | None = None
        self._former: Hold | None = None

    def run(self) -> None:
        try:
            with self._client(*self._endpoints, secret=self._secret, timeout=TIMEOUT_S) as node:
                while self._number < self._calls and not self.ending.is_set():
                    self._number += 1
                    self._next(node)
                    self.ending.wait(self._dice.uniform(0, self._pause_s))
        except Exception as error:  # Whatever it is, it has to come out in the end.
            self._record.odd(f"{self.name} ended: {error!r}")
        finally:
            self._let_go()

    def _next(self, node: Client) -> None:
        draw, hold = self._dice.random(), self._hold
        if draw < 0.1:
            self._ledger(node)
        elif draw < 0.15 and self._former is not None:
            self._guarded(node, self._former)
        elif hold is not None and draw < 0.5:
            self._with_lock(node, hold)
        elif hold is None and draw < 0.4:
            self._acquire(node)
        else:
            self._with_key(node, f"k/{boottime() // KEY_AGE_S:.0f}/{self._dice.randrange(KEYS)}")

    def _try(self, op: Op, call: Callable[[], object], what: str, where: str) -> bool:
        """Makes a call, and notes it where no answer comes. False when it failed."""
        try:
            call()
        except MltbError as error:
            self._record.count(f"{op.kind} {error.code}")
            if error.code == "unknown_outcome":
                self._record.note(what, where, op)
            elif error.code not in UNDONE:
                self._record.odd(f"{op}: {error.code}: {error.message}")
            return False
        return True

    # -- keys ----------------------------------------------------------------------------------------------------

    def _with_key(self, node: Client, key: str) -> None:
        draw, value = self._dice.random(), f"{self.name}.{self._number}"
        seen = self._versions.get(key, 0)
        kind, args = self._choose(draw, value, seen)
        called = boottime()

        def ask() -> None:
            state = node.state
            if kind == "get":
                found = state.get(key)
                result = (found.value, found.version) if found else (None, 0)
                self._versions[key] = result[1]
            elif kind == "delete":
                gone = state.delete(key, expected_version=seen)
                result = _outcome(gone) if isinstance(gone, Conflict) else ("ok", seen if gone else -1)
                self._versions[key] = 0
            else:
                blind = args[-1] is None
                done = state.set(key, value) if blind else state.compare_and_swap(key, seen, value)
                result = _outcome(done)
                self._versions[key] = result[1]
            self._record.note("key", key, Op(self.name, kind, args, called, boottime(), result))

        self._try(Op(self.name, kind, args, called), ask, "key", key)

    @staticmethod
    def _choose(draw: float, value: str, seen: int) -> tuple[str, tuple[Any, ...]]:
        """What to do with a key, as the record has it."""
        if draw < 0.45:
            return "get", ()
        if draw < 0.9 or not seen:
            return "set", (value, None if draw < 0.7 else seen)
        return "delete", (seen,)

    def _ledger(self, node: Client) -> None:
        line = f"{LEDGER}{self.name}/{self._number}"
        try:
            node.state.set(line, self._number)
            self._record.wrote(line, sure=True)
        except MltbError as error:
            self._record.count(f"ledger {error.code}")
            if error.code == "unknown_outcome":
                self._record.wrote(line, sure=False)
            elif error.code not in UNDONE:
                self._record.odd(f"{line}: {error.code}: {error.message}")

    # -- locks ---------------------------------------------------------------------------------------------------

    def _acquire(self, node: Client) -> None:
        name = f"l/{boottime() // LOCK_AGE_S:.0f}/{self._dice.randrange(LOCKS)}"
        tag, ttl, wait = f"{self.name}/{self._number}", self._dice.choice(TTL_S), self._dice.choice(WAIT_S)
        args, called = (tag, ttl), boottime()

        def ask() -> None:
            try:
                lock = node.locks.acquire(name, ttl=ttl, wait=wait, holder=self.name)
            except LockNotAcquired as error:
                unheard = Op(self.name, "acquire", args, called)
                held = replace(unheard, returned=boottime(), result=("held",))
                # Held by nobody, or asked for that long: it was ours for a time, perhaps, before we heard of it.
                sure = error.details["holder"] and held.returned - called < ttl
                self._record.note("lock", name, held if sure else unheard)
                return
            now = boottime()
            self._record.note("lock", name, Op(self.name, "acquire", args, called, now, ("ok", lock.token)))
            self._hold = Hold(name, tag, lock, now)

        self._try(Op(self.name, "acquire", args, called), ask, "lock", name)

    def _with_lock(self, node: Client, hold: Hold) -> None:
        draw = self._dice.random()
        if draw < 0.35:
            self._extend(node, hold)
        elif draw < 0.7:
            self._guarded(node, hold)
        else:
            self._let_go()
            if draw < 0.9:  # Else it is forgotten, and runs out.
                self._release(node, hold)

    def _extend(self, node: Client, hold: Hold) -> None:
        args, called = (hold.tag, hold.lock.ttl), boottime()

        def ask() -> None:
            try:
                node.locks.extend(hold.lock)
                held = True
            except LockLost:
                held = False
            self._record.note("lock", hold.name, Op(self.name, "extend", args, called, boottime(), held))
            if not held:
                self._let_go()

        self._try(Op(self.name, "extend", args, called), ask, "lock", hold.name)

    def _release(self, node: Client, hold: Hold) -> None:
        args, called = (hold.tag,), boottime()

        def ask() -> None:
            held = node.locks.release(hold.lock)
            self._record.note("lock", hold.name, Op(self.name, "release", args, called, boottime(), held))

        self._try(Op(self.name, "release", args, called), ask, "lock", hold.name)

    def _guarded(self, node: Client, hold: Hold) -> None:
        args, called = (hold.tag,), boottime()

        def ask() -> None:
            try:
                entry = node.state.set(f"g/{hold.name}", hold.lock.token, token=hold.lock)
            except Refused:
                self._record.note("lock", hold.name, Op(self.name, "guarded", args, called, boottime(), False))
                return
            self._record.note("lock", hold.name, Op(self.name, "guarded", args, called, boottime(), True))
            self._record.accepted(hold.name, entry.version, hold.lock.token)

        self._try(Op(self.name, "guarded", args, called), ask, "lock", hold.name)

    def _let_go(self) -> None:
        """From now on we do not count on it."""
        hold, self._hold = self._hold, None
        if hold is not None:
            self._former = hold
            belief = Belief(hold.tag, hold.since, min(boottime(), hold.lock.until))
            if belief.until > belief.since:
                self._record.believed(hold.name, belief)


def _outcome(done: Entry | Conflict) -> tuple[str, int]:
    if isinstance(done, Conflict):
        return ("conflict", done.entry.version if done.entry else 0)
    return ("ok", done.version)


def take_stock(node: Client, record: Record) -> set[str]:
    """Reads everything once more: each key of the record gets a last read. Returns the lines of the ledger."""
    called = boottime()
    listed = node.state.list()
    returned = boottime()
    found = {entry.key: entry for entry in listed}
    for key, ops in record.keys.items():
        entry = found.get(key)
        ops.append(Op("stock", "get", (), called, returned, (entry.value, entry.version) if entry else (None, 0)))
    return {key for key in found if key.startswith(LEDGER)}
