"""News on their way through a large cluster: each newest fact is passed on once by whoever learns it (epidemic)."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TypeVar

from mltb_transport.gossip import Loss, News
from mltb_transport.messages import Heartbeat, Sync
from mltb_transport.records import Record
from mltbd.core.effects import Effect, Note, Publish
from mltbd.core.neighbourhood import Neighbourhood
from mltbd.core.peers import JITTER, essence, leaps, version
from mltbd.core.ports import Entropy
from mltbd.core.roster import Roster

T = TypeVar("T", Record, Loss)

TELLING = (Heartbeat, Sync, News)
"""What tells of members."""
NEWS_MAX = 64
"""Records, and losses, in one publication."""
RUMOURS_MAX = 1024
"""Of each kind that wait; the oldest is dropped, and the exchange of everything known makes it good."""
SPREAD_S = 0.1
"""Between two publications of news."""


class Rumours:
    """What this node passes on, where not everybody hears everybody. Facts of one member replace each other."""

    def __init__(self, roster: Roster, hood: Neighbourhood, counters: Counter[str]) -> None:
        self.due = inf
        self._roster = roster
        self._hood = hood
        self._counters = counters
        self._records: dict[str, Record] = {}
        self._losses: dict[str, Loss] = {}

    def spread(self, now: float, entropy: Entropy) -> list[Effect]:
        """The publications that are due; what is learned within SPREAD_S goes out together."""
        if not self._records and not self._losses:
            return []
        if self.due == inf:
            self.due = now + SPREAD_S * entropy.uniform(1 - JITTER, 1 + JITTER)
        if now < self.due:
            return []
        records = [self._records.pop(node) for node in list(self._records)[:NEWS_MAX]]
        losses = [self._losses.pop(node) for node in list(self._losses)[:NEWS_MAX]]
        self.due = inf
        return [Publish(News(tuple(records), tuple(losses))), *self.spread(now, entropy)]

    def learn(self, record: Record, now: float, *, heartbeat: bool) -> list[Effect]:
        """A record of another member came; passed on if it is news, contradicted if it is overtaken by a loss."""
        before = self._roster.peers.get(record.node)
        known, was_lost = (before.record, before.lost) if before else (None, True)
        effects = self._hood.only_linked(self._roster.merge(record, now, heartbeat=heartbeat))
        if known is not None and version(record) <= version(known):
            return effects
        if not self._hood.sparse or record.node not in self._roster.peers:
            return effects  # Everybody hears it directly; or it was refused, or forgotten.
        if known is None or was_lost or known.incarnation != record.incarnation or essence(known) != essence(record):
            self.lives(record)
        return effects

    def contradict(self, news: News) -> None:
        """Somebody passes on that members live, and knows no more than what was given up since."""
        for record in news.records:
            peer = self._roster.peers.get(record.node)
            if peer is not None and peer.lost and version(record) <= peer.lost_at:
                self.lost(Loss(record.node, *peer.lost_at))

    def bereaved(self, losses: tuple[Loss, ...], own: Record) -> list[Effect]:
        """Others gave these members up. Whoever watches one, or knows it newer, says so; `own` refutes our own.

        What is known of a member only grows, so that all come to believe the same: it lives in version 1, it was
        given up in version 1, it lives in version 2, and so on.
        """
        effects: list[Effect] = []
        for loss in losses if self._hood.sparse else ():
            peer, at = self._roster.peers.get(loss.node), (loss.incarnation, loss.seq)
            if loss.node == own.node:
                self.lives(own)
            elif peer is None or leaps(at, (peer.incarnation, peer.record.seq)):
                continue
            elif version(peer.record) > at:
                if not peer.lost:
                    self.lives(peer.record)
            elif peer.lost:
                peer.lost_at = max(peer.lost_at, at)
            elif not peer.watched:
                self._roster.lose(peer, at)
                self.lost(loss)
                effects.append(Note("warning", f"member `{loss.node}` is unreachable, say those who watch it"))
        return effects

    def lives(self, record: Record) -> None:
        """Tell of this member; it refutes a loss that still waits."""
        if self._hood.sparse:
            self._losses.pop(record.node, None)
            self._put(self._records, record.node, record)

    def lost(self, loss: Loss) -> None:
        """Tell that this member is given up; it overtakes a record that still waits."""
        if self._hood.sparse:
            self._records.pop(loss.node, None)
            self._put(self._losses, loss.node, loss)

    def _put(self, waiting: dict[str, T], node: str, fact: T) -> None:
        waiting.pop(node, None)  # The newest goes to the end of the queue.
        waiting[node] = fact
        if len(waiting) > RUMOURS_MAX:
            del waiting[next(iter(waiting))]
            self._counters["rumours_dropped"] += 1


def records_of(message: object) -> tuple[Record, ...]:
    """What a message of the gossip tells of members."""
    match message:
        case Heartbeat(record, _):
            return (record,)
        case Sync(records, _) | News(records, _):
            return records
    return ()
