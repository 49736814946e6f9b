"""When requests for locks and state leave for the node: in their turn, or with what comes next."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mltb_transport.bus import Route
from mltb_transport.messages import Entry
from mltb_transport.store import ACQUIRE, Batch, Bundle, packed
from mltbd.core.events import ReadState, Submit
from mltbd.runtime import store_control
from mltbd.runtime.driver import Driver
from mltbd.runtime.store_control import StoreControl
from mltbd.state.store import Store

WAIT_S = 30.0
FOR_EVER_S = 1e9


class Desk:
    """A store control whose node answers nothing, and what that node was handed."""

    def __init__(self) -> None:
        self.handed: list[int] = []
        self.came = asyncio.Event()
        self.store = StoreControl(lambda *_: None)
        self.sent = 0
        state = SimpleNamespace(store=Store())
        state.store.apply(Entry(1, 1, 0, Batch((packed("c0", 1, ACQUIRE, "held", 60_000, 0, 0, "").body,))))
        driver = SimpleNamespace(node=SimpleNamespace(me="n1", incarnation=1, state=state), handle=self._handle)
        self.store.attach(cast(Driver, driver), 0)

    def _handle(self, event: Submit | ReadState) -> None:
        self.handed.append(len(event.commands) if isinstance(event, Submit) else 0)
        self.came.set()

    def ask(self, count: int) -> None:
        for _ in range(count):
            self.sent += 1
            params: dict[str, Any] = {"key": "a", "value": "1", "client": f"c{self.sent}", "seq": 1}
            self.store.call("state_set", params, lambda *_: None)

    def acquire(self, name: str, wait_ms: int) -> None:
        self.sent += 1
        body = packed(f"c{self.sent}", 1, ACQUIRE, name, 60_000, wait_ms, 0, "").body
        self.store.bundle(Bundle((body,), ()), True, Route("local", b"somebody"))

    async def turns(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


def test_requests_leave_in_their_turn() -> None:
    async def story() -> None:
        desk = Desk()
        for _ in range(20):
            desk.ask(1)
            await desk.turns()
        assert desk.handed == [1] * 20

    asyncio.run(story())


def test_what_came_in_together_leaves_when_all_of_it_is_in() -> None:
    async def story() -> None:
        desk = Desk()
        desk.store.turn_over()
        desk.ask(3)
        desk.store.turn_over()
        assert desk.handed == [3]
        await desk.turns()
        assert desk.handed == [3], "once"

    asyncio.run(story())


def test_who_has_to_stand_in_line_goes_along_with_what_comes_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_control, "LINE_S", 1.0)

    async def story() -> None:
        desk = Desk()
        desk.acquire("held", 5000)
        desk.store.turn_over()
        desk.acquire("held", 5000)
        await desk.turns()
        assert desk.handed == []
        desk.ask(1)
        desk.store.turn_over()
        assert desk.handed == [3]
        await desk.turns()
        assert desk.handed == [3], "once"

    asyncio.run(story())


def test_but_not_for_long() -> None:
    async def story() -> None:
        desk = Desk()
        desk.acquire("held", 5000)
        await asyncio.wait_for(desk.came.wait(), WAIT_S)
        assert desk.handed == [1]

    asyncio.run(story())


@pytest.mark.parametrize(("name", "wait_ms"), [("free", 5000), ("held", 0)])
def test_who_is_answered_at_once_waits_for_nothing(monkeypatch: pytest.MonkeyPatch, name: str, wait_ms: int) -> None:
    monkeypatch.setattr(store_control, "LINE_S", FOR_EVER_S)

    async def story() -> None:
        desk = Desk()
        desk.acquire(name, wait_ms)
        desk.store.turn_over()
        assert desk.handed == [1]

    asyncio.run(story())
