"""The replicated key-values for Python: State, its typed values, and Watch. Values are what JSON can say."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mltbctl.errors import Compacted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mltbctl.lines import Lines
    from mltbctl.locks import HeldLock

PAGE = 256
"""Entries one answer of a list may hold."""
POLL_S = 5.0
"""How long the daemon holds an answer back while nothing changes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key. `version` counts its writes from 1; `revision` is that of the state at this write or read."""

    key: str
    value: Any
    version: int
    revision: int
    age_seconds: float | None = field(default=None, compare=False)
    """With `stale=True`: how long ago this node last knew itself up to date."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A write that was not made: another version was found. `entry` is None where the key does not exist."""

    entry: Entry | None

    def __bool__(self) -> bool:
        """False, so that `if node.state.compare_and_swap(...):` asks whether it was written."""
        return False


@dataclass(frozen=True, slots=True)
class Change:
    """One write of a key: `kind` is `set` or `delete` (then `value` is None)."""

    key: str
    value: Any
    version: int
    revision: int
    kind: str


def entry_of(data: dict[str, Any], revision: int = 0, age: float | None = None) -> Entry:
    """The entry in an answer; its `value` is JSON text."""
    return Entry(data["key"], json.loads(data["value"]), data["version"], data.get("revision", revision), age)


def encoded(value: Any) -> str:
    """`value` as the state keeps it. ValueError or TypeError for what JSON cannot say."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def guarded(token: HeldLock | tuple[str, int] | None) -> dict[str, Any] | None:
    """The lock a write depends on: one that is held, or its name and token."""
    if token is None:
        return None
    name, number = token if isinstance(token, tuple) else (token.name, token.token)
    return {"lock": name, "token": number}


class State:
    """Key-values that every node holds. A write that returned is on disk at a majority.

    Reads are linearizable: they see every write that returned before they began. `stale=True` reads what this
    node has, without asking any other. `token`: a HeldLock (or its name and token); the write is Refused unless
    that lock still has that token.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def get(self, key: str, *, stale: bool = False) -> Entry | None:
        """The entry of `key`, None where there is none."""
        answer = self._read("state_get", key=key, stale=stale or None)
        if answer["entry"] is None:
            return None
        return entry_of(answer["entry"], answer["revision"], answer.get("age_seconds"))

    def set(self, key: str, value: Any, *, token: HeldLock | tuple[str, int] | None = None) -> Entry:
        """Write `value`, whatever is there."""
        answer = self._change("state_set", key=key, value=encoded(value), token=guarded(token))
        return Entry(key, value, answer["version"], answer["revision"])

    def compare_and_swap(
        self, key: str, expected_version: int, value: Any, *, token: HeldLock | tuple[str, int] | None = None
    ) -> Entry | Conflict:
        """Write `value` if the key has this version; version 0 means that it must not exist."""
        answer = self._change(
            "state_set", key=key, value=encoded(value), if_version=expected_version, token=guarded(token)
        )
        if "conflict" in answer:
            return _conflict(answer)
        return Entry(key, value, answer["version"], answer["revision"])

    def delete(
        self, key: str, *, expected_version: int | None = None, token: HeldLock | tuple[str, int] | None = None
    ) -> bool | Conflict:
        """Remove `key`; False where there was none. Conflict where it has another version."""
        answer = self._change("state_delete", key=key, if_version=expected_version, token=guarded(token))
        return _conflict(answer) if "conflict" in answer else bool(answer["deleted"])

    def list(self, prefix: str = "", *, stale: bool = False, limit: int | None = None) -> list[Entry]:
        """The entries whose keys begin with `prefix`, in the order of their keys.

        A list longer than one answer (256 entries) is put together from several, each true at its own revision.
        """
        found: list[Entry] = []
        after: str | None = None
        while limit is None or len(found) < limit:
            page = PAGE if limit is None else min(PAGE, limit - len(found))
            answer = self._read("state_list", prefix=prefix, stale=stale or None, limit=page, after=after)
            age = answer.get("age_seconds")
            found += [entry_of(entry, answer["revision"], age) for entry in answer["entries"]]
            if not answer["more"] or not answer["entries"]:
                break
            after = found[-1].key
        return found

    def watch(self, prefix: str = "", *, after: int | None = None, idle: float | None = None) -> Watch:
        """The changes of keys that begin with `prefix`, in order, each once: from now on, or after a revision.

        `idle`: end when nothing changed for so many seconds; None never ends. Watch.revision is where to go on
        with `after`, from any node.
        """
        return Watch(self._lines, prefix, after, idle)

    def _read(self, method: str, **params: Any) -> dict[str, Any]:
        return self._lines.settle(method, _given(params), changes=False)

    def _change(self, method: str, **params: Any) -> dict[str, Any]:
        return self._lines.settle(method, _given(params), changes=True)


class Watch:
    """An iterator of Change. `revision` is the last one that was seen, of this prefix or not."""

    def __init__(self, lines: Lines, prefix: str, after: int | None, idle: float | None) -> None:
        self._lines = lines
        self._prefix = prefix
        self._idle_s = idle
        self._waiting: list[Change] = []
        self._closed = False
        # Asked now and not at the first `next`: what is written after this call returned is not missed.
        self.revision = int(self._poll(-1, 0.0)["revision"]) if after is None else after

    def __iter__(self) -> Iterator[Change]:
        return self

    def __next__(self) -> Change:
        """The next change, waited for. Compacted when it is no longer kept; then list and watch anew."""
        began = time.monotonic()
        while not self._waiting and not self._closed:
            left_s = POLL_S if self._idle_s is None else self._idle_s - (time.monotonic() - began)
            if left_s <= 0:
                raise StopIteration
            self._take(self._poll(self.revision, min(POLL_S, left_s)))
        if self._closed:
            raise StopIteration
        change = self._waiting.pop(0)
        self.revision = change.revision
        return change

    def close(self) -> None:
        """End the iteration; a wait under way goes on for some seconds."""
        self._closed = True

    def _poll(self, after: int, wait_s: float) -> dict[str, Any]:
        params = {"prefix": self._prefix, "after": after, "wait": wait_s}
        return self._lines.settle("state_watch", params, changes=False, wait_s=wait_s)

    def _take(self, answer: dict[str, Any]) -> None:
        if answer["compacted"]:
            raise Compacted(
                f"the changes after revision {self.revision} are no longer kept",
                "read with `list`, then watch again from its revision",
            )
        for change in answer["changes"]:
            text = change["value"]
            value = None if text is None else json.loads(text)
            self._waiting.append(Change(change["key"], value, change["version"], change["revision"], change["kind"]))
        if not self._waiting:
            self.revision = max(self.revision, int(answer["revision"]))


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _conflict(answer: dict[str, Any]) -> Conflict:
    found = answer["conflict"]
    return Conflict(None if found is None else entry_of(found, answer.get("revision", 0)))
