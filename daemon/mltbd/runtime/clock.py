"""The two clocks: one that nobody can set, for every decision, and one that people read."""

from __future__ import annotations

import time

_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def boottime() -> float:
    """Seconds since boot, time asleep included: a lease must not outlive a suspended machine.

    Where the system has no CLOCK_BOOTTIME (macOS, the BSDs), its monotonic clock.
    """
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


def wall_ms() -> int:
    """Milliseconds since 1970. For people only: it jumps, so nothing is ever decided by it."""
    return time.time_ns() // 1_000_000
