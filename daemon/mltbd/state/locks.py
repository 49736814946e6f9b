"""Replicated locks: one holder, a queue behind it, a token that grows with every holder. No clock in here.

That a time is over comes as a command of the leader, which names what it was measured for: a holder by its token and
`generation` (the revision of its last extension), a delay by its generation. Where that is no longer so, nothing
happens.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

LOCKS_MAX = 10_000
WAITERS_MAX = 1024
"""In front of one lock."""
ALL_WAITERS_MAX = 16_384


@dataclass(slots=True)
class Waiter:
    """Somebody in the queue."""

    lock_id: str
    holder: str
    ttl_ms: int
    wait_ms: int
    delay_ms: int


@dataclass(slots=True)
class Lock:
    """`lock_id` is empty while nobody holds it: then it stays closed until its delay is over.

    `generation` is the revision at which whatever is measured now began: this holder's time, or the delay.
    """

    name: str
    lock_id: str = ""
    holder: str = ""
    token: int = 0
    ttl_ms: int = 0
    delay_ms: int = 0
    since: int = 0  # wall milliseconds, for people
    generation: int = 0
    waiters: OrderedDict[str, Waiter] = field(default_factory=OrderedDict)

    @property
    def held(self) -> bool:
        return bool(self.lock_id)


class Locks:
    """Every method that changes something is called while applying the log. `touched` says which locks it was."""

    def __init__(self) -> None:
        self._by_name: dict[str, Lock] = {}
        self._held = 0
        self._waiting = 0
        self._standing: set[str] = set()
        self.touched: dict[str, None] = {}

    def get(self, name: str) -> Lock | None:
        """The lock if anybody has to do with it now."""
        return self._by_name.get(name)

    def named(self, prefix: str = "", after: str = "") -> list[Lock]:
        """All locks with this prefix behind `after`, by name."""
        names = [name for name in self._by_name if name > after and name.startswith(prefix)]
        return [self._by_name[name] for name in sorted(names)]

    @property
    def size(self) -> int:
        """Locks and waiters."""
        return len(self._by_name) + self._waiting

    @property
    def held(self) -> int:
        """How many are held."""
        return self._held

    def allows(self, name: str, token: int) -> bool:
        """Whether this is the token of whoever holds the lock now."""
        lock = self._by_name.get(name)
        return lock is not None and lock.held and lock.token == token

    def stands(self, lock_id: object) -> bool:
        """Whether somebody holds a lock, or waits for one, under this id."""
        return lock_id in self._standing

    def full(self, name: str, *, waits: bool) -> str:
        """Why this lock cannot be asked for; empty when it can."""
        lock = self._by_name.get(name)
        if lock is None:
            return f"there are {LOCKS_MAX} locks already" if len(self._by_name) >= LOCKS_MAX else ""
        if waits and len(lock.waiters) >= WAITERS_MAX:
            return f"{WAITERS_MAX} wait for lock `{name}` already"
        return f"{ALL_WAITERS_MAX} wait for locks already" if waits and self._waiting >= ALL_WAITERS_MAX else ""

    def take(self, name: str, lock_id: str, holder: str, ttl_ms: int, delay_ms: int, token: int, at_ms: int) -> Lock:
        """A lock that nobody has to do with gets its holder."""
        lock = self._by_name[name] = Lock(name)
        self._give(lock, Waiter(lock_id, holder, ttl_ms, 0, delay_ms), token, at_ms)
        return lock

    def queue(self, name: str, waiter: Waiter) -> None:
        """Somebody waits behind all who wait already."""
        self._by_name[name].waiters[waiter.lock_id] = waiter
        self._waiting += 1
        self._standing.add(waiter.lock_id)
        self.touched[name] = None

    def holder_of(self, name: str, lock_id: str) -> Lock | None:
        """The lock if it is held under this id."""
        lock = self._by_name.get(name)
        return lock if lock is not None and lock.held and lock.lock_id == lock_id else None

    def extend(self, lock: Lock, ttl_ms: int, revision: int) -> None:
        """Its time begins anew; it becomes longer, never shorter: its holder counts on what it was given.

        Whoever knows the id may extend, and the holder hears nothing of it.
        """
        lock.ttl_ms = max(ttl_ms, lock.ttl_ms)
        lock.generation = revision
        self.touched[lock.name] = None

    def leave(self, lock: Lock, revision: int, at_ms: int) -> None:
        """Its holder gave it back: the next one has it, under the token `revision`."""
        self._end(lock)
        self._pass_on(lock, revision, at_ms)

    def withdraw(self, name: str, lock_id: str) -> bool:
        """Somebody waits no longer. False when nobody waited under this id."""
        lock = self._by_name.get(name)
        if lock is None or lock.waiters.pop(lock_id, None) is None:
            return False
        self._waiting -= 1
        self._standing.discard(lock_id)
        self.touched[name] = None
        return True

    def held_since(self, name: str, token: int, generation: int) -> Lock | None:
        """The lock if this holder and no other has it, and has not extended it since."""
        lock = self._by_name.get(name)
        return lock if lock is not None and lock.held and (lock.token, lock.generation) == (token, generation) else None

    def expire(self, lock: Lock, revision: int, at_ms: int) -> None:
        """Its holder let the time run out: the next one has it, or nobody until a delay is over."""
        if not lock.delay_ms:
            self.leave(lock, revision, at_ms)
            return
        self._end(lock)
        lock.generation = revision
        self.touched[lock.name] = None

    def closed_since(self, name: str, generation: int) -> Lock | None:
        """The lock if nobody holds it and this is the delay it waits for."""
        lock = self._by_name.get(name)
        return lock if lock is not None and not lock.held and lock.generation == generation else None

    def open(self, lock: Lock, revision: int, at_ms: int) -> None:
        """The delay after an expiry is over."""
        self._pass_on(lock, revision, at_ms)

    def _end(self, lock: Lock) -> None:
        self._held -= 1
        self._standing.discard(lock.lock_id)
        lock.lock_id = lock.holder = ""

    def _pass_on(self, lock: Lock, revision: int, at_ms: int) -> None:
        self.touched[lock.name] = None
        if not lock.waiters:
            del self._by_name[lock.name]
            return
        _, waiter = lock.waiters.popitem(last=False)
        self._waiting -= 1
        self._give(lock, waiter, revision, at_ms)

    def _give(self, lock: Lock, waiter: Waiter, token: int, at_ms: int) -> None:
        lock.lock_id, lock.holder, lock.token = waiter.lock_id, waiter.holder, token
        lock.ttl_ms, lock.delay_ms, lock.since = waiter.ttl_ms, waiter.delay_ms, at_ms
        lock.generation = token
        self._held += 1
        self._standing.add(lock.lock_id)
        self.touched[lock.name] = None

    def dump(self) -> list[Any]:
        """All of it, as plain lists."""
        return [
            [
                lock.name, lock.lock_id, lock.holder, lock.token, lock.ttl_ms, lock.delay_ms, lock.since,
                lock.generation,
                [[w.lock_id, w.holder, w.ttl_ms, w.wait_ms, w.delay_ms] for w in lock.waiters.values()],
            ]
            for lock in self.named()
        ]  # fmt: skip

    @classmethod
    def load(cls, dumped: list[Any]) -> Locks:
        """The inverse of `dump`; every lock counts as touched."""
        loaded = cls()
        for *fields, waiters in dumped:
            lock = Lock(*fields)
            lock.waiters.update((waiter[0], Waiter(*waiter)) for waiter in waiters)
            loaded._by_name[lock.name] = lock
            loaded._held += lock.held
            loaded._waiting += len(lock.waiters)
            loaded._standing.update(lock.waiters, [lock.lock_id] if lock.held else [])
            loaded.touched[lock.name] = None
        return loaded

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Locks) and self.dump() == other.dump()
