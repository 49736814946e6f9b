"""The clock of locks: kept by the leader alone, in memory. What it measures, it puts into the log as commands.

Every time is "not before": a new leader begins each of them anew, for it cannot know what the old one had measured.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from mltb_transport.store import EXPIRE, INTERNAL, OPEN, WITHDRAW, Packed, packed
from mltbd.core.commands import Commands
from mltbd.core.consensus import Consensus
from mltbd.core.leadership import Leadership
from mltbd.core.timing import RHO
from mltbd.state.locks import Lock
from mltbd.state.machine import State

AGAIN_S = 0.25
WAIT_SLACK_S = 2.0
"""A waiter is withdrawn by the node that serves it; by the leader only when that node did not."""

PRUNE_MIN = 4096

Timer = tuple[str, str]
"""(what, id): ("hold", lock), ("delay", lock) or ("wait", lock id)."""


@dataclass(slots=True)
class Span:
    """What is measured for a timer: until `due`, for the holder or delay of these numbers."""

    due: float
    name: str
    token: int = 0
    generation: int = 0


class Expiry:
    """`work` is called after every event. Idle on every other node."""

    def __init__(self, incarnation: int, consensus: Consensus, state: State, commands: Commands) -> None:
        self._client = f"{INTERNAL}{consensus.me}.{incarnation}.clock"
        self._consensus = consensus
        self._state = state
        self._commands = commands
        self._reign: Leadership | None = None
        self._spans: dict[Timer, Span] = {}
        self._heap: list[tuple[float, Timer]] = []
        self._next: dict[Timer, float] = {}  # the entry of the heap that counts for this timer; others are stale

    def next_deadline(self) -> float:
        return self._heap[0][0] if self._heap else float("inf")

    def remaining_s(self, lock: Lock, now: float) -> float | None:
        """How long this lock is held if nobody extends it, as this leader measures it; None on every other node."""
        span = self._spans.get(("hold", lock.name))
        return max(0.0, span.due - now) if span is not None and span.generation == lock.generation else None

    def work(self, now: float) -> bool:
        """Notice what changed, and say what is over. True when something was said."""
        state, consensus = self._state, self._consensus
        touched = state.store.locks.touched
        if consensus.reign is not self._reign:
            self._reign = None
            self._spans.clear()
            self._heap.clear()
            self._next.clear()
            reign = consensus.reign
            if reign is not None and state.applied >= reign.first_index:  # What comes later, we see changing.
                self._reign = reign
                touched.update(dict.fromkeys(lock.name for lock in state.store.locks.named()))
        if touched:
            if self._reign is not None:
                for name in touched:
                    self._watch(name, now)
                self._prune()
            touched.clear()
        said = False
        while self._heap and self._heap[0][0] <= now:
            due, timer = heapq.heappop(self._heap)
            if self._next.get(timer) == due:
                said |= self._over(timer, now)
        return said

    def _watch(self, name: str, now: float) -> None:
        lock = self._state.store.locks.get(name)
        if lock is None:
            return
        if lock.held:
            self._begin(("hold", name), lock, lock.ttl_ms / 1000 * (1 + 2 * RHO), now)
        else:
            self._begin(("delay", name), lock, lock.delay_ms / 1000, now)
        for waiter in reversed(lock.waiters.values()):
            timer = ("wait", waiter.lock_id)
            if timer in self._spans:
                break  # Those before it are older.
            self._spans[timer] = Span(now + waiter.wait_ms / 1000 + WAIT_SLACK_S, name)
            self._schedule(timer, self._spans[timer].due)

    def _begin(self, timer: Timer, lock: Lock, seconds: float, now: float) -> None:
        span = self._spans.get(timer)
        if span is None or (span.token, span.generation) != (lock.token, lock.generation):
            self._spans[timer] = Span(now + seconds, lock.name, lock.token, lock.generation)
            self._schedule(timer, now + seconds)

    def _schedule(self, timer: Timer, due: float) -> None:
        """Look again by then. A timer that is put off keeps its early look: extensions cost nothing."""
        if due < self._next.get(timer, float("inf")):
            self._next[timer] = due
            heapq.heappush(self._heap, (due, timer))

    def _over(self, timer: Timer, now: float) -> bool:
        """Say so, if it is over and still true by what we applied; the state judges once more when its turn comes."""
        del self._next[timer]
        span = self._spans[timer]
        command = self._command(timer, span)
        if command is None:
            del self._spans[timer]
            return False
        if span.due > now:
            self._schedule(timer, span.due)
            return False
        said = self._commands.insert(command)
        # Until it has come true: what was said may be lost with a batch.
        self._schedule(timer, now + (self._consensus.timing.election_s if said else AGAIN_S))
        return said

    def _command(self, timer: Timer, span: Span) -> Packed | None:
        what, lock_id = timer
        locks = self._state.store.locks
        term = self._consensus.term
        if what == "hold" and locks.held_since(span.name, span.token, span.generation) is not None:
            return packed(self._client, 0, EXPIRE, span.name, span.token, span.generation, term)
        if what == "delay" and locks.closed_since(span.name, span.generation) is not None:
            return packed(self._client, 0, OPEN, span.name, span.generation, term)
        lock = locks.get(span.name)
        if what == "wait" and lock is not None and lock_id in lock.waiters:
            return packed(self._client, 0, WITHDRAW, span.name, lock_id)
        return None

    def _prune(self) -> None:
        """Forget timers of locks and waiters that are gone, before they take room without end."""
        if len(self._heap) <= PRUNE_MIN + 2 * self._state.store.locks.size:
            return
        self._spans = {timer: span for timer, span in self._spans.items() if self._command(timer, span) is not None}
        self._next = {timer: due for timer, due in self._next.items() if timer in self._spans}
        self._heap = [(due, timer) for timer, due in self._next.items()]
        heapq.heapify(self._heap)
