"""One machine's clock: its rate is wrong by a constant error within the promised bound, its zero is its own."""

from __future__ import annotations

import random

from mltbd.core.timing import RHO

RATE_ERROR_MAX = 0.99 * RHO
OFFSET_MAX_S = 100_000.0
WALL_MS = 1_700_000_000_000
LATE_S = 1e-6
"""A timer never fires early: this much covers the rounding between the two times."""


class Clock:
    """Translates between real (virtual) seconds and what this machine reads."""

    def __init__(self, dice: random.Random) -> None:
        # The extremes are where arithmetic fails, so they are drawn often.
        self.rate = 1.0 + dice.choice((-1.0, 1.0, dice.uniform(-1, 1))) * RATE_ERROR_MAX
        self._offset_s = dice.uniform(0, OFFSET_MAX_S)
        self._wall_ms = WALL_MS + dice.randint(-5000, 5000)

    def local(self, real: float) -> float:
        """What CLOCK_BOOTTIME reads at this real moment."""
        return self._offset_s + real * self.rate

    def real(self, local: float) -> float:
        """The first real moment at which the clock certainly reads `local` or more."""
        return (local - self._offset_s) / self.rate + LATE_S

    def wall(self, real: float) -> int:
        """Wall time in milliseconds."""
        return self._wall_ms + int(real * 1000)

    def step_wall(self, milliseconds: int) -> None:
        """Somebody set the wall clock. Nothing may depend on it."""
        self._wall_ms += milliseconds
