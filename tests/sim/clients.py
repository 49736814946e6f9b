"""Clients of locks and state in a simulated cluster: they write, read, compare, lock, repeat, and write down what
they were told. Requests come late, twice, by another node; answers get lost. The record is what a judge needs."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from math import inf
from typing import Any

from mltb_transport.store import ACQUIRE, DELETE, EXTEND, RELEASE, SET, WITHDRAW, Packed, packed
from mltbd.core.effects import Effect, Outcomes, Refusals, Reply
from mltbd.core.events import ReadState, Submit
from tests.histories.linear import Op
from tests.sim.cluster import Cluster
from tests.sim.machine import Machine

READS_FROM = 1 << 40
"""Numbers of reads, so that they are not taken for an operator's."""
TRAVEL_S = (0.0002, 0.004)
ATTEMPT_S = (0.6, 2.5)
ATTEMPTS_MAX = 6
REPEAT_SHARE = 0.08
"""Requests that arrive a second time, later, at any node."""
LOST_SHARE = 0.04
WAIT_LOOK_S = 0.5
ROAMS_SHARE = 0.6
"""Of calls: begun at any node, whichever answered the last one."""
PAUSE_S = (0.0, 0.5)
WITHDRAWS = "~"
"""Before the name of a client, as daemons do it: whoever waits longer than it wants to has a number of its own."""
KEYS = ("a", "b")
LOCKS = ("l", "m")
TTL_S = (0.4, 1.0, 3.0)


@dataclass(slots=True)
class Call:
    """What a client does now, until it is answered or given up."""

    kind: str
    where: str  # the key or the lock
    args: tuple[Any, ...]
    called: float
    commands: tuple[Packed, ...] = ()
    attempts: int = 0
    read: int = 0
    waits_for: str = ""
    withdraw: Packed | None = None


@dataclass(slots=True)
class Held:
    """A lock as its holder knows it."""

    name: str
    tag: str  # the holder's own name for it: in the record even where no answer came
    lock_id: str
    token: int
    ttl_s: float


@dataclass(slots=True)
class Record:
    """What happened, by key and by lock; guarded writes of a lock as (version, token).

    `forgotten`: clients the state should have known.
    """

    keys: dict[str, list[Op]] = field(default_factory=dict)
    locks: dict[str, list[Op]] = field(default_factory=dict)
    guarded: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)


