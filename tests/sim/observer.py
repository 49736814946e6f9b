"""What one machine says and comes to believe, written into the history as it happens."""

from __future__ import annotations

from collections.abc import Callable

from mltb_transport.messages import Answer, Append, AppendAnswer, Election, Message
from mltbd.core.node import Node
from mltbd.core.voting import LEADER
from tests.sim.history import Applied, Deposed, History, Leads, Spoke, Voted


class Observer:
    """Stands beside one machine for its whole life."""

    def __init__(self, name: str, real: Callable[[], float], history: History) -> None:
        self.leads = False
        self.applied = 0
        self._name = name
        self._real = real
        self._history = history
        self._spoken: dict[str, int] = {}

    def spoke(self, store: str, to: str, message: Message) -> None:
        """It sends this: a promise, perhaps."""
        match message:
            case Append(term=term) | AppendAnswer(term=term):
                pass
            case Election(term, stage):
                if stage not in ("vote", "transfer"):
                    return
                self._history.append(Voted(self._real(), self._name, term, self._name))
            case Answer(term, stage, granted):
                if not granted or stage not in ("vote", "transfer"):
                    return
                self._history.append(Voted(self._real(), self._name, term, to))
            case _:
                return
        if term > self._spoken.get(store, 0):
            self._spoken[store] = term
            self._history.append(Spoke(self._real(), self._name, store, term))

    def look(self, node: Node) -> None:
        """After each event."""
        leads = node.consensus.role == LEADER
        if leads != self.leads:
            self.leads = leads
            if leads:
                log = node.consensus.log.after(0)
                self._history.append(Leads(self._real(), self._name, node.consensus.term, log))
            else:
                self._history.append(Deposed(self._real(), self._name))
        if node.state.applied != self.applied:
            self._applied(node)

    def _applied(self, node: Node) -> None:
        last = node.state.applied
        for index in range(self.applied + 1, last + 1):
            entry = node.consensus.log.entry(index)
            digest = repr(sorted(node.state.placements.by_workload.items())) if index == last else ""
            self._history.append(Applied(self._real(), self._name, node.consensus.term, entry, digest))
        self.applied = last
