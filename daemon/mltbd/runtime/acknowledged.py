"""What is on disk, from the writer's thread to the loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from io import FileIO


class Acknowledged:
    """Tells the loop the numbers it is told, in their order.

    `call_soon_threadsafe` does the same with twice the work, for everything that is ever acknowledged: a handle and a
    context for each, and a socket that is read until it is empty.
    """

    def __init__(self, tell: Callable[[int], None]) -> None:
        """In the loop that `tell` is called in."""
        self._tell = tell
        self._numbers: deque[int] = deque()
        out, into = os.pipe()
        os.set_blocking(out, False)
        os.set_blocking(into, False)
        self._out, self._into = FileIO(out, "r"), FileIO(into, "w")
        self._mutex = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(out, self._heard)

    def say(self, number: int) -> None:
        """From any thread. After `close` nobody hears it."""
        self._numbers.append(number)
        with self._mutex:  # Else it could be closed in the midst of the write, and its number be another file's.
            if not self._into.closed:
                self._into.write(b".")  # In vain where the pipe is full: then the loop knows.

    def close(self) -> None:
        """Nothing is told any more. Again: no effect."""
        if self._out.closed:
            return
        self._loop.remove_reader(self._out.fileno())
        with self._mutex:
            self._into.close()
        self._out.close()
        self._numbers.clear()

    def _heard(self) -> None:
        self._out.read(4096)
        for _ in range(len(self._numbers)):  # What comes meanwhile has its turn after whatever else there is.
            if self._numbers:
                self._tell(self._numbers.popleft())
