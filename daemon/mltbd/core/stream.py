"""Clients' commands that come thick and fast: each goes to a quorum at once, to everybody else a few together.

One follower more costs a leader, and a machine that runs several nodes, about half of what the command costs already,
and commits it no sooner. So while commands follow each other within LATE_S only those are sent each whom a quorum
needs; the others have all that was held back LATE_S later, in one message. Source: thrifty operation of EPaxos
(Moraru et al., SOSP 2013), here with a hedge: where the chosen do not answer, the others are asked LATE_S later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Protocol

LATE_S = 0.01
"""What follows the command before within this time belongs to a stream; so long others are left out."""
SLOW_S = 10.0
"""How long one is not chosen that was overtaken by others who had the same LATE_S later."""
CHOOSE_S = 1.0
"""How long a choice stands."""


class Holder(Protocol):
    """A follower, as far as it matters here."""

    match_index: int


class Stream:
    """Of one reign. `followers`: all that are replicated to; who was chosen is among them."""

    def __init__(self, followers: Mapping[str, Holder]) -> None:
        self._followers = followers
        self._chosen: frozenset[str] | None = None
        self._choose_at = -inf
        self._last_at = -inf
        self.due_at = inf  # everybody is to be sent everything then
        self._held_from = 0  # what others than the chosen do not have begins here, if anything is due
        self._proof = 0  # the chosen had this entry LATE_S before the others
        self._slow: dict[str, float] = {}

    def chosen(self, now: float, able: Callable[[], Mapping[str, int]], needed: int) -> frozenset[str] | None:
        """Who is sent the command that is proposed now; None: everybody, with all that was held back.

        `able`: the voters that can be counted on, with their priority: who has the most is to lead next, and should
        not lack what the clients know. `needed`: so many make a quorum with the leader.
        """
        soon, self._last_at = now < self._last_at + LATE_S, now
        if not soon:
            return None
        if now >= self._choose_at:
            self._choose_at = now + CHOOSE_S
            best = sorted((-priority, node) for node, priority in able().items() if self._slow.get(node, now) <= now)
            self._chosen = frozenset(node for _, node in best[:needed]) if len(best) >= needed else None
        return self._chosen

    def hold(self, index: int, now: float) -> None:
        """Some were left out of this entry."""
        if self.due_at == inf:
            self.due_at, self._held_from = now + LATE_S, index

    def holds(self, node: str, index: int) -> bool:
        """Whether this follower is to wait for this entry."""
        return self.due_at < inf and index >= self._held_from and node not in (self._chosen or ())

    def settles(self, now: float) -> bool:
        """Whether everybody is to be sent everything; the caller does."""
        if now < self.due_at:
            return False
        self.due_at, self._proof = inf, self._held_from
        return True

    def answered(self, node: str) -> None:
        """This follower told how much it holds."""
        chosen = self._chosen
        if not self._proof or not chosen or node in chosen or self._followers[node].match_index < self._proof:
            return
        for each in chosen:
            follower = self._followers.get(each)
            if follower is None or follower.match_index < self._proof:  # Removed meanwhile, or overtaken.
                self._slow[each] = self._last_at + SLOW_S
                self._choose_at = -inf
        self._proof = 0
