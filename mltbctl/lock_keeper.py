"""Lock, which extends itself and knows when it is lost; for threads, and step by step for an event loop."""

from __future__ import annotations

import math
import os
import threading
from typing import TYPE_CHECKING, Any

from mltbctl.clock import boottime
from mltbctl.errors import LockLost, MltbError, Unreachable
from mltbctl.locks import RESERVE_S_MAX, check_times, releasing
from mltbctl.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from mltbctl.locks import HeldLock, Locks

NAP_S_MAX = 5.0
"""A wait that the machine slept through is noticed this late, at most."""
JOIN_S = 0.2
NOT_EXTENDED = "its time was over, and its node has DISTRIBUTED_LOCK_AUTO_EXTEND off"
RELEASE_S_MIN = 0.5


class Lost(threading.Event):
    """Set before anybody else may hold the lock. `is_set` looks at the clock itself, so it is never late."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = math.inf
        """From when on the lock is not ours for sure."""
        self._listeners: list[Callable[[], None]] = []
        self._mutex = threading.Lock()

    def is_set(self) -> bool:
        return super().is_set() or boottime() >= self.moment

    def set(self) -> None:
        with self._mutex:
            super().set()
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener()

    def then(self, listener: Callable[[], None]) -> None:
        """Call this once when it is set, from the thread that sets it; at once where it is set already."""
        with self._mutex:
            if not super().is_set():
                self._listeners.append(listener)
                return
        listener()

    def forget(self, listener: Callable[[], None]) -> None:
        """It need not be called any more."""
        with self._mutex:
            self._listeners = [other for other in self._listeners if other is not listener]


class Lock:
    """A lock that is held while its block runs, and extended from a thread of its own at a third of its time or sooner.

    with node.lock("deploy", ttl=30, wait=10) as lock:      # LockNotAcquired when it is not free in time
        while work and not lock.lost.is_set(): ...          # `lock.lost`: stop at once, somebody else may begin

    For one block: another one, be it in another thread, is refused with RuntimeError and needs a Lock of its own.
    After the block nothing of it is left to rely on; `lost` then says whether it was lost before it was released.
    """

    def __init__(
        self,
        locks: Locks,
        name: str,
        *,
        ttl: float | None = None,
        wait: float = 0.0,
        delay: float | None = None,
        holder: str = "",
        reserve_s_max: float = RESERVE_S_MAX,
        tell: Callable[[float], None] | None = None,
    ) -> None:
        """`tell`: called from the thread with the moment up to which it is ours, whenever that moves."""
        check_times(ttl, wait)
        self.name = name
        self.lost = Lost()
        self._locks = locks
        self._options: dict[str, Any] = {"ttl": ttl, "wait": wait, "delay": delay, "holder": holder}
        self._options["reserve_s_max"] = reserve_s_max
        self._tell = tell or (lambda _: None)
        self._unclaimed = threading.Lock()
        self._ending = threading.Event()
        self._held: HeldLock | None = None
        self._keeper: threading.Thread | None = None
        self._trouble = ""
        self._pid = 0

    @property
    def held(self) -> HeldLock:
        """The grant; after the block nothing remains of its time. RuntimeError before it is acquired."""
        if self._held is None:
            raise RuntimeError(f"the lock `{self.name}` is not acquired")
        return self._held

    @property
    def token(self) -> int:
        """The fencing token of this grant."""
        return self.held.token

    @property
    def lock_id(self) -> str:
        return self.held.lock_id

    @property
    def extended(self) -> bool:
        """Whether its node wants it extended while the block runs."""
        return self.held.extend_s < math.inf

    def remaining(self) -> float:
        """Seconds for which it is ours for sure, if it were not extended again; 0 once it is lost or released."""
        return 0.0 if self.lost.is_set() else self.held.remaining()

    def __enter__(self) -> Lock:
        options = self.claim()
        try:
            self.take(self._locks.acquire(self.name, **options))
            self.keep()
        except BaseException:
            self.close()  # There will be no `__exit__`, and it would be extended for ever.
            self.unclaim()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it. LockLost when it was lost meanwhile; added as a note to an error of the block itself."""
        told(self.close(), error)

    def acquire(self) -> None:
        """Get it, without extending it yet."""
        options = self.claim()
        try:
            self.take(self._locks.acquire(self.name, **options))
        except BaseException:
            self.unclaim()
            raise

    def claim(self) -> dict[str, Any]:
        """How it is to be acquired, told to the first who asks. RuntimeError for all others: they would give back what
        he holds."""
        if not self._unclaimed.acquire(blocking=False):
            raise RuntimeError(f"the lock `{self.name}` was entered already: each block needs one of its own")
        return self._options

    def unclaim(self) -> None:
        """Where it was not acquired it may be tried again."""
        if self._held is None:
            self._unclaimed.release()

    def take(self, held: HeldLock) -> None:
        """It was acquired."""
        self._held, self._pid = held, os.getpid()
        self.lost.moment = held.until

    def keep(self) -> None:
        """Begin to extend it. Unreachable where this process may have no more threads."""
        self._keeper = threading.Thread(target=self._keep, args=(self.held,), name="mltb-lock", daemon=True)
        try:
            self._keeper.start()
        except RuntimeError as error:
            raise Unreachable(f"no thread to extend the lock `{self.name}`: {error}", "run `ulimit -u`") from error

    def close(self) -> LockLost | None:
        """Release it; returns what to raise when it was lost before. A daemon that is away lets it run out.

        Again, or in a child of the process that acquired it: no effect.
        """
        if not self.leave():
            return None
        if self._keeper is not None and self._keeper.is_alive():  # It may never have been started.
            self._keeper.join(JOIN_S)
        return self._locks._lines.play(self.giving_back())

    def leave(self) -> bool:
        """Extend it no more, from now on; whether there is anything to give back."""
        if self._held is None or self._pid != os.getpid() or self._ending.is_set():
            return False
        self._ending.set()
        self._held.ended()
        return True

    def giving_back(self) -> Steps[LockLost | None]:
        """Step by step, after `leave`: what `close` comes to."""
        if self.lost.is_set():
            self.lost.set()
            return self._loss()
        timeout_s = min(self._locks.timeout_s, max(RELEASE_S_MIN, self.lost.moment - boottime()))
        try:
            released = yield from releasing(self.held, timeout_s)
        except MltbError:
            released = True  # Not known. It was ours for the whole block, and ends by itself.
        self.lost.moment = math.inf
        if not released:
            self.lost.set()
            return self._loss()
        return None

    def _loss(self) -> LockLost:
        why = self._trouble or ("" if self.extended else NOT_EXTENDED)
        return LockLost(
            f"the lock `{self.name}` was lost{': ' if why else ''}{why}", f"run `mltbctl lock show {self.name}`"
        )

    def _keep(self, held: HeldLock) -> None:
        try:
            self._extend(held)
        finally:
            if not self._ending.is_set():
                self.lost.set()

    def _extend(self, held: HeldLock) -> None:
        due = boottime() + held.extend_s
        while not self._ending.wait(max(0.0, min(due - boottime(), held.remaining(), NAP_S_MAX))):
            now = boottime()
            if now >= held.until:
                break
            if now < due:
                continue
            try:
                self._locks.extend(held, timeout=held.remaining())
                if self._ending.is_set():
                    held.ended()  # It came too late to be of use.
                    break
                self._trouble = ""
                due = now + held.extend_s
                self.lost.moment = held.until
                self._tell(held.until)
            except LockLost as lost:
                self._trouble = lost.message
                break
            except Exception as error:  # Whatever it is may pass; and who would be told?
                self._trouble = error.message if isinstance(error, MltbError) else f"{type(error).__name__}: {error}"
                due = boottime() + min(1.0, held.ttl / 30)


def told(lost: LockLost | None, error: BaseException | None) -> None:
    """At the end of a block: raise what `close` returned, or note it at the error that ended the block."""
    if lost is None:
        return
    if error is None:
        raise lost
    error.add_note(f"and the lock was lost: {lost.message}")
