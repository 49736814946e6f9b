"""AsyncClient: the calls of Client for a running event loop, each in a thread, so that many go on at once."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from mltbctl.client import Client
from mltbctl.locks import TTL_S, HeldLock, Lock
from mltbctl.settings import TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from mltbctl.store_client import Change, Conflict, Entry, Watch

QUICK_MAX, PATIENT_MAX = 16, 48
T = TypeVar("T")
Token = HeldLock | tuple[str, int] | None


class _Threads:
    """Where the calls wait: so many at once, others queue. Those that may wait long cannot hold up the others."""

    def __init__(self) -> None:
        self._quick = ThreadPoolExecutor(QUICK_MAX, thread_name_prefix="mltb-client")
        self._patient = ThreadPoolExecutor(PATIENT_MAX, thread_name_prefix="mltb-client-patient")

    async def run(self, call: Callable[[], T], *, patient: bool = False) -> T:
        pool = self._patient if patient else self._quick
        return await asyncio.get_running_loop().run_in_executor(pool, call)

    def submit(self, call: Callable[[], object]) -> None:
        """Do it some time; nobody waits."""
        self._quick.submit(call)

    def close(self) -> None:
        self._quick.shutdown(wait=False)
        self._patient.shutdown(wait=False)


class AsyncClient:
    """The same calls as Client, as coroutines. A call that is cancelled may still take effect."""

    def __init__(self, *nodes: str, secret: str | None = None, timeout: float = TIMEOUT_S, config: str = "") -> None:
        self._client = Client(*nodes, secret=secret, timeout=timeout, config=config)
        self._threads = _Threads()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up for good; calls under way end first."""
        await self._run(self._client.close)
        self._threads.close()

    @property
    def state(self) -> AsyncState:
        """The replicated key-values."""
        return AsyncState(self._client, self._threads)

    @property
    def locks(self) -> AsyncLocks:
        """Single calls for locks that nobody extends."""
        return AsyncLocks(self._client, self._threads)

    def lock(
        self, name: str, ttl: float = TTL_S, wait: float = 0.0, *, delay: float | None = None, holder: str = ""
    ) -> AsyncLock:
        """As Client.lock, for `async with`."""
        return AsyncLock(self._client.lock(name, ttl, wait, delay=delay, holder=holder), self._threads)

    async def status(self) -> dict[str, Any]:
        """As Client.status; so for each call below."""
        return await self._run(self._client.status)

    async def nodes(self) -> list[dict[str, Any]]:
        return await self._run(self._client.nodes)

    async def ping(self) -> dict[str, Any]:
        return await self._run(self._client.ping)

    async def is_(self, what: str, node: str | None = None) -> bool | None:
        return await self._run(lambda: self._client.is_(what, node))

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
        return await self._threads.run(call)


class AsyncState:
    """As State, as coroutines."""

    def __init__(self, client: Client, threads: _Threads) -> None:
        self._state = client.state
        self._threads = threads

    async def get(self, key: str, *, stale: bool = False) -> Entry | None:
        """As State.get; so for each call below."""
        return await self._threads.run(lambda: self._state.get(key, stale=stale))

    async def set(self, key: str, value: Any, *, token: Token = None) -> Entry:
        return await self._threads.run(lambda: self._state.set(key, value, token=token))

    async def compare_and_swap(
        self, key: str, expected_version: int, value: Any, *, token: Token = None
    ) -> Entry | Conflict:
        return await self._threads.run(lambda: self._state.compare_and_swap(key, expected_version, value, token=token))

    async def delete(self, key: str, *, expected_version: int | None = None, token: Token = None) -> bool | Conflict:
        return await self._threads.run(lambda: self._state.delete(key, expected_version=expected_version, token=token))

    async def list(self, prefix: str = "", *, stale: bool = False, limit: int | None = None) -> list[Entry]:
        return await self._threads.run(lambda: self._state.list(prefix, stale=stale, limit=limit))

    async def watch(
        self, prefix: str = "", *, after: int | None = None, idle: float | None = None
    ) -> AsyncIterator[Change]:
        """As State.watch, for `async for`; it begins with the first step of the loop."""
        watch: Watch = await self._threads.run(lambda: self._state.watch(prefix, after=after, idle=idle))
        try:
            while (change := await self._threads.run(lambda: next(watch, None), patient=True)) is not None:
                yield change
        finally:
            watch.close()


class AsyncLocks:
    """As Locks, as coroutines."""

    def __init__(self, client: Client, threads: _Threads) -> None:
        self._locks = client.locks
        self._threads = threads

    async def acquire(
        self, name: str, *, ttl: float = TTL_S, wait: float = 0.0, delay: float | None = None, holder: str = ""
    ) -> HeldLock:
        """As Locks.acquire; so for each call below."""
        return await self._threads.run(
            lambda: self._locks.acquire(name, ttl=ttl, wait=wait, delay=delay, holder=holder), patient=wait > 0
        )

    async def extend(self, held: HeldLock, ttl: float | None = None) -> HeldLock:
        return await self._threads.run(lambda: self._locks.extend(held, ttl))

    async def release(self, held: HeldLock) -> bool:
        return await self._threads.run(lambda: self._locks.release(held))

    async def show(self, name: str, *, stale: bool = False) -> dict[str, Any] | None:
        return await self._threads.run(lambda: self._locks.show(name, stale=stale))

    async def list(self, prefix: str = "", *, stale: bool = False) -> list[dict[str, Any]]:
        return await self._threads.run(lambda: self._locks.list(prefix, stale=stale))


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
        await told.wait()
        return True


class AsyncLock:
    """As Lock, for `async with`."""

    def __init__(self, lock: Lock, threads: _Threads) -> None:
        self._lock = lock
        self._threads = threads
        self._mutex = threading.Lock()
        self._entered = self._abandoned = False
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
        try:
            await self._threads.run(self._enter, patient=True)
        except asyncio.CancelledError:
            # The thread goes on, and must not keep for ever what nobody will release.
            with self._mutex:
                self._abandoned = True
                entered = self._entered
            if entered:
                self._threads.submit(self._lock.close)
            raise
        return self

    def _enter(self) -> None:
        self._lock.acquire()
        with self._mutex:
            self._entered = not self._abandoned
            if self._entered:
                self._lock.keep()
                return
        self._lock.close()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._threads.run(lambda: self._lock.__exit__(kind, error, trace))
