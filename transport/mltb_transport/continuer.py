"""A timer that continues its own process, should that be stopped when something is due. Standard library only: here
because guard and command line may both import it, and neither the other."""

from __future__ import annotations

import ctypes
import math
import signal
import struct
import sys
import time

AGAIN_S = 0.05
_SHOTS = 2
_TIMER_ABSTIME = 1
_libc = ctypes.CDLL(None)  # Here, once: a forked child would pay for it in copied pages.


class Continuer:
    """Sends the caller SIGCONT at a moment of CLOCK_BOOTTIME, and AGAIN_S later once more: for a second stop, in
    between, that left it no time to set the next moment. Not a timer that repeats itself: since Linux 6.13 such a one
    rests when its signal does nothing else.

    Where the system has no such timer it does nothing. A forked child has none of it.
    """

    def __init__(self) -> None:
        self.moment = math.inf
        self._timers = [timer for _ in range(_SHOTS) if (timer := _timer()) is not None]

    def set(self, moment: float) -> None:
        """Instead of the moment before; `inf` is never."""
        if moment == self.moment:
            return
        self.moment = moment
        for place, timer in enumerate(self._timers):
            at = moment + place * AGAIN_S if moment < math.inf else 0.0  # Zero switches it off.
            spec = struct.pack("@4l", 0, 0, int(at), int(at % 1 * 1e9))
            _libc.timer_settime(timer, _TIMER_ABSTIME, spec, None)


def _timer() -> ctypes.c_void_p | None:
    create = getattr(_libc, "timer_create", None) if sys.platform == "linux" else None
    timer = ctypes.c_void_p()
    event = struct.pack("@Pii64x", 0, signal.SIGCONT, 0)  # struct sigevent: this signal, for the process
    if create is None or create(time.CLOCK_BOOTTIME, event, ctypes.byref(timer)) != 0:
        return None
    return timer
