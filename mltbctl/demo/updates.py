"""The queue of updates behind getUpdates: ids, offsets that acknowledge, expiry, limits. No I/O, no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

UPDATES_MAX = 10_000
"""Updates one queue holds; a push beyond it is refused, nothing that waits is dropped."""
EXPIRY_S = 24 * 3600.0
"""How long an update waits to be acknowledged."""
LIMIT_MAX = 100
"""Updates in one answer of getUpdates, and its default."""
AHEAD_MAX = 10
"""An offset further than this beyond the newest update is taken for none at all: it acknowledges nothing."""


class QueueFull(Exception):
    """`UPDATES_MAX` updates wait already."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    update_id: int
    body: dict[str, Any]
    expires: float


class UpdateQueue:
    """Updates by id. Delivery repeats until an offset acknowledges. `now` is in monotonic seconds."""

    def __init__(self, first_id: int = 1) -> None:
        self._next_id = first_id
        self._waiting: deque[_Waiting] = deque()
        self.acknowledged = 0
        self.expired = 0

    def push(self, body: dict[str, Any], now: float) -> int:
        """Appends an update and returns its id. QueueFull when there is no room."""
        self._expire(now)
        if len(self._waiting) >= UPDATES_MAX:
            raise QueueFull(f"{UPDATES_MAX} updates wait already")
        update_id = self._next_id
        self._next_id += 1
        self._waiting.append(_Waiting(update_id, body, now + EXPIRY_S))
        return update_id

    def take(self, offset: int, limit: int, now: float) -> list[dict[str, Any]]:
        """What getUpdates answers at once: first acknowledges all below `offset`, then up to `limit` updates.

        A negative offset keeps the last `-offset` updates and forgets those before them.
        """
        self._expire(now)
        if offset < 0:
            self._acknowledge_all_but(min(-offset, len(self._waiting)))
        elif offset <= self._next_id + AHEAD_MAX:
            while self._waiting and self._waiting[0].update_id < offset:
                self._waiting.popleft()
                self.acknowledged += 1
        wanted = min(limit, LIMIT_MAX) if limit > 0 else LIMIT_MAX
        found: list[dict[str, Any]] = []
        for waiting in self._waiting:
            if len(found) == wanted:
                break
            found.append({"update_id": waiting.update_id, **waiting.body})
        return found

    def pending(self, now: float) -> int:
        """Updates not yet acknowledged, delivered or not."""
        self._expire(now)
        return len(self._waiting)

    def clear(self) -> None:
        """Forgets everything that waits, as `drop_pending_updates` asks."""
        self._acknowledge_all_but(0)

    def _acknowledge_all_but(self, kept: int) -> None:
        while len(self._waiting) > kept:
            self._waiting.popleft()
            self.acknowledged += 1

    def _expire(self, now: float) -> None:
        while self._waiting and self._waiting[0].expires <= now:
            self._waiting.popleft()
            self.expired += 1
