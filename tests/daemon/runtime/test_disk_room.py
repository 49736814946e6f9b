"""The word of the journal's writer reaches the node, also when it was said before there was one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mltbd.core.events import Checked
from mltbd.core.health import JOURNAL, NODE
from mltbd.runtime.disk_room import DiskRoom

FULL = Checked(NODE, JOURNAL, False, "the disk is full, make room in /state")
WELL = Checked(NODE, JOURNAL, ok=True)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [((), (), [WELL]), ((False,), (), [FULL]), ((), (False, True), [WELL, FULL, WELL]), ((False, True), (), [WELL])],
)
def test_what_is_told(before: tuple[bool, ...], after: tuple[bool, ...], told: list[Checked]) -> None:
    heard: list[Checked] = []

    async def tell() -> None:
        room = DiskRoom(asyncio.get_running_loop(), Path("/state"))
        for enough in before:
            await asyncio.to_thread(room.say, enough)
        await asyncio.sleep(0)
        room.attach(heard.append)
        for enough in after:
            await asyncio.to_thread(room.say, enough)
        await asyncio.sleep(0)

    asyncio.run(tell())
    assert heard == told
