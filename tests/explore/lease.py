"""The lease under exploration: three whole Nodes and their guards, and a clock that moves for all in whole steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mltb_transport.messages import Entry, Founding
from mltb_transport.voters import Voter
from tests.explore.holder import Holder
from tests.explore.models import NODES, WIDER, elected
from tests.explore.search import AGAIN, DOES, Bounds, Search, State


class LeaseSearch(Search):
    """As Search. An event of all members at once, `pass`: one step of time."""

    def __init__(self, nodes: tuple[str, ...], log: tuple[Entry, ...], bounds: Bounds, preferred: str) -> None:
        self._preferred = preferred
        self.cut_off = ""
        """What this one says and what it is told is lost."""
        super().__init__(nodes, log, bounds)

    def _member(self, node: str, log: tuple[Entry, ...]) -> Holder:
        return Holder(node, self.nodes, log, self._preferred)

    def take(self, state: State, event: int) -> State:
        if event < DOES or self._doings[event - DOES].what != "pass":
            state = super().take(state, event)
            lost = self.between(state, *self.nodes) if self.cut_off else ()
            return state._replace(
                net=state.net - sum(1 << number for number in lost if self.cut_off in self.ends(number))
            )
        for node in self.nodes:
            state = super().take(state, self.does("moves on", node))
        left = state.left
        return state._replace(left=(*left[:-1], left[-1] - 1))

    def events(self, state: State) -> Iterator[int]:
        elections, _, crashes, _, duplicates, moments = state.left
        for number in self.between(state, *self.nodes):
            yield number
            if duplicates:
                yield number + AGAIN
        if moments:
            yield self.does("pass", "all")
        for node, member in zip(self.nodes, state.members, strict=True):
            view = self.views[member]
            if view.beats:
                yield self.does("beat", node)
            if view.asks:
                yield self.does("ask", node)
            if view.ends:
                yield self.does("ended", node)
            if elections and view.may_stand and not view.leads:
                yield self.does("stand", node)
            if crashes:
                yield self.does("crash", node)


@dataclass(frozen=True, slots=True)
class LeaseModel:
    """n1 leads, and the workload runs on `owner`, whose lease has just been confirmed. Then `wait` steps of time go
    by, and `heir` is elected by n3, if there is one; nobody else has heard of it."""

    name: str
    owner: str
    bounds: Bounds
    heir: str = ""
    wait: int = 0
    cut_off: str = ""
    states: int = 10_000

    @property
    def states_max(self) -> int:
        return self.states * WIDER

    def search(self) -> Search:
        founding = Founding("cluster", "mltb", tuple(Voter(node, f"disk-{node}") for node in NODES))
        search = LeaseSearch(NODES, (Entry(1, 1, 0, founding),), self.bounds, self.owner)
        state = search.take(search.start, search.does("pass", "all"))
        state = search.settle(search.take(state, search.does("stand", "n1")))
        state = search.take(state, search.does("pass", "all"))
        state = search.settle(search.take(state, search.does("beat", "n1")))
        if search.view(state, self.owner).runs == 0:
            raise AssertionError(f"{self.owner} was to run the workload")
        for _ in range(self.wait):
            state = search.take(state, search.does("pass", "all"))
        search.start = elected(search, state, self.heir, "n3") if self.heir else state
        search.cut_off = self.cut_off
        return search


LEASE_MODELS = (
    LeaseModel("the owner led, another leads", "n1", Bounds(0, moments=4), "n2", 1),
    LeaseModel("the owner led and is cut off", "n1", Bounds(0, moments=4), "n2", 1, "n1", states=40_000),
    LeaseModel("the owner follows, another leads", "n2", Bounds(0, moments=4), "n2", 1),
    LeaseModel("the owner is cut off from its leader", "n2", Bounds(0, moments=4), cut_off="n2", states=30_000),
    LeaseModel("the owner is cut off, a daemon crashes", "n2", Bounds(0, crashes=1, moments=4), cut_off="n2"),
)
