"""AsyncClient: the calls of Client for a running event loop.

Those of locks and state need no thread: the loop reads their answers itself. The few others have one each.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, TypeVar

from mltbctl import locks
from mltbctl import store_client as steps
from mltbctl.async_lines import AsyncLines, in_thread, one_of
from mltbctl.client import Client
from mltbctl.hub import CALLS_MAX
from mltbctl.lock_keeper import Lock, told
from mltbctl.locks import RESERVE_S_MAX, HeldLock
from mltbctl.permits import Permits
from mltbctl.settings import TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

    from mltbctl.errors import LockLost
    from mltbctl.locks import LockListing
    from mltbctl.store_client import Change, Conflict, Entry, Listing

T = TypeVar("T")
Token = HeldLock | tuple[str, int] | None


class AsyncClient:
    """The same calls as Client, as coroutines. A call that is cancelled may still take effect."""

    def __init__(self, *nodes: str, secret: str | None = None, timeout: float = TIMEOUT_S, config: str = "") -> None:
        self._client = Client(*nodes, secret=secret, timeout=timeout, config=config)
        self._lines = AsyncLines(self._client._lines)
        self._threads = Permits(CALLS_MAX)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up; calls under way end first, and a later call begins anew."""
        await in_thread(self._client.close)
        self._lines.close()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """As Client.endpoints."""
        return self._client.endpoints

    @property
    def connected_to(self) -> str:
        """As Client.connected_to."""
        return self._client.connected_to

    @property
    def state(self) -> AsyncState:
        """The replicated key-values."""
        return AsyncState(self._lines)

    @property
    def locks(self) -> AsyncLocks:
        """Single calls for locks that nobody extends."""
        return AsyncLocks(self._lines)

    def lock(
        self, name: str, ttl: float | None = None, wait: float = 0.0, *, delay: float | None = None, holder: str = ""
    ) -> AsyncLock:
        """As Client.lock, for `async with`."""
        return AsyncLock(self._client.lock(name, ttl, wait, delay=delay, holder=holder), self._lines)

    async def status(self) -> dict[str, Any]:
        """As Client.status; so for each call below."""
        return await self._run(self._client.status)

    async def nodes(self) -> list[dict[str, Any]]:
        return await self._run(self._client.nodes)

    async def ping(self) -> dict[str, Any]:
        return await self._run(self._client.ping)

    async def is_(self, what: str, node: str | None = None) -> bool | None:
        return await self._run(lambda: self._client.is_(what, node))

    async def verdict(self, what: str, node: str | None = None) -> dict[str, Any]:
        return await self._run(lambda: self._client.verdict(what, node))

    async def health(self, *, run: bool = False) -> dict[str, Any]:
        return await self._run(lambda: self._client.health(run=run))

    async def events(self, **choice: Any) -> dict[str, Any]:
        return await self._run(lambda: self._client.events(**choice))

    async def event(self, number: int | None = None) -> dict[str, Any]:
        return await self._run(lambda: self._client.event(number))

    async def survey(self, *, quick: bool = False) -> dict[str, Any]:
        return await self._run(lambda: self._client.survey(quick=quick))

    async def reload(self) -> dict[str, Any]:
        return await self._run(self._client.reload)

    async def simulate(self, fault: str) -> dict[str, Any]:
        return await self._run(lambda: self._client.simulate(fault))

    async def operation(self, operation: int) -> dict[str, Any]:
        return await self._run(lambda: self._client.operation(operation))

    async def failover(
        self,
        workload: str = "main",
        *,
        to: str | None = None,
        reason: str = "",
        dry_run: bool = False,
        at: int | None = None,
    ) -> dict[str, Any]:
        return await self._run(lambda: self._client.failover(workload, to=to, reason=reason, dry_run=dry_run, at=at))

    async def switchover(
        self, to: str, workload: str = "main", *, reason: str = "", dry_run: bool = False, at: int | None = None
    ) -> dict[str, Any]:
        return await self._run(lambda: self._client.switchover(to, workload, reason=reason, dry_run=dry_run, at=at))

    async def failback(
        self, workload: str = "main", *, reason: str = "", dry_run: bool = False, at: int | None = None
    ) -> dict[str, Any]:
        return await self._run(lambda: self._client.failback(workload, reason=reason, dry_run=dry_run, at=at))

    async def cancel_failback(self, workload: str = "main") -> None:
        await self._run(lambda: self._client.cancel_failback(workload))

    async def pause(self, seconds: float = 0.0, *, reason: str = "") -> dict[str, Any]:
        return await self._run(lambda: self._client.pause(seconds, reason=reason))

    async def resume(self) -> dict[str, Any]:
        return await self._run(self._client.resume)

    async def drain(self, node: str, *, reason: str = "", force: bool = False, dry_run: bool = False) -> dict[str, Any]:
        return await self._run(lambda: self._client.drain(node, reason=reason, force=force, dry_run=dry_run))

    async def undrain(self, node: str) -> dict[str, Any]:
        return await self._run(lambda: self._client.undrain(node))

    async def remove_node(self, node: str, *, reason: str = "", dry_run: bool = False) -> dict[str, Any]:
        return await self._run(lambda: self._client.remove_node(node, reason=reason, dry_run=dry_run))

    async def promote_node(self, node: str, *, reason: str = "", dry_run: bool = False) -> dict[str, Any]:
        return await self._run(lambda: self._client.promote_node(node, reason=reason, dry_run=dry_run))

    async def admit_node(self, node: str, *, reason: str = "") -> dict[str, Any]:
        return await self._run(lambda: self._client.admit_node(node, reason=reason))

    async def _run(self, call: Callable[[], T]) -> T:
        async with one_of(self._threads, time.monotonic() + self._client._lines.timeout_s):
            return await in_thread(call)


