"""Effects of the event being handled, in order; and the messages that must wait for the disk."""

from __future__ import annotations

from collections import deque

from mltb_transport.messages import Entry, Message
from mltbd.core.effects import Effect, Note, Save, Send
from mltbd.core.log import InvariantViolation
from mltbd.core.snapshots import Snapshot

WAITING_MAX = 65536
"""Messages held back for the disk. A disk this far behind has failed in all but name."""


class Outbox:
    """Collects effects. What speaks of durable state leaves only when that state is durable."""

    def __init__(self) -> None:
        self._effects: list[Effect] = []
        self._waiting: deque[tuple[int, Effect]] = deque()
        self.save_number = 0
        self.saved_number = 0
        self._snapshot_number = 0  # the youngest save that brings one

    @property
    def writes_snapshot(self) -> bool:
        """A snapshot is on its way to the disk, and that may take long."""
        return self._snapshot_number > self.saved_number

    def put(self, effect: Effect) -> None:
        self._effects.append(effect)

    def note(self, level: str, text: str) -> None:
        self._effects.append(Note(level, text))

    def send(self, to: str, message: Message) -> None:
        self._effects.append(Send(to, message))

    def send_when_saved(self, to: str, message: Message) -> None:
        """Send once everything saved so far is durable; at once when it is."""
        if self.saved_number >= self.save_number:
            self.send(to, message)
            return
        if len(self._waiting) >= WAITING_MAX:
            raise InvariantViolation(f"{WAITING_MAX} messages wait for a disk that does not answer")
        self._waiting.append((self.save_number, Send(to, message)))

    def save(
        self,
        term: int,
        vote: str,
        entries: tuple[Entry, ...] = (),
        snapshot: Snapshot | None = None,
        base: tuple[int, int] = (0, 0),
    ) -> int:
        """Make this durable; the number of the save. One of term and vote alone that has not left yet goes with it."""
        last = self._effects[-1] if self._effects else None
        if isinstance(last, Save) and not last.entries and last.snapshot is None:
            self._effects.pop()
        self.save_number += 1
        if snapshot is not None:
            self._snapshot_number = self.save_number
        self._effects.append(Save(self.save_number, term, vote, entries, snapshot, base))
        return self.save_number

    def released(self, number: int) -> list[Effect]:
        """What may leave now that everything up to this save is durable."""
        self.saved(number)
        return self.take()

    def saved(self, number: int) -> None:
        self.saved_number = max(self.saved_number, number)
        while self._waiting and self._waiting[0][0] <= self.saved_number:
            self._effects.append(self._waiting.popleft()[1])

    def take(self) -> list[Effect]:
        """What was collected since the last take."""
        taken, self._effects = self._effects, []
        return taken
