"""Whose frames a node takes: of its own cluster, of a sender's newest run, with numbers that can be honest."""

from __future__ import annotations

from mltbd.core.events import Received

SENDERS_MAX = 1024
LEAP_MAX = 1 << 32
"""Terms, runs and versions grow by one, from zero: no node that was merely away is so far behind. Nobody takes a number
over whose owner could not count on from it, or one broken node would end all elections, for ever."""


class Senders:
    """The newest run heard of each sender, of SENDERS_MAX at the most."""

    def __init__(self) -> None:
        self._incarnations: dict[str, int] = {}

    def why_not(self, event: Received, me: str, cluster: str, term: int) -> str:
        """`foreign`, `stale` (from a run that is over) or `leap`; empty: it may be heard."""
        sender = event.sender
        if sender == me or (event.cluster and cluster and event.cluster != cluster):
            return "foreign"
        if getattr(event.message, "term", 0) > term + LEAP_MAX:
            return "leap"
        if event.incarnation > self._incarnations.get(sender, 0) + LEAP_MAX:
            return "leap"
        if event.incarnation < self._incarnations.get(sender, 0):
            return "stale"
        if sender in self._incarnations or len(self._incarnations) < SENDERS_MAX:
            self._incarnations[sender] = event.incarnation
        return ""
