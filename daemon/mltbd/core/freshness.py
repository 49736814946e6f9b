"""How old what is applied here is: not since when our leader is silent, for a slow disk lags behind what it tells."""

from __future__ import annotations

from mltb_transport.messages import Append
from mltbd.core.consensus import Consensus

ON_TIME = 1.5
"""Where a leader was silent for so many heartbeats more than it accounts for, its word was held up, or we were."""


class Freshness:
    """One commit at a time that the leader told: once it is applied, all that was committed when it was told is."""

    def __init__(self, now: float) -> None:
        self.began_at = now
        self._at: float | None = None
        self._commit, self._told_at, self._waits = 0, 0.0, False
        self._heard_at, self._news_at = float("inf"), now

    def heard(self, message: Append, consensus: Consensus, now: float, applied: int) -> None:
        """The word of a leader, after consensus has judged it. Without a level it is not in charge yet."""
        if message.term != consensus.term:
            return
        heartbeat_s = consensus.timing.heartbeat_s
        if now - message.confirmed_s - self._heard_at > ON_TIME * heartbeat_s:
            self._news_at = now + heartbeat_s  # What comes until then may have waited, on the way or here.
        self._heard_at = now
        if message.level and now >= self._news_at:
            # Cut off together with us it may be replaced already: what it says is as old as a quorum's word for it.
            self.told(max(message.commit, consensus.commit), now - message.confirmed_s, applied)

    def leads(self, consensus: Consensus, applied: int) -> None:
        """We may lead ourselves: then we know as long as a quorum confirms it, and not before we are in charge."""
        if consensus.reign is not None and consensus.in_charge:
            self.told(consensus.commit, consensus.reign.confirmed_at, applied)

    def told(self, commit: int, at: float, applied: int) -> None:
        """So much was committed at `at`."""
        self.fresh_at(applied)
        if not self._waits:
            self._commit, self._told_at, self._waits = commit, at, True

    def fresh_at(self, applied: int) -> float | None:
        """When what is applied was all that was committed; None where it never was."""
        if self._waits and applied >= self._commit:
            self._at, self._waits = self._told_at, False
        return self._at