class Client:
    """One command at a time; the next one only after an answer, or after giving up."""

    def __init__(self, name: str, crowd: Crowd) -> None:
        self.name = self._first_name = name
        self._lives = 1
        self.crowd = crowd
        self.dice = random.Random(crowd.cluster.dice.getrandbits(48))
        self.seq = 0
        self.call: Call | None = None
        self.machine = self._any()
        self.held: Held | None = None
        self.versions: dict[str, int] = {}
        self._numbers = 0

    def _any(self) -> Machine:
        return self.dice.choice(list(self.crowd.cluster.machines.values()))

    def _later(self, seconds: float, what: Any, *args: Any) -> None:
        self.crowd.cluster.at(self.crowd.cluster.now + seconds, what, *args)

    # -- what to do ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        if self.crowd.over or self.call is not None:
            return
        draw = self.dice.random()
        if self.held is not None and draw < 0.5:
            self._with_lock(self.held)
        elif draw < 0.25 and self.held is None:
            self._acquire()
        else:
            self._with_key(self.dice.choice(KEYS))
        self._attempt()

    def _command(self, kind: int, *args: str | int) -> Packed:
        self.seq += 1
        return packed(self.name, self.seq, kind, *args)

    def _with_key(self, key: str) -> None:
        now, draw = self.crowd.cluster.now, self.dice.random()
        value, seen = f"{self.name}.{self.seq}", self.versions.get(key, 0)
        if draw < 0.45:
            self._numbers += 1
            self.call = Call("get", key, (), now)
        elif draw < 0.75:
            self.call = Call("set", key, (value, None), now, (self._command(SET, key, value, -1, "", 0),))
        elif draw < 0.92:
            self.call = Call("set", key, (value, seen), now, (self._command(SET, key, value, seen, "", 0),))
        else:
            self.call = Call("delete", key, (seen,), now, (self._command(DELETE, key, seen, "", 0),))

    def _acquire(self) -> None:
        name, ttl_s = self.dice.choice(LOCKS), self.dice.choice(TTL_S)
        wait_s = self.dice.choice((0.0, 0.5, 3.0))
        command = self._command(ACQUIRE, name, int(ttl_s * 1000), int(wait_s * 1000), 0, self.name)
        self.call = Call("acquire", name, (f"{self.name}/{self.seq}", ttl_s), self.crowd.cluster.now, (command,))

    def _with_lock(self, held: Held) -> None:
        now, draw = self.crowd.cluster.now, self.dice.random()
        if draw < 0.35:
            command = self._command(EXTEND, held.name, held.lock_id, 0)
            self.call = Call("extend", held.name, (held.tag, held.ttl_s), now, (command,))
        elif draw < 0.65:
            command = self._command(SET, f"guarded/{held.name}", f"{held.token}", -1, held.name, held.token)
            self.call = Call("guarded", held.name, (held.token,), now, (command,))
        else:
            self.held = None
            if self.dice.random() < 0.4:
                self._with_key(KEYS[0])  # Forgets it: it shall run out.
                return
            command = self._command(RELEASE, held.name, held.lock_id)
            self.call = Call("release", held.name, (held.tag,), now, (command,))

    # -- asking --------------------------------------------------------------------------------------------------

    def _attempt(self) -> None:
        call = self.call
        if call is None:
            return
        if call.attempts >= ATTEMPTS_MAX:
            self._end(None)
            return
        call.attempts += 1
        if call.attempts == 1 and self.dice.random() < ROAMS_SHARE:
            self.machine = self._any()
        travel_s = self.dice.uniform(*TRAVEL_S)
        if call.kind == "get":
            self.crowd.reads += 1  # A number of its own for each attempt.
            call.read = READS_FROM + self.crowd.reads
            self.crowd.reading[call.read] = self
            self._later(travel_s, self.machine.feed, ReadState(call.read))
        else:
            self._later(travel_s, self.machine.feed, Submit(call.commands))
            if self.dice.random() < REPEAT_SHARE:
                self._later(self.dice.uniform(0, 4.0), self._any().feed, Submit(call.commands))
        self._later(self.dice.uniform(*ATTEMPT_S), self._again, call, call.attempts)

    def _again(self, call: Call, attempts: int) -> None:
        """No answer, or one that another node may better: as the SDK does, the next attempt goes elsewhere."""
        if self.call is call and call.attempts == attempts and not call.waits_for:
            others = [machine for machine in self.crowd.cluster.machines.values() if machine is not self.machine]
            self.machine = self.dice.choice([machine for machine in others if machine.on] or others or [self.machine])
            self._attempt()

    def _waits_on(self, call: Call) -> None:
        """Where no leader is known nobody can say what becomes of a wait: it is asked for elsewhere, as it was."""
        if self.call is not call or not call.waits_for:
            return
        node = self.machine.node
        if node is not None and node.consensus.leader:
            self._later(WAIT_LOOK_S, self._waits_on, call)
        else:
            call.waits_for = ""
            self._again(call, call.attempts)

    # -- answers -------------------------------------------------------------------------------------------------

    def _lost(self) -> bool:
        return self.dice.random() < LOST_SHARE

    def outcome(self, machine: Machine, outcome: tuple[Any, ...]) -> None:
        call = self.call
        if call is None or machine is not self.machine or self._lost():
            return
        word = outcome[0]
        if word == "error" and outcome[1] == "forgotten":
            self.crowd.record.forgotten.append(f"{self.name}: {outcome[2]}")
        if word == "error":
            self._end(None if call.kind != "guarded" else ("refused",))
        elif word == "waits":
            call.waits_for = outcome[1]
            self._later(WAIT_LOOK_S, self._waits_on, call)
            self._later(self.dice.uniform(0.1, 4.0), self._withdraw, call)
            self.look(machine)
        elif call.kind == "set":
            self._end(("ok", outcome[1]) if word == "ok" else ("conflict", _version(outcome)))
        elif call.kind == "delete":
            self._end(("ok", call.args[-1]) if word == "ok" else ("conflict", _version(outcome)))
        elif call.kind == "guarded":
            self._end(("ok", outcome[1]))
        elif call.kind == "acquire":
            self._end(("ok", outcome[2]) if word == "ok" else ("held",), outcome[1])
        else:
            self._end(word == "ok")

    def look(self, machine: Machine) -> None:
        """Something was applied where we wait for a lock."""
        call = self.call
        if call is None or not call.waits_for or machine is not self.machine or machine.node is None:
            return
        lock = machine.node.state.store.locks.get(call.where)
        if lock is not None and lock.held and lock.lock_id == call.waits_for:
            self._end(("ok", lock.token), lock.lock_id)
        elif lock is None or call.waits_for not in lock.waiters:
            self._end(None)  # It may have been promoted, and have run out, before we heard of either.

    def withdrawn(self, machine: Machine, command: tuple[str, int], outcome: tuple[Any, ...]) -> None:
        """Only the log says whether the lock came first."""
        call = self.call
        waits = call is not None and call.withdraw is not None and call.withdraw.key == command
        if waits and machine is self.machine and outcome[0] == "ok":
            self._end(("held",))

    def _withdraw(self, call: Call) -> None:
        """Waits no longer. Without an answer nobody knows, and the leader takes us out some time."""
        if self.call is call and call.waits_for and call.withdraw is None:
            self._numbers += 1
            call.withdraw = packed(f"{WITHDRAWS}{self.name}", self._numbers, WITHDRAW, call.where, call.waits_for)
            self._later(self.dice.uniform(*TRAVEL_S), self.machine.feed, Submit((call.withdraw,)))
            self._later(5.0, self._tired, call)

    def _tired(self, call: Call) -> None:
        if self.call is call:
            self._end(None)

    def awaits(self, seq: int) -> bool:
        """Whether this is the number of a command that has had no outcome yet."""
        return self.call is not None and self.call.kind != "get" and self.seq == seq and not self.call.waits_for

    def refused(self, machine: Machine) -> None:
        """For whatever reason: the same number is tried elsewhere."""
        call = self.call
        if call is None or machine is not self.machine:
            return
        self._later(self.dice.uniform(0.05, 0.3), self._again, call, call.attempts)

    def read(self, machine: Machine, reply: Reply) -> None:
        call = self.call
        if call is None or call.read != reply.request or machine.node is None or self._lost():
            return
        if reply.code:
            self._later(self.dice.uniform(0.05, 0.3), self._again, call, call.attempts)
            return
        entry = machine.node.state.store.keyvalues.get(call.where)
        self._end((entry.value, entry.version) if entry is not None else (None, 0))

    def _begin_anew(self) -> None:
        """It never introduced itself, as far as it knows: under its old name it would be a stranger."""
        self._lives += 1
        del self.crowd.clients[self.name]
        self.name, self.seq = f"{self._first_name}.{self._lives}", 0
        self.crowd.clients[self.name] = self

    def _end(self, result: Any, lock_id: str = "") -> None:
        call, self.call = self.call, None
        if call is None:
            return
        if self.seq == 1 and result is None:
            self._begin_anew()
        crowd, now = self.crowd, self.crowd.cluster.now
        travel_s = self.dice.uniform(*TRAVEL_S)
        returned = inf if result is None else now + travel_s
        word = result[0] if isinstance(result, tuple) and call.kind != "get" else result is not None
        crowd.record.seen[f"{call.kind} {word}"] += 1
        if result is not None:
            crowd.record.answered_at.append(now)
        op = Op(self._first_name, call.kind, call.args, call.called, returned, result)
        if call.kind in ("get", "set", "delete"):
            crowd.record.keys.setdefault(call.where, []).append(op)
            if result is not None:
                self.versions[call.where] = result[1] if call.kind != "delete" or result[0] != "ok" else 0
        elif call.kind == "guarded":
            if result is not None and result[0] == "ok":
                crowd.record.guarded.setdefault(call.where, []).append((result[1], call.args[0]))
        else:
            crowd.record.locks.setdefault(call.where, []).append(op)
            if call.kind == "acquire" and result is not None and result[0] == "ok":
                self.held = Held(call.where, call.args[0], lock_id, result[1], call.args[1])
        self._later(travel_s + self.dice.uniform(*PAUSE_S), self.begin)


