"""How far this node may trust its own eyes (Lifeguard): a late loop blames its peers for its own lateness.

Strain stretches suspicions. It never touches a lease: a node that runs late must give up on time too.
"""

from __future__ import annotations

from math import log

STRAIN_MAX = 7
WIDEN_MAX = 3.0
"""However strained we are, a dead peer is found within three node timeouts."""
LAG_STEPS_S = (0.05, 0.2, 0.8)
"""A loop this late raises the score by one, two, three."""
CONFIRMATIONS_MAX = 3
"""Independent accusers that make up for all our strain: then the fault is not ours."""
DECAY_S = 2.0
"""One point is forgotten after this long without lag."""


class StrainScore:
    """The local health score, 0 (well) to STRAIN_MAX."""

    def __init__(self) -> None:
        self._score = 0
        self._since = 0.0

    def lag(self, lag_s: float, now: float) -> None:
        """The event loop ran `lag_s` late."""
        self._decay(now)
        raised = sum(lag_s >= step for step in LAG_STEPS_S)
        if raised:
            self._score = min(self._score + raised, STRAIN_MAX)
            self._since = now

    def missed(self, now: float) -> None:
        """Nobody answered who should have, or we were suspected ourselves: the fault may be ours."""
        self._decay(now)
        self._score = min(self._score + 1, STRAIN_MAX)
        self._since = now

    def score(self, now: float) -> int:
        self._decay(now)
        return self._score

    def factor(self, now: float, accusers: int = 0) -> float:
        """By how much to stretch our patience with a member, 1 to WIDEN_MAX: less for each other who suspects it."""
        alone = min(self.score(now) + 1.0, WIDEN_MAX)
        doubt = 1.0 - log(min(accusers, CONFIRMATIONS_MAX) + 1) / log(CONFIRMATIONS_MAX + 1)
        return 1.0 + (alone - 1.0) * doubt

    def _decay(self, now: float) -> None:
        if self._score == 0:
            return
        forgotten = int((now - self._since) / DECAY_S)
        if forgotten > 0:
            self._score = max(self._score - forgotten, 0)
            self._since += forgotten * DECAY_S
