"""A timer on the clock that runs on while the machine sleeps, as a descriptor for poll."""

from __future__ import annotations

import ctypes
import math
import os
import time

from mltbd.processes import LINUX

NANOSECONDS = 10**9
_ABSOLUTE = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class Alarm:
    """Readable from the set moment of `boottime_s` on. poll's own timeout would not count a time of sleep.

    `fd` is None where the system has no such timer: poll often, then.
    """

    def __init__(self) -> None:
        self.fd: int | None = None
        self._moment = math.inf
        if not LINUX:
            return
        self._libc = ctypes.CDLL(None, use_errno=True)
        fd = self._libc.timerfd_create(time.CLOCK_BOOTTIME, os.O_NONBLOCK | os.O_CLOEXEC)
        self.fd = fd if fd >= 0 else None

    def set(self, moment: float) -> None:
        """Ring at this moment, at once if it has passed, never if it is `inf`."""
        if self.fd is None or moment == self._moment:
            return
        value = _Itimerspec()
        if moment < math.inf:
            # One nanosecond at least: zero would switch it off.
            total = max(1, math.ceil(moment * NANOSECONDS))
            value.it_value = _Timespec(*divmod(total, NANOSECONDS))
        if self._libc.timerfd_settime(self.fd, _ABSOLUTE, ctypes.byref(value), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        self._moment = moment

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