class Crowd:
    """All clients of a cluster. `close` ends the record: what is still asked has no answer."""

    def __init__(self, cluster: Cluster, count: int = 4) -> None:
        self.cluster = cluster
        self.record = Record()
        self.over = False
        self.reads = 0
        self.reading: dict[int, Client] = {}
        self.clients = {f"c{number}": Client(f"c{number}", self) for number in range(1, count + 1)}
        for machine in cluster.machines.values():
            machine.on_store = self._effect

    def begin(self, from_s: float) -> None:
        for client in self.clients.values():
            self.cluster.at(self.cluster.now + from_s, client.begin)

    def close(self) -> None:
        self.over = True
        for client in list(self.clients.values()):
            client._end(None)

    def _effect(self, machine: Machine, effect: Effect) -> None:
        match effect:
            case Outcomes(done):
                for name, seq, outcome in done:
                    client = self.clients.get(name.removeprefix(WITHDRAWS))
                    if client is not None and name.startswith(WITHDRAWS):
                        client.withdrawn(machine, (name, seq), outcome)
                    elif client is not None and client.awaits(seq):
                        client.outcome(machine, outcome)
                for client in list(self.clients.values()):
                    client.look(machine)
            case Refusals(keys):
                for name, seq in keys:
                    client = self.clients.get(name)
                    if client is not None and client.awaits(seq):
                        client.refused(machine)
            case Reply(request):
                reader = self.reading.pop(request, None)
                if reader is not None:
                    reader.read(machine, effect)
            case _:
                pass


def _version(outcome: tuple[Any, ...]) -> int:
    return int(outcome[2]) if len(outcome) > 1 else 0
