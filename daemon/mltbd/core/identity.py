"""This node's own record: what it says of itself, and what to do when others say something else of it.

Also who is no member at all: strangers in our name, and nodes of another cluster.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TypedDict

from mltb_transport.messages import Sync
from mltb_transport.records import Record, WorkloadView
from mltbd.core.effects import Contact, Effect, Note
from mltbd.core.peers import flaw, news, version
from mltbd.core.senders import LEAP_MAX

JUMPS_MAX = 3
"""How often this node outbids a claim to its id from another disk before it calls the claimant alive."""
FOREIGN_MAX = 16
"""Clusters reported by name."""


class OwnChanges(TypedDict, total=False):
    """What a node may change of its own record while it runs."""

    cluster: str
    role: str
    priority: int
    state: str
    health: str
    founder: bool
    term: int
    leader: str
    applied: int
    ready: tuple[str, ...]
    workloads: tuple[WorkloadView, ...]
    troubles: tuple[str, ...]


class Identity:
    """Our record. `own` is how we are now, `shown` the version others were told last.

    `urgent`: others should be told at once. Whoever publishes takes `next_version`.
    """

    def __init__(self, own: Record, counters: Counter[str]) -> None:
        self.own = own
        self.shown = own
        self.urgent = False
        self.counters = counters
        self._jumps = 0
        self.foreign: dict[str, str] = {}
        """Other clusters that were met -> which of their nodes, where."""
        self._duplicate_told = False

    def change(self, changes: OwnChanges) -> None:
        own = replace(self.own, **changes)
        if own == self.own:
            return
        self.own = own
        self.urgent = self.urgent or news(self.own) != news(self.shown)

    def next_version(self, strain: int) -> Record:
        """The record to publish now."""
        self.own = replace(self.own, seq=self.own.seq + 1, strain=strain)
        self.shown = self.own
        self.urgent = False
        return self.shown

    def accused(self, incarnation: int) -> list[Effect]:
        """Somebody suspects us in this incarnation."""
        if incarnation < self.own.incarnation:
            return []  # It does not know this run yet.
        if incarnation > self.own.incarnation:
            return self._outbid(incarnation)
        self.urgent = True  # A newer version refutes it.
        return []

    def claimed(self, record: Record) -> list[Effect]:
        """Somebody holds a record of our id: ours, an earlier run's, or a stranger's."""
        if self._is_ours(record):
            if version(record) <= version(self.shown):
                return []
            # Our own past, and ahead of us: the disk was put back to an earlier state.
            if record.incarnation > self.own.incarnation:
                return self._outbid(record.incarnation)
            if record.seq <= self.own.seq + LEAP_MAX:
                self.own = replace(self.own, seq=record.seq)
                self.urgent = True
            return []
        if record.incarnation < self.own.incarnation:
            return []  # What we were before the disk or the address changed.
        self.counters["duplicate_id"] += 1
        if self._jumps == JUMPS_MAX:
            return self._duplicate(record)
        return self._outbid(record.incarnation)

    def named(self, records: tuple[Record, ...]) -> list[Effect]:
        """A frame came in our name: our own, by way of a seed that is ourselves, or a stranger's."""
        for record in records:
            if record.node != self.own.node or flaw(record) or self._is_ours(record):
                continue
            if self.is_foreign(record):
                return self.met_foreign(record)
            self.counters["duplicate_id"] += 1
            return self._duplicate(record)
        return []

    def is_foreign(self, record: Record) -> bool:
        """Of another cluster. A node that belongs to none yet, ourselves included, is foreign to no one."""
        return bool(self.own.cluster and record.cluster and record.cluster != self.own.cluster)

    def met_foreign(self, record: Record) -> list[Effect]:
        """Told once for each cluster, on both sides."""
        self.counters["foreign"] += 1
        if record.cluster in self.foreign or len(self.foreign) == FOREIGN_MAX:
            return []
        at = f"{record.address}:{record.port}"
        self.foreign[record.cluster] = f"`{record.node}` at {at}"
        text = f"`{record.node}` at {at} is of cluster {record.cluster}, not of {self.own.cluster}: refused"
        return [Note("warning", text), Contact(at, Sync((self.shown,), reply=False))]

    def _outbid(self, incarnation: int) -> list[Effect]:
        if self._jumps == JUMPS_MAX or incarnation > self.own.incarnation + LEAP_MAX:
            return []  # Somebody answers each of our jumps with another, or claims what no disk of ours counted to.
        self._jumps += 1
        self.own = replace(self.own, incarnation=incarnation + 1)
        self.urgent = True
        text = f"others know `{self.own.node}` as incarnation {incarnation}; going on as {incarnation + 1}"
        return [Note("warning", text)]

    def _duplicate(self, record: Record) -> list[Effect]:
        if self._duplicate_told:
            return []
        self._duplicate_told = True
        at = f"{record.address}:{record.port}"
        text = f"the node at {at} calls itself `{self.own.node}`, as this one does"
        return [Note("error", text), Contact(at, Sync((self.shown,), reply=False))]

    def _is_ours(self, record: Record) -> bool:
        own = self.own
        return (record.store, record.address, record.port) == (own.store, own.address, own.port)
