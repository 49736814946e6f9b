"""Replicated key-values: a version per key, a revision of all, and the last changes for whoever watches."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from typing import Any, NamedTuple

KEYS_MAX = 100_000
BYTES_MAX = 32 * 1024 * 1024
"""Of all keys and values together: half of what a snapshot may hold."""
CHANGES_MAX = 10_000
CHANGES_BYTES_MAX = 4 * 1024 * 1024
LAST = "\U0010ffff"
"""Sorts behind every character of a key."""


class KeyValue(NamedTuple):
    """One key. `version` counts its changes from 1 since it was created, `revision` is the last one of them."""

    key: str
    value: str
    version: int
    revision: int


class Change(NamedTuple):
    """What happened to a key at a revision; no value: it was deleted."""

    revision: int
    key: str
    value: str | None
    version: int


class KeyValues:
    """`set` and `delete` are called while applying the log, each with a revision above all before it."""

    def __init__(self) -> None:
        self._by_key: dict[str, KeyValue] = {}
        self._sorted: list[str] = []
        self._bytes = 0
        self._changes: deque[Change] = deque()
        self._changes_bytes = 0
        self.compacted = 0
        """Changes up to this revision are remembered no more."""

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: str) -> KeyValue | None:
        """The key as it is now; None where there is none."""
        return self._by_key.get(key)

    def full(self, key: str, value: str) -> str:
        """Why this value has no room here; empty when it has."""
        before = self._by_key.get(key)
        if before is None and len(self._by_key) >= KEYS_MAX:
            return f"there are {KEYS_MAX} keys already"
        grows = _size(value) - _size(before.value) if before is not None else len(key) + _size(value)
        if self._bytes + grows > BYTES_MAX:
            return f"keys and values together take {BYTES_MAX // 2**20} MiB already"
        return ""

    def set(self, key: str, value: str, revision: int) -> KeyValue:
        """Give the key this value. `full` has been asked before."""
        before = self._by_key.get(key)
        if before is None:
            insort(self._sorted, key)
            self._bytes += len(key) + _size(value)
            after = KeyValue(key, value, 1, revision)
        else:
            self._bytes += _size(value) - _size(before.value)
            after = KeyValue(key, value, before.version + 1, revision)
        self._by_key[key] = after
        self._remember(Change(revision, key, value, after.version))
        return after

    def delete(self, key: str, revision: int) -> None:
        """Take out a key that is there."""
        before = self._by_key.pop(key)
        del self._sorted[bisect_left(self._sorted, key)]
        self._bytes -= len(key) + _size(before.value)
        self._remember(Change(revision, key, None, 0))

    def _remember(self, change: Change) -> None:
        self._changes.append(change)
        self._changes_bytes += _weight(change)
        while len(self._changes) > CHANGES_MAX or self._changes_bytes > CHANGES_BYTES_MAX:
            gone = self._changes.popleft()
            self._changes_bytes -= _weight(gone)
            self.compacted = gone.revision

    def listing(self, prefix: str, after: str, limit: int) -> tuple[list[KeyValue], bool]:
        """Keys with this prefix behind `after`, in order, at most `limit`; and whether there are more."""
        first = max(bisect_left(self._sorted, prefix), bisect_right(self._sorted, after) if after else 0)
        end = bisect_left(self._sorted, prefix + LAST, lo=first) if prefix else len(self._sorted)
        keys = self._sorted[first : min(end, first + limit)]
        return [self._by_key[key] for key in keys], first + limit < end

    def changes(self, prefix: str, after: int, limit: int) -> list[Change]:
        """Changes of keys with this prefix behind a revision, the oldest first. Complete from `compacted` on."""
        found: list[Change] = []
        for change in reversed(self._changes):
            if change.revision <= after:
                break
            if change.key.startswith(prefix):
                found.append(change)
        found.reverse()
        return found[:limit]

    def dump(self) -> list[Any]:
        """All of it, as plain lists."""
        kept = [list(self._by_key[key]) for key in self._sorted]
        return [kept, [list(change) for change in self._changes], self.compacted]

    @classmethod
    def load(cls, dumped: list[Any]) -> KeyValues:
        """The inverse of `dump`."""
        kept, changes, compacted = dumped
        loaded = cls()
        for fields in kept:
            entry = KeyValue(*fields)
            loaded._by_key[entry.key] = entry
            loaded._sorted.append(entry.key)
            loaded._bytes += len(entry.key) + _size(entry.value)
        loaded._changes.extend(Change(*fields) for fields in changes)
        loaded._changes_bytes = sum(map(_weight, loaded._changes))
        loaded.compacted = compacted
        return loaded

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyValues) and self.dump() == other.dump()


def _weight(change: Change) -> int:
    return len(change.key) + _size(change.value or "")


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
