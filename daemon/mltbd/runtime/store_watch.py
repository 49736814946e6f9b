"""Requests that wait for the next change of a key: answered by any node, from what it has applied."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from mltbd.runtime import store_params as views
from mltbd.runtime.shield import Done
from mltbd.runtime.store_params import Params
from mltbd.state.store import Store

WATCH_MAX_S = 30.0
CHANGES_MAX = 500
"""In one answer; the rest follows at once when it is asked for."""


@dataclass(slots=True)
class Watcher:
    """A request that waits for a change behind `after`; there is none up to there, so that moves on with each look."""

    prefix: str
    after: int
    done: Done
    timer: asyncio.TimerHandle | None = None


class Watches:
    """Every watch is answered once: by a change, or when its time is over."""

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []
        self._seen = 0

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._watchers)

    def watch(self, params: Params, store: Store, answer: Done) -> None:
        """A new request. Raises BadStoreRequest."""
        prefix = views.prefix(params)
        after = views.number(params, "after", -1, views.SEQ_MAX, -1)
        wait_s = views.seconds(params, "wait", 0.0, WATCH_MAX_S, 0.0)
        after = store.revision if after < 0 else after
        found = changes_after(store, prefix, after)
        if found is not None or not wait_s:
            answer(True, found or _nothing(max(after, store.revision)))
            return
        watcher = Watcher(prefix, max(after, store.revision), answer)
        watcher.timer = asyncio.get_running_loop().call_later(wait_s, self._over, watcher)
        self._watchers.append(watcher)

    def look(self, store: Store) -> None:
        """Something was applied."""
        if not self._watchers or store.revision == self._seen:
            return
        self._seen = store.revision
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            found = changes_after(store, watcher.prefix, watcher.after)
            if found is None:
                watcher.after = max(watcher.after, store.revision)
                self._watchers.append(watcher)
                continue
            if watcher.timer is not None:
                watcher.timer.cancel()
            watcher.done(True, found)

    def _over(self, watcher: Watcher) -> None:
        """Its time has come: nothing has changed."""
        self._watchers = [other for other in self._watchers if other is not watcher]
        watcher.done(True, _nothing(watcher.after))


def changes_after(store: Store, prefix: str, after: int) -> dict[str, Any] | None:
    """The answer about changes behind a revision; None while there is none."""
    if after < store.keyvalues.compacted:
        return {"changes": [], "revision": store.revision, "compacted": True}
    if after >= store.revision:
        return None
    changes, _ = views.fitting(map(views.change_view, store.keyvalues.changes(prefix, after, CHANGES_MAX)))
    return {"changes": changes, "revision": changes[-1]["revision"], "compacted": False} if changes else None


def _nothing(revision: int) -> dict[str, Any]:
    return {"changes": [], "revision": revision, "compacted": False}
