"""The daemon's side of locks and state: takes requests, gathers those of one turn of the loop, answers when due.

A command is answered when this node applies it. A lock that is waited for is answered when this node applies the
promotion, or when the wait is over and the waiter is out of the queue. Reads wait until this node holds all that was
acknowledged before them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from mltb_transport.bus import Route
from mltb_transport.limits import LOCK_WAIT_S
from mltb_transport.store import HINTS, INTERNAL, WITHDRAW, Bundle, Packed, packed
from mltbd.core.effects import Outcomes, Refusals, Reply
from mltbd.core.events import Listen, ReadState, Submit
from mltbd.runtime import store_params as views
from mltbd.runtime.clock import boottime
from mltbd.runtime.driver import Driver
from mltbd.runtime.shield import Done, shielded
from mltbd.runtime.store_bundles import Bundles
from mltbd.runtime.store_params import Params
from mltbd.runtime.store_watch import Watches
from mltbd.runtime.views import age
from mltbd.state.locks import Lock
from mltbd.state.store import Store

Outcome = tuple[Any, ...]
Finish = Callable[[Outcome], None]

READS = frozenset({"state_get", "state_list", "lock_show", "lock_list"})
COMMANDS = frozenset({"state_set", "state_delete", "lock_acquire", "lock_extend", "lock_release"})
METHODS = READS | COMMANDS | {"state_watch"}
WAITING_MAX = 8192
"""Requests that may wait here, of all kinds."""
LINE_S = 0.004
"""How long an acquire that would stand in line waits for something to go along with, above all the release of its lock:
a batch of its own would only hold that up."""


@dataclass(slots=True)
class Waiter:
    """A request that waits for a lock: in the queue of the state under `lock_id`."""

    name: str
    lock_id: str
    done: Done
    timer: asyncio.TimerHandle


class StoreControl:
    """Every request is answered exactly once."""

    def __init__(self, tell: Callable[[Route, tuple[bytes, ...]], object]) -> None:
        """`tell`: send outcomes of bundles by this route."""
        self._driver: Driver | None = None
        self._client = ""
        self._numbers = 0
        self._commands: list[Packed] = []
        self._turn: asyncio.Handle | None = None  # what will flush
        self._hurries = False  # whether that may wait for nothing more
        self._finishes: dict[tuple[str, int], list[tuple[Finish, Done]]] = {}
        self._reading: dict[int, list[tuple[Callable[[], None], Done]]] = {}
        self._gathered: list[tuple[Callable[[], None], Done]] = []
        self._waiters: dict[str, list[Waiter]] = {}
        self._watches = Watches()
        self._bundles = Bundles(tell)
        self._waiting = 0
        self._listening = False
        self.offer = views.Offer()

    def attach(self, driver: Driver, first_number: int) -> None:
        """`first_number`: requests of this incarnation count on from here, upwards."""
        self._driver = driver
        self._client = f"{INTERNAL}{driver.node.me}.{driver.node.incarnation}"
        self._numbers = first_number

    @property
    def driver(self) -> Driver:
        if self._driver is None:
            raise RuntimeError("store control before its driver")
        return self._driver

    @property
    def store(self) -> Store:
        return self.driver.node.state.store

    @property
    def waiting(self) -> int:
        """Requests that are not answered yet."""
        return self._waiting + self._watches.waiting + self._bundles.waiting

    # -- in ------------------------------------------------------------------------------------------------------

    def call(self, method: str, params: Params, answer: Done) -> None:
        """One of METHODS. Raises BadStoreRequest."""
        if self.waiting >= WAITING_MAX:
            self._fail(answer, "overloaded", f"{WAITING_MAX} requests wait here already")
            return
        why = self.offer.why_off(method.partition("_")[0])
        if why:
            self._fail(answer, "off", why)
        elif method in COMMANDS:
            self._command(method, params, answer)
        elif method == "state_watch":
            self._watches.watch(params, self.store, answer)
            self._listen()
        else:
            self._read(method, params, answer)

    def bundle(self, bundle: Bundle, allowed: bool, route: Route) -> None:
        """Packed commands and reads of one client connection."""
        taken = self._bundles.take(bundle, allowed, WAITING_MAX - self.waiting, route, self.offer)
        self._commands += taken.commands
        for command, name, wait_s, answer in taken.acquires:
            lock = self.store.locks.get(name)
            in_line = lock is not None and lock.held and wait_s > LINE_S
            finish = partial(self._acquired, name, wait_s, boottime(), answer)
            self._submit(command, finish, answer, hurries=not in_line)
        for key, tell, answer in taken.reads:
            self._waiting += 1
            self._gathered.append((partial(self._tell_entry, key, tell), answer))
        if taken.commands or taken.reads:
            self._soon()

    def _command(self, method: str, params: Params, answer: Done) -> None:
        command = views.command(method, params, self.offer)
        finish: Finish
        if method == "lock_acquire":
            wait_s = views.seconds(params, "wait", *LOCK_WAIT_S, 0.0)
            finish = partial(self._acquired, params["name"], wait_s, boottime(), answer)
        else:
            finish = partial(_FINISHES[method], params, answer)
        self._submit(command, finish, answer)

    def _submit(self, command: Packed, finish: Finish, answer: Done, *, hurries: bool = True) -> None:
        self._waiting += 1
        waiting = self._finishes.get(command.key)
        if waiting is None:
            self._finishes[command.key] = [(finish, answer)]
        else:
            waiting.append((finish, answer))
        self._commands.append(command)
        self._soon(hurries=hurries)

    def _soon(self, *, hurries: bool = True) -> None:
        """What else is at the door in this turn goes along: one event for all of it."""
        if self._turn is not None:
            if self._hurries or not hurries:
                return
            self._turn.cancel()
        loop, self._hurries = asyncio.get_running_loop(), hurries
        self._turn = loop.call_soon(self._flush) if hurries else loop.call_later(LINE_S, self._flush)

    def turn_over(self) -> None:
        """All that was at the door has come in: what is to leave in its turn need not wait for the next one."""
        if self._turn is not None and self._hurries:
            self._turn.cancel()
            self._flush()

    def _flush(self) -> None:
        self._turn = None
        commands, self._commands = self._commands, []
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._numbers += 1
            self._reading[self._numbers] = gathered
        number = self._numbers
        if commands:
            self.driver.handle(Submit(tuple(commands)))
        if gathered:
            self.driver.handle(ReadState(number))

    # -- out -----------------------------------------------------------------------------------------------------

    def outcomes(self, effect: Outcomes) -> None:
        """Commands were applied here, ours among them or not."""
        if self._finishes:
            for client, seq, outcome in effect.done:
                for finish, answer in self._finishes.pop((client, seq), ()):
                    self._waiting -= 1
                    if outcome[0] == "error":
                        self._fail(answer, outcome[1], outcome[2])
                    else:  # It may be that of another command, which this client gave the same number.
                        shielded(answer, finish)(outcome)
        if self._bundles.waiting:
            self._bundles.outcomes(effect.done)
        if self._waiters:
            self._look_at_locks()
        self._bundles.flush()
        self._watches.look(self.store)
        self._listen()

    def refusals(self, effect: Refusals) -> None:
        """Commands of ours that have no outcome here."""
        self._bundles.refusals(effect.keys, effect.code, effect.message)
        for key in effect.keys:
            for _, answer in self._finishes.pop(key, ()):
                self._waiting -= 1
                self._fail(answer, effect.code, effect.message)
        self._bundles.flush()

    def reply(self, reply: Reply) -> bool:
        """The word on a ReadState; False when it is about something else."""
        reading = self._reading.pop(reply.request, None)
        if reading is None:
            return False
        for read, answer in reading:
            self._waiting -= 1
            if reply.code:
                self._fail(answer, reply.code, reply.message)
            else:
                shielded(answer, read)()
        self._bundles.flush()
        return True

    def _fail(self, answer: Done, code: str, message: str) -> None:
        answer(False, {"code": code, "message": message, "hint": HINTS.get(code, "mltbctl status")})

    def _listen(self) -> None:
        """Say whether somebody here waits for what others do: the leader then hurries to tell us."""
        wanted = bool(self._waiters) or self._watches.waiting > 0
        if wanted != self._listening:
            self._listening = wanted
            asyncio.get_running_loop().call_soon(self.driver.handle, Listen(wanted))

    # -- locks that are waited for -------------------------------------------------------------------------------

    def _acquired(self, name: str, wait_s: float, asked_at: float, answer: Done, outcome: Outcome) -> None:
        word = outcome[0]
        if word == "held":
            answer(True, {"acquired": False, "holder": outcome[1] or None})
            return
        lock_id = outcome[1]
        lock = self.store.locks.get(name)
        if lock is not None and lock.held and lock.lock_id == lock_id:
            answer(True, views.acquired_view(lock, self.offer))
        elif lock is not None and lock_id in lock.waiters:
            left_s = max(0.0, asked_at + wait_s - boottime())
            timer = asyncio.get_running_loop().call_later(left_s, self._give_up, name, lock_id)
            self._waiting += 1
            self._waiters.setdefault(name, []).append(Waiter(name, lock_id, answer, timer))
        else:
            answer(True, _not_acquired(lock))  # A repeat that comes after all is over.

    def _look_at_locks(self) -> None:
        for name in list(self._waiters):
            lock = self.store.locks.get(name)
            for waiter in list(self._waiters[name]):
                if lock is not None and lock.held and lock.lock_id == waiter.lock_id:
                    self._end(waiter, views.acquired_view(lock, self.offer))
                elif lock is None or waiter.lock_id not in lock.waiters:
                    self._end(waiter, _not_acquired(lock))

    def _end(self, waiter: Waiter, body: dict[str, Any]) -> None:
        self._forget(waiter)
        waiter.done(True, body)

    def _forget(self, waiter: Waiter) -> None:
        waiter.timer.cancel()
        self._waiting -= 1
        others = self._waiters[waiter.name]
        others.remove(waiter)
        if not others:
            del self._waiters[waiter.name]

    def _give_up(self, name: str, lock_id: str) -> None:
        """The wait is over. Only the log says whether the lock came first."""
        for waiter in [waiter for waiter in self._waiters.get(name, ()) if waiter.lock_id == lock_id]:
            self._forget(waiter)
            self._numbers += 1
            withdraw = packed(self._client, self._numbers, WITHDRAW, name, lock_id)
            self._submit(withdraw, partial(self._withdrawn, name, lock_id, waiter.done), partial(_in_line, waiter.done))

    def _withdrawn(self, name: str, lock_id: str, answer: Done, outcome: Outcome) -> None:
        lock = self.store.locks.get(name)
        if outcome[0] == "held" and lock is not None and lock.lock_id == lock_id:
            answer(True, views.acquired_view(lock, self.offer))
        else:
            answer(True, _not_acquired(lock))

    # -- reads ---------------------------------------------------------------------------------------------------

    def _read(self, method: str, params: Params, answer: Done) -> None:
        stale = views.flag(params, "stale")
        read = partial(self._answer_read, self._reader(method, params), answer, stale)
        if stale and age(self.driver.node, boottime()) is None:
            self._fail(answer, "unavailable", "this node knows nothing yet: it has started, and heard no leader")
            return
        if stale:
            read()
            return
        self._waiting += 1
        self._gathered.append((read, answer))
        self._soon()

    def _answer_read(self, view: Callable[[], dict[str, Any]], answer: Done, stale: bool) -> None:
        body = view()
        if stale:
            body["age_seconds"] = age(self.driver.node, boottime())
        answer(True, body)

    def _reader(self, method: str, params: Params) -> Callable[[], dict[str, Any]]:
        """What to read once it is time; the parameters are judged now."""
        match method:
            case "state_get":
                return partial(self._get, views.name(params, "key"))
            case "state_list":
                limit = views.number(params, "limit", 1, views.LIMIT_MAX, views.LIMIT_MAX)
                return partial(self._list, views.prefix(params), views.prefix(params, "after"), limit)
            case "lock_show":
                return partial(self._show, views.name(params, "name"))
        limit = views.number(params, "limit", 1, views.LIMIT_MAX, views.LIMIT_MAX)
        return partial(self._locks, views.prefix(params), views.prefix(params, "after"), limit)

    def _get(self, key: str) -> dict[str, Any]:
        entry = self.store.keyvalues.get(key)
        return {"entry": None if entry is None else views.entry_view(entry), "revision": self.store.revision}

    def _tell_entry(self, key: str, tell: Finish) -> None:
        entry, revision = self.store.keyvalues.get(key), self.store.revision
        tell(("none", revision) if entry is None else ("entry", revision, entry.value, entry.version, entry.revision))

    def _list(self, prefix: str, after: str, limit: int) -> dict[str, Any]:
        entries, more = self.store.keyvalues.listing(prefix, after, limit)
        shown, cut = views.fitting(map(views.entry_view, entries))
        return {"entries": shown, "revision": self.store.revision, "more": more or cut}

    def _show(self, name: str) -> dict[str, Any]:
        lock = self.store.locks.get(name)
        return {"lock": None if lock is None else self._lock_view(lock, views.ANSWER_CHARS_MAX)}

    def _locks(self, prefix: str, after: str, limit: int) -> dict[str, Any]:
        locks = [lock for lock in self.store.locks.named(prefix, after) if lock.held]
        shown, cut = views.fitting(self._lock_view(lock, views.IN_LINE_CHARS_MAX) for lock in locks[:limit])
        return {"locks": shown, "more": cut or len(locks) > limit}

    def _lock_view(self, lock: Lock, chars_max: int) -> dict[str, Any]:
        return views.lock_view(lock, self.driver.node.desk.expiry.remaining_s(lock, boottime()), chars_max)


def _not_acquired(lock: Lock | None) -> dict[str, Any]:
    return {"acquired": False, "holder": lock.holder or None if lock is not None else None}


def _in_line(answer: Done, ok: bool, body: dict[str, Any]) -> None:
    """Whatever became of the withdrawal: who waits may get the lock yet, and must not hear that nothing was done."""
    code = "unknown_outcome"
    answer(ok, {**body, "code": code, "message": f"the wait is over, and {body['message']}", "hint": HINTS[code]})


def _set(params: Params, answer: Done, outcome: Outcome) -> None:
    if outcome[0] == "ok":
        answer(True, {"key": params["key"], "version": outcome[1], "revision": outcome[2]})
    else:
        answer(True, views.conflict_view(params["key"], outcome))


def _delete(params: Params, answer: Done, outcome: Outcome) -> None:
    if outcome[0] == "ok":
        answer(True, {"deleted": bool(outcome[1]), "revision": outcome[2]})
    else:
        answer(True, views.conflict_view(params["key"], outcome))


def _extend(params: Params, answer: Done, outcome: Outcome) -> None:
    del params
    if outcome[0] == "ok":
        answer(True, {"extended": True, "token": outcome[1], "ttl_seconds": outcome[2] / 1000})
    else:
        answer(True, {"extended": False, "token": None, "ttl_seconds": None})


def _release(params: Params, answer: Done, outcome: Outcome) -> None:
    del params
    answer(True, {"released": outcome[0] == "ok"})


_FINISHES: dict[str, Callable[[Params, Done, Outcome], None]] = {
    "state_set": _set,
    "state_delete": _delete,
    "lock_extend": _extend,
    "lock_release": _release,
}
