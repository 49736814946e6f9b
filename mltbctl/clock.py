"""The clock that leases and locks are measured with: it never steps, and it runs on while the machine sleeps."""

from __future__ import annotations

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Seconds since boot, time asleep included where the system can tell."""
    return time.clock_gettime(_CLOCK)
