"""What an outside observer writes down about one node: its log, its state, its reign and its word to others."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from mltb_transport.level import Level
from mltb_transport.messages import Answer, Append, AppendAnswer, Election, Entry, Message
from mltb_transport.pieces import PieceAnswer
from mltb_transport.plain import pack_plain
from mltbd.core.events import Recovered
from mltbd.core.level_rules import Speaks
from mltbd.core.node import Node
from mltbd.core.snapshots import Snapshot, restored
from mltbd.core.voting import LEADER
from mltbd.state.machine import State
from tests.sim.history import (
    Applied,
    AtLevel,
    Began,
    Deposed,
    Held,
    History,
    Kept,
    Leads,
    Raised,
    Speaking,
    Spoke,
    Voted,
    Vouched,
)


def digest(state: State) -> str:
    """Short, and different for different states; the places in clear."""
    places = " ".join(f"{name}:{p.owner}/{p.token}" for name, p in sorted(state.placements.by_workload.items()))
    return f"{places} {zlib.crc32(pack_plain(state.dump())):08x}"


class Observer:
    """One machine's. `began` at the start of each daemon, `look` after each of its events."""

    def __init__(self, name: str, real: Callable[[], float], history: History) -> None:
        self.leads = False
        self._name = name
        self._real = real
        self._history = history
        self._fresh: list[Entry] = []
        self._snapshot: Snapshot | None = None
        self._spoken: dict[str, int] = {}
        self._level = 0
        self._raised: set[tuple[int, int]] = set()

    def began(self, recovered: Recovered, speaks: Speaks) -> None:
        at, name = self._real(), self._name
        self._history.append(Speaking(at, name, speaks.oldest, speaks.newest))
        self._history.append(
            Began(
                at, name, recovered.incarnation, recovered.store, recovered.term, recovered.vote, recovered.last_index
            )
        )
        self._history.append(Held(at, name, recovered.entries, recovered.base or (0, 0)))
        self._fresh, self._snapshot, self._level = [], None, 0
        if recovered.snapshot is not None:
            self._kept(recovered.snapshot)

    def follow(self, node: Node) -> None:
        """See each entry as it is applied: the log may have forgotten it by the time of the next look."""
        apply = node.state.apply

        def applied(entry: Entry) -> None:
            apply(entry)
            self._fresh.append(entry)

        node.state.apply = applied  # type: ignore[method-assign]

    def look(self, node: Node) -> None:
        log = node.consensus.log
        if self._fresh:
            last = digest(node.state)
            for entry in self._fresh:
                shown = last if entry is self._fresh[-1] else ""
                self._history.append(Applied(self._real(), self._name, node.consensus.term, entry, shown))
            self._fresh = []
        if node.levels.level != self._level:
            self._level = node.levels.level
            self._history.append(AtLevel(self._real(), self._name, node.state.applied, self._level))
        leads = node.consensus.role == LEADER
        if leads != self.leads:
            self.leads = leads
            if leads:
                base = (log.base_index, log.base_term)
                self._history.append(Leads(self._real(), self._name, node.consensus.term, log.after(0), base))
            else:
                self._history.append(Deposed(self._real(), self._name))
        if log.snapshot is not None and log.snapshot is not self._snapshot:
            self._kept(log.snapshot)

    def _kept(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        shown = digest(restored(snapshot))
        self._history.append(Kept(self._real(), self._name, snapshot.index, snapshot.term, shown))

    def deposed(self) -> None:
        """The daemon is gone."""
        if self.leads:
            self.leads = False
            self._history.append(Deposed(self._real(), self._name))

    def hold_still(self, node: Node) -> None:
        """Write down the log as it is now."""
        log = node.consensus.log
        self._history.append(Held(self._real(), self._name, log.after(0), (log.base_index, log.base_term)))

    def listen(self, node: Node, store: str, to: str, message: Message) -> None:
        """What leaves this node."""
        match message:
            case Append(term=term, entries=entries):
                self._look_for_rises(term, entries)
            case AppendAnswer(term=term):
                pass
            case Election(term, stage):
                if stage not in ("vote", "transfer"):
                    return
                self._history.append(Voted(self._real(), self._name, term, self._name, store))
            case Answer(term, stage, granted):
                if not granted or stage not in ("vote", "transfer"):
                    return
                self._history.append(Voted(self._real(), self._name, term, to, store))
            case PieceAnswer():
                held = node.consensus.log.snapshot
                if held is not None and (message.digest, message.offset) == (held.digest, len(held.data)):
                    self._history.append(Vouched(self._real(), self._name, store, held.index))
                return
            case _:
                return
        if term > self._spoken.get(store, 0):
            self._spoken[store] = term
            self._history.append(Spoke(self._real(), self._name, store, term))

    def _look_for_rises(self, term: int, entries: tuple[Entry, ...]) -> None:
        """A leader's own; those of its predecessors it only passes on."""
        for entry in entries:
            if isinstance(entry.command, Level) and entry.term == term and (entry.index, term) not in self._raised:
                self._raised.add((entry.index, term))
                self._history.append(Raised(self._real(), self._name, entry.index, entry.command.level))
