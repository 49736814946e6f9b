"""The replicated store: key-values, locks and clients under one revision. Applies client commands from the log.

Outcomes are tuples of plain values, a word first:

    set, delete   ("ok", version, revision) · ("conflict",) no such key · ("conflict", value, version, revision)
    acquire       ("ok", lock_id, token, ttl_ms) · ("waits", lock_id) · ("held", holder; empty: closed for a delay)
    extend        ("ok", token, ttl_ms) · ("lost",)
    release       ("ok",) · ("lost",)
    withdraw      ("ok",) · ("held",) it was promoted before · ("lost",) nobody of that id is there
    expire, open  ("ok",) · ("lost",) no longer so
    any           ("error", code, message)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mltb_transport.level import FIRST, STORE_LEVEL_OF
from mltb_transport.limits import VALUE_BYTES_MAX
from mltb_transport.messages import Entry
from mltb_transport.store import (
    ACQUIRE,
    DELETE,
    EXPIRE,
    EXTEND,
    INTERNAL,
    OPEN,
    RELEASE,
    SET,
    WITHDRAW,
    Batch,
    Command,
    unpacked,
)
from mltbd.state.clients import Clients, Outcome, error
from mltbd.state.keyvalues import KeyValue, KeyValues
from mltbd.state.locks import Locks, Waiter

MESSAGE_CHARS_MAX = 400
"""Of a refusal that is remembered."""
OK: Outcome = ("ok",)
LOST: Outcome = ("lost",)
ANY_VERSION = -1

Done = tuple[str, int, Outcome]
"""(client, seq, outcome) of one command."""


class Store:
    """What every node agrees on after applying the same entries. `apply` is the only way to change it."""

    def __init__(self) -> None:
        self.revision = 0
        """Grows with every command that changes something, and is never behind the log: a leap of the log's index
        makes it leap as well."""
        self.keyvalues = KeyValues()
        self.locks = Locks()
        self.clients = Clients()
        self._do: dict[int, Callable[[Command, Entry], Outcome]] = {
            SET: self._set,
            DELETE: self._delete,
            ACQUIRE: self._acquire,
            EXTEND: self._extend,
            RELEASE: self._release,
            WITHDRAW: self._withdraw,
            EXPIRE: self._expire,
            OPEN: self._open,
        }

    def apply(self, entry: Entry, level: int = FIRST) -> list[Done]:
        """Apply the commands of one entry, in order; the outcome of each.

        What the `level` of the cluster does not have is passed over by whoever knows it, as by whoever does not.
        """
        done: list[Done] = []
        if not isinstance(entry.command, Batch):
            return done
        for body in entry.command.commands:
            command = unpacked(body)
            if command is not None and STORE_LEVEL_OF.get(command.kind, FIRST) <= level:
                done.append((command.client, command.seq, self._apply(command, entry)))
        return done

    def _apply(self, command: Command, entry: Entry) -> Outcome:
        client, seq, kind, _ = command
        do = self._do[kind]
        if client.startswith(INTERNAL):
            return do(command, entry)
        known = self.clients.known(client, seq, entry.index)
        if known is not None:
            self._touch_again(command, known, entry)
            return self._told_again(command, known)
        outcome = do(command, entry)
        self.clients.remember(client, seq, _rememberable(outcome), entry.index, self._stands)
        return outcome

    def _stands(self, outcome: Outcome) -> bool:
        """Whether it is a lock that is still held, or waited for, under this id. (No other outcome has a text there
        that looks like an id.)"""
        return outcome[0] in ("ok", "waits") and len(outcome) > 1 and self.locks.stands(outcome[1])

    def _next(self, entry: Entry) -> int:
        self.revision = max(self.revision + 1, entry.index)
        return self.revision

    # -- key-values ------------------------------------------------------------------------------------------

    def _set(self, command: Command, entry: Entry) -> Outcome:
        key, value, if_version, lock, token = command.arguments
        refused = self._refusal(key, if_version, lock, token)
        if refused:
            return refused
        if len(value) > VALUE_BYTES_MAX or len(value.encode()) > VALUE_BYTES_MAX:
            return error("usage", f"the value of `{key}` is longer than {VALUE_BYTES_MAX // 1024} KiB")
        full = self.keyvalues.full(key, value)
        if full:
            return error("full", full)
        after = self.keyvalues.set(key, value, self._next(entry))
        return ("ok", after.version, after.revision)

    def _delete(self, command: Command, entry: Entry) -> Outcome:
        key, if_version, lock, token = command.arguments
        refused = self._refusal(key, if_version, lock, token)
        if refused:
            return refused
        if self.keyvalues.get(key) is None:
            return ("ok", 0, self.revision)
        revision = self._next(entry)
        self.keyvalues.delete(key, revision)
        return ("ok", 1, revision)

    def _refusal(self, key: str, if_version: int, lock: str, token: int) -> Outcome | None:
        if lock and not self.locks.allows(lock, token):
            return error("refused", f"token {token} is not the current token of lock `{lock}`")
        if if_version == ANY_VERSION:
            return None
        before = self.keyvalues.get(key)
        return None if if_version == (before.version if before is not None else 0) else _conflict(before)

    # -- locks -----------------------------------------------------------------------------------------------

    def _acquire(self, command: Command, entry: Entry) -> Outcome:
        name, ttl_ms, wait_ms, delay_ms, holder = command.arguments
        full = self.locks.full(name, waits=wait_ms > 0)
        if full:
            return error("full", full)
        lock = self.locks.get(name)
        if lock is not None and wait_ms <= 0:
            return ("held", lock.holder)
        revision = self._next(entry)
        lock_id = f"id-{revision}"
        if lock is None:
            self.locks.take(name, lock_id, holder, ttl_ms, delay_ms, revision, entry.wall)
            return ("ok", lock_id, revision, ttl_ms)
        self.locks.queue(name, Waiter(lock_id, holder, ttl_ms, wait_ms, delay_ms))
        return ("waits", lock_id)

    def _extend(self, command: Command, entry: Entry) -> Outcome:
        name, lock_id, ttl_ms = command.arguments
        lock = self.locks.holder_of(name, lock_id)
        if lock is None:
            return LOST
        self.locks.extend(lock, ttl_ms, self._next(entry))
        return ("ok", lock.token, lock.ttl_ms)

    def _release(self, command: Command, entry: Entry) -> Outcome:
        name, lock_id = command.arguments
        lock = self.locks.holder_of(name, lock_id)
        if lock is None:
            self.locks.withdraw(name, lock_id)
            return LOST
        self.locks.leave(lock, self._next(entry), entry.wall)
        return OK

    def _withdraw(self, command: Command, entry: Entry) -> Outcome:
        del entry
        name, lock_id = command.arguments
        if self.locks.withdraw(name, lock_id):
            return OK
        return ("held",) if self.locks.holder_of(name, lock_id) is not None else LOST

    def _expire(self, command: Command, entry: Entry) -> Outcome:
        name, token, generation, term = command.arguments
        lock = self.locks.held_since(name, token, generation)
        if lock is None or not _from_leader(command, term, entry):
            return LOST
        self.locks.expire(lock, self._next(entry), entry.wall)
        return OK

    def _open(self, command: Command, entry: Entry) -> Outcome:
        name, generation, term = command.arguments
        lock = self.locks.closed_since(name, generation)
        if lock is None or not _from_leader(command, term, entry):
            return LOST
        self.locks.open(lock, self._next(entry), entry.wall)
        return OK

    def _touch_again(self, command: Command, known: Outcome, entry: Entry) -> None:
        """A repeat whose answer says that a lock is held: its time begins anew, for its sender counts from now."""
        if command.kind == ACQUIRE and self._stands(known):
            lock = self.locks.holder_of(command.arguments[0], known[1])
        elif command.kind == EXTEND and known[0] == "ok":
            lock = self.locks.holder_of(command.arguments[0], command.arguments[1])
        else:
            return
        if lock is not None:
            self.locks.extend(lock, 0, self._next(entry))

    def _told_again(self, command: Command, known: Outcome) -> Outcome:
        """A repeat that was in vain the first time hears who is in its way now: only that it was is remembered."""
        kind, name = command.kind, command.arguments[0]
        if known[0] == "held":
            lock = self.locks.get(name)
            return ("held", lock.holder if lock is not None else "")
        if known[0] != "conflict" or len(known) == 1 or kind not in (SET, DELETE):
            return known
        before = self.keyvalues.get(name)
        if (before.version if before is not None else 0) != command.arguments[2 if kind == SET else 1]:
            return _conflict(before)
        return error("refused", f"`{name}` had version {known[2]} when this was refused")

    # -- whole -----------------------------------------------------------------------------------------------

    def dump(self) -> list[Any]:
        """All of it, as plain lists."""
        return [self.revision, self.keyvalues.dump(), self.locks.dump(), self.clients.dump()]

    @classmethod
    def load(cls, dumped: list[Any]) -> Store:
        """The inverse of `dump`. Raises ValueError for what no release up to this one dumped."""
        loaded = cls()
        try:
            loaded.revision, keyvalues, locks, clients = dumped
            loaded.keyvalues = KeyValues.load(keyvalues)
            loaded.locks = Locks.load(locks)
            loaded.clients = Clients.load(clients)
        except (TypeError, AttributeError, IndexError) as error:
            raise ValueError("not a dump of locks and state") from error
        return loaded

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and self.dump() == other.dump()


def _from_leader(command: Command, term: int, entry: Entry) -> bool:
    """Only the clock of the leader of this very term says that a time is over: what was passed on proves nothing."""
    return command.client.startswith(INTERNAL) and term == entry.term


def _conflict(entry: KeyValue | None) -> Outcome:
    return ("conflict",) if entry is None else ("conflict", entry.value, entry.version, entry.revision)


def _rememberable(outcome: Outcome) -> Outcome:
    """What is kept for a repeat: no text that somebody else wrote. What all clients weigh must fit into a snapshot."""
    match outcome:
        case ("conflict", _, version, revision):
            return ("conflict", "", version, revision)
        case ("held", _):
            return ("held", "")
        case ("error", code, message):
            return error(code, message[:MESSAGE_CHARS_MAX])
    return outcome
