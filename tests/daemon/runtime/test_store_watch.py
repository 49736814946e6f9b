"""Watches: who waits looks at each change once, and is told the first that is his."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mltbd.runtime.store_watch import Watches
from tests.daemon.state.store_kit import Story


def test_who_waits_looks_at_each_change_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a thousand changes cost each of a hundred who wait for others a thousand looks at all before."""
    story, looked = Story(), []
    changes = story.store.keyvalues.changes

    def counted(prefix: str, after: int, limit: int) -> Any:
        looked.append(story.store.revision - after)
        return changes(prefix, after, limit)

    async def wait() -> None:
        watches, told = Watches(), []
        watches.watch({"prefix": "quiet/", "after": 0, "wait": 20}, story.store, lambda _, body: told.append(body))
        monkeypatch.setattr(story.store.keyvalues, "changes", counted)
        for _ in range(20):
            story.set("busy")
            watches.look(story.store)
        assert (told, looked) == ([], [1] * 20)
        story.set("quiet/a")
        watches.look(story.store)
        assert [change["key"] for change in told[0]["changes"]] == ["quiet/a"]

    asyncio.run(wait())


def test_a_wait_that_is_over_tells_up_to_where_there_was_nothing() -> None:
    story = Story()

    async def wait() -> None:
        watches = Watches()
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        watches.watch(
            {"prefix": "quiet/", "after": 0, "wait": 0.05}, story.store, lambda _, body: told.set_result(body)
        )
        story.set("busy")
        watches.look(story.store)
        assert await asyncio.wait_for(told, 30) == {"changes": [], "revision": 1, "compacted": False}

    asyncio.run(wait())