class AsyncState:
    """As State, as coroutines."""

    def __init__(self, lines: AsyncLines) -> None:
        self._lines = lines

    async def get(self, key: str, *, stale: bool = False) -> Entry | None:
        """As State.get; so for each call below."""
        return await self._lines.play(steps.getting(key, stale))

    async def set(self, key: str, value: Any, *, token: Token = None) -> Entry:
        return await self._lines.play(steps.setting(key, value, token))

    async def compare_and_swap(
        self, key: str, expected_version: int, value: Any, *, token: Token = None
    ) -> Entry | Conflict:
        return await self._lines.play(steps.swapping(key, expected_version, value, token))

    async def delete(self, key: str, *, expected_version: int | None = None, token: Token = None) -> bool | Conflict:
        return await self._lines.play(steps.deleting(key, expected_version, token))

    async def list(self, prefix: str = "", *, stale: bool = False, limit: int | None = None) -> Listing:
        return await self._lines.play(steps.listing(prefix, stale, limit))

    def watch(self, prefix: str = "", *, after: int | None = None, idle: float | None = None) -> AsyncWatch:
        """As State.watch, for `async for`. Awaited, it has begun, and misses nothing that is written from then on; else
        it begins with the first step of the loop."""
        return AsyncWatch(self._lines, steps.News(prefix, idle), after)


class AsyncWatch:
    """As Watch."""

    def __init__(self, lines: AsyncLines, news: steps.News, after: int | None) -> None:
        self._lines = lines
        self._news = news
        self._after = after
        self._begun = False
        self._turn = asyncio.Lock()

    @property
    def revision(self) -> int:
        """The last one that was seen, of this prefix or not; 0 before it has begun."""
        return self._news.revision

    def __await__(self) -> Generator[Any, None, AsyncWatch]:
        return self._begin_in_turn().__await__()

    async def _begin_in_turn(self) -> AsyncWatch:
        async with self._turn:
            await self._begin()
        return self

    async def _begin(self) -> None:
        """Once, whoever is first: a later beginning would leave out what was written since."""
        if not self._begun:
            await self._lines.play(self._news.begin(self._after))
            self._begun = True

    def __aiter__(self) -> AsyncWatch:
        return self

    async def __anext__(self) -> Change:
        """As Watch's; of several tasks one after the other."""
        async with self._turn:
            await self._begin()
            change = await self._lines.play(self._news.following())
        if change is None:
            raise StopAsyncIteration
        return change

    def close(self) -> None:
        """As Watch.close."""
        self._news.closed = True


class AsyncLocks:
    """As Locks, as coroutines."""

    def __init__(self, lines: AsyncLines) -> None:
        self._lines = lines

    async def acquire(
        self,
        name: str,
        *,
        ttl: float | None = None,
        wait: float = 0.0,
        delay: float | None = None,
        holder: str = "",
        reserve_s_max: float = RESERVE_S_MAX,
    ) -> HeldLock:
        """As Locks.acquire; so for each call below. One that is cancelled while it waits leaves the line."""
        return await self._lines.play(locks.acquiring(name, ttl, wait, delay, holder, reserve_s_max))

    async def extend(self, held: HeldLock, ttl: float | None = None) -> HeldLock:
        return await self._lines.play(locks.extending(held, ttl))

    async def release(self, held: HeldLock) -> bool:
        return await self._lines.play(locks.releasing(held))

    async def show(self, name: str, *, stale: bool = False) -> dict[str, Any] | None:
        return await self._lines.play(locks.showing(name, stale))

    async def list(self, prefix: str = "", *, stale: bool = False) -> LockListing:
        return await self._lines.play(locks.listing(prefix, stale))


class AsyncLost:
    """Lock.lost for an event loop."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    def is_set(self) -> bool:
        """Whether somebody else may hold the lock; never late."""
        return self._lock.lost.is_set()

    async def wait(self) -> bool:
        """Return True when it is lost. Best raced against the work that it protects."""
        loop, told = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # The loop may be closed by then.
                loop.call_soon_threadsafe(told.set)

        self._lock.lost.then(tell)
        try:
            await told.wait()
        finally:
            self._lock.lost.forget(tell)
        return True


class AsyncLock:
    """As Lock, for `async with`."""

    def __init__(self, lock: Lock, lines: AsyncLines) -> None:
        self._lock = lock
        self._lines = lines
        self.lost = AsyncLost(lock)

    @property
    def name(self) -> str:
        return self._lock.name

    @property
    def held(self) -> HeldLock:
        return self._lock.held

    @property
    def token(self) -> int:
        return self._lock.token

    @property
    def lock_id(self) -> str:
        return self._lock.lock_id

    def remaining(self) -> float:
        """As Lock.remaining."""
        return self._lock.remaining()

    async def __aenter__(self) -> AsyncLock:
        options = self._lock.claim()
        try:
            # Nothing is awaited once it is held: who is cancelled before holds nothing.
            self._lock.take(await self._lines.play(locks.acquiring(self._lock.name, **options)))
            self._lock.keep()
        except BaseException:
            await self._close()  # There will be no `__aexit__`, and it would stay taken for its whole time.
            self._lock.unclaim()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As Lock's. Who is cancelled meanwhile extends it no more, and is cancelled once it is released."""
        told(await self._close(), error)

    async def _close(self) -> LockLost | None:
        if not self._lock.leave():
            return None
        return await self._lines.finish(lambda: self._lines.play(self._lock.giving_back()))
