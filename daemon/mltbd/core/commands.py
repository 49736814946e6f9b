"""Client commands on their way into the log: gathered into batches by the leader, passed on to it by everybody else.

Whoever serves a client learns the outcome when it applies the command itself; only refusals travel back. What is not
applied in time, or under the leader it was given to, has an unknown outcome: its sender repeats it under its number.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from mltb_transport.level import FIRST, STORE_LEVEL_OF
from mltb_transport.limits import BATCH_BYTES_MAX
from mltb_transport.store import Batch, Forward, Forwarded, Packed, unpacked
from mltbd.core.consensus import Consensus
from mltbd.core.effects import Outcomes, Refusals
from mltbd.core.outbox import Outbox
from mltbd.state.store import Done

Key = tuple[str, int]

PATIENCE_S = 4.0
"""After which an unapplied command has an unknown outcome. Below the 5 s that callers wait by default."""
PENDING_MAX = 4096
"""Commands of our own clients that are on their way."""
QUEUE_MAX = 4096
QUEUE_BYTES_MAX = 4 * 1024 * 1024
"""What a leader holds for the next batches."""
BATCH_COMMANDS_MAX = 512
PIPELINE_MAX = 2
"""Batches on their way to a quorum. While they are, the next ones grow: one write to disk for many commands."""
SMALL_MAX = 8
"""Commands in a batch that does not hold up the next one: the machine is not busy, and a lock changes hands sooner."""
RETURN_S = 0.004
"""How long, after a large batch has landed, the next one waits for those who were in it to ask again."""
FORWARDS_MAX = 1024


class Commands:
    """One for each node. `reign` is whatever names the present leader: it changes, what was given to it is unknown."""

    def __init__(self, consensus: Consensus, out: Outbox, first_number: int) -> None:
        self._consensus = consensus
        self._out = out
        self._pending: OrderedDict[Key, float] = OrderedDict()  # key -> when it is given up
        self._queue: deque[bytes] = deque()
        self._queue_bytes = 0
        self._flying: deque[int] = deque()
        self._last_size = 0  # commands in the youngest batch
        self._wait_until, self._wait_for = float("-inf"), 0  # the next one leaves then, or with so many commands
        self._forwards: OrderedDict[int, tuple[Key, ...]] = OrderedDict()
        # Below zero: reads count upwards. And no word to an earlier incarnation may be taken for one to us.
        self._numbers = -first_number
        self._reign: tuple[str, int] = ("", 0)
        self._rests = False
        self.counters = {"batches": 0, "commands": 0, "forwarded": 0, "overloaded": 0, "unknown": 0}

    def next_deadline(self) -> float:
        given_up_at = next(iter(self._pending.values())) if self._pending else float("inf")
        reign = self._consensus.reign
        if not self._queue or reign is None:
            return given_up_at
        if self._rests:
            return min(given_up_at, reign.rest_until)
        return given_up_at if self._flying else min(given_up_at, self._wait_until)

    @property
    def waits(self) -> bool:
        """Whether commands of our own clients are on their way."""
        return bool(self._pending)

    # -- in ------------------------------------------------------------------------------------------------------

    def submit(self, commands: tuple[Packed, ...], now: float) -> None:
        """Commands of our own clients. Each has exactly one outcome or refusal."""
        self.watch()
        leader = self._consensus.leader
        if not leader:
            self._refuse([c.key for c in commands], "no_quorum", "no leader with a quorum can be reached")
            return
        leads = self._consensus.reign is not None
        room = PENDING_MAX - len(self._pending)
        fresh = [c for c in commands if c.key not in self._pending]  # A repeat learns what the first one will.
        if STORE_LEVEL_OF:
            early = [c.key for c in fresh if not self._known_to_all(c)]
            fresh = [c for c in fresh if c.key not in early]
            self._refuse(early, "unavailable", "not every node of this cluster knows this yet: finish the upgrade")
        if len(fresh) > room:
            self.counters["overloaded"] += len(fresh) - room
            self._refuse([c.key for c in fresh[room:]], "overloaded", f"{PENDING_MAX} commands are on their way")
            fresh = fresh[:room]
        if not fresh:
            return
        keys = tuple(c.key for c in fresh)
        if leads:
            refused = self._take([c.body for c in fresh])
            if refused:
                self._refuse(keys, *refused)
                return
        else:
            self._forward(leader, fresh, keys)
        for key in keys:
            self._pending[key] = now + PATIENCE_S

    def _known_to_all(self, packed: Packed) -> bool:
        """Below the level that brought its kind a command would be passed over by every node."""
        command = unpacked(packed.body)
        return command is None or STORE_LEVEL_OF.get(command.kind, FIRST) <= max(self._consensus.level, FIRST)

    def _forward(self, leader: str, commands: list[Packed], keys: tuple[Key, ...]) -> None:
        self.counters["forwarded"] += len(commands)
        first = 0
        while first < len(commands):
            last, size = first, 0
            while last < len(commands) and last - first < BATCH_COMMANDS_MAX and size <= BATCH_BYTES_MAX:
                size += len(commands[last].body)
                last += 1
            self._numbers -= 1
            self._forwards[self._numbers] = keys[first:last]
            self._out.send(leader, Forward(self._numbers, tuple(c.body for c in commands[first:last])))
            first = last
        while len(self._forwards) > FORWARDS_MAX:
            self._forwards.popitem(last=False)

    def forwarded(self, sender: str, message: Forward) -> None:
        """Another node passes its clients' commands on to us."""
        self.watch()
        refused = self._take(list(message.commands))
        if refused:
            self._out.send(sender, Forwarded(message.number, *refused, 0))

    def refused(self, message: Forwarded) -> None:
        """The leader took none of what we passed on."""
        keys = self._forwards.pop(message.number, ())
        self._refuse([key for key in keys if key in self._pending], message.code, message.message)

    def _take(self, bodies: list[bytes]) -> tuple[str, str] | None:
        """Into the queue of a leader; or why not: nothing of it will take effect."""
        if self._consensus.reign is None:
            return "unavailable", "this node does not lead any more"
        if self._consensus.reign.transfer is not None:
            return "unavailable", "leadership is changing hands"
        size = sum(map(len, bodies))
        if len(self._queue) + len(bodies) > QUEUE_MAX or self._queue_bytes + size > QUEUE_BYTES_MAX:
            self.counters["overloaded"] += len(bodies)
            return "overloaded", "the leader has too many commands to write"
        self._queue.extend(bodies)
        self._queue_bytes += size
        return None

    def insert(self, command: Packed) -> bool:
        """A command of the leader itself. False when it does not lead, or has no room."""
        return self._take([command.body]) is None

    # -- on ------------------------------------------------------------------------------------------------------

    def work(self, now: float, wall: int, applied: int) -> bool:
        """Give up what is late, propose what is due. True when something was proposed."""
        self.watch()
        while self._pending and next(iter(self._pending.values())) <= now:
            key, _ = self._pending.popitem(last=False)
            self._lose([key], "it was not applied in time")
        while self._flying and self._flying[0] <= applied:
            self._flying.popleft()
            if self._last_size > SMALL_MAX and not self._flying:
                # Who waited meanwhile would go alone, and who was in it behind them: two batches for one crowd.
                self._wait_until, self._wait_for = now + RETURN_S, len(self._queue) + self._last_size
        proposed = False
        self._rests = self.rests(now)
        while self._queue and not self._rests and self._may_fly(now):
            batch = self._next_batch()
            index = self._consensus.propose(Batch(batch), now, wall)
            if index is None:
                self._drop_queue()
                self._out_of(batch)
                break
            self._flying.append(index)
            self._last_size = len(batch)
            self.counters["batches"] += 1
            self.counters["commands"] += len(batch)
            proposed = True
        if self._consensus.busy:
            self._consensus.tell_commit(now)
        self._consensus.busy = bool(self._queue) and not self._rests
        return proposed

    def _may_fly(self, now: float) -> bool:
        """Whether the next batch goes now. Behind a small one it does, and when it is full. Else it grows meanwhile:
        each batch costs every node a write and a round of messages."""
        full = len(self._queue) >= BATCH_COMMANDS_MAX or self._queue_bytes >= BATCH_BYTES_MAX
        if not self._flying:
            return full or now >= self._wait_until or len(self._queue) >= self._wait_for
        return len(self._flying) < PIPELINE_MAX and (full or self._last_size <= SMALL_MAX)

    def rests(self, now: float) -> bool:
        """Whether nothing is proposed for a moment, because leadership is to change hands."""
        reign = self._consensus.reign
        return reign is not None and now < reign.rest_until

    def _next_batch(self) -> tuple[bytes, ...]:
        batch: list[bytes] = []
        size = 0
        while self._queue and len(batch) < BATCH_COMMANDS_MAX and size + len(self._queue[0]) <= BATCH_BYTES_MAX:
            body = self._queue.popleft()
            size += len(body)
            batch.append(body)
        self._queue_bytes -= size
        return tuple(batch)

    def applied(self, done: Iterable[Done]) -> None:
        """These commands took effect (or were refused by the state), here as on every node."""
        done = tuple(done)
        if not done:
            return
        if self._pending:
            for client, seq, _ in done:
                self._pending.pop((client, seq), None)
        self._out.put(Outcomes(done))

    # -- out -----------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """With another leader, or none, nobody knows what became of what the old one was given."""
        consensus = self._consensus
        reign = (consensus.leader, consensus.term)
        if reign == self._reign:
            return
        self._reign = reign
        self._drop_queue()
        self._flying.clear()
        self._forwards.clear()
        keys = list(self._pending)
        self._pending.clear()
        self._lose(keys, "the leader changed")

    def _drop_queue(self) -> None:
        """Not in the log yet, so never to be: our own clients are told so, others give it up after their patience."""
        self._out_of(self._queue)
        self._queue.clear()
        self._queue_bytes = 0

    def _out_of(self, bodies: Iterable[bytes]) -> None:
        keys = []
        for body in bodies:
            command = unpacked(body) if self._pending else None
            if command is not None and (command.client, command.seq) in self._pending:
                keys.append((command.client, command.seq))
        self._refuse(keys, "unavailable", "leadership is changing hands")

    def _refuse(self, keys: Iterable[Key], code: str, message: str) -> None:
        keys = tuple(keys)
        for key in keys:
            self._pending.pop(key, None)
        if keys:
            self._out.put(Refusals(keys, code, message))

    def _lose(self, keys: list[Key], why: str) -> None:
        if keys:
            self.counters["unknown"] += len(keys)
            words = f"{why}: the command may or may not have taken effect"
            self._out.put(Refusals(tuple(keys), "unknown_outcome", words))
