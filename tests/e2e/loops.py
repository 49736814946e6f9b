"""AsyncClient for those who wait in threads: many of them call into one event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from mltbctl.async_client import AsyncClient

PATIENCE_S = 120.0


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)

    def __enter__(self) -> Loop:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What it comes to, waited for."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def client(self, *nodes: str, **options: Any) -> Looped:
        """To be called as a Client is."""
        return Looped(self, AsyncClient(*nodes, **options))


class Looped:
    """Key-values and locks of an AsyncClient, with the calls of a Client."""

    def __init__(self, loop: Loop, client: AsyncClient) -> None:
        self._loop = loop
        self._client = client
        self.state: Any = _Calls(loop, client.state)
        self.locks: Any = _Calls(loop, client.locks)

    def __enter__(self) -> Looped:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._client.close())


class _Calls:
    def __init__(self, loop: Loop, calls: object) -> None:
        self._loop = loop
        self._calls = calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._calls, name)
        return lambda *args, **options: self._loop.run(call(*args, **options))
