"""Threads for what may hang in the kernel, say a resolver that does not answer. Nobody waits for them at the end.

A daemon that ends has a workload that runs on for no longer than its lease: until the next daemon is there.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

THREADS_MAX = 32
P = ParamSpec("P")
T = TypeVar("T")


class Unjoined(ThreadPoolExecutor):
    """The executor of an event loop, which wants one of this class; neither the loop nor Python joins its threads."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._begun = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Called by the loop alone."""
        future: Future[T] = Future()
        if not self._idle.acquire(blocking=False) and self._begun < THREADS_MAX:
            try:
                threading.Thread(target=self._work, name="mltb-aside", daemon=True).start()
            except RuntimeError as error:  # No thread to be had.
                future.set_exception(OSError(errno.EAGAIN, str(error)))
                return future
            self._begun += 1
        self._calls.put((future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to wait for: what still runs ends with the process."""

    def _work(self) -> None:
        while True:
            future, call = self._calls.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except Exception as error:
                    future.set_exception(error)
            del future, call
            self._idle.release()
