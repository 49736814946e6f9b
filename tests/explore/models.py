"""From where the exploration begins, and how far it goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from mltb_transport.messages import Entry, Founding, NoOp
from mltb_transport.voters import Voter
from tests.explore.search import Bounds, Search, State

NODES = ("n1", "n2", "n3")
PAIR = ("n1", "n2")
WIDER = int(os.environ.get("MLTB_EXPLORE", "1"))
"""How many times as many states are looked at as in a test run."""


@dataclass(frozen=True, slots=True)
class Model:
    """`begin` plays what lies before; everything that can follow within `bounds` is looked at."""

    name: str
    begin: Callable[[Search], State]
    bounds: Bounds
    voters: tuple[str, ...] = NODES
    whole: bool = False
    """There are so few states that every run must see them all."""
    states: int = 60_000

    @property
    def states_max(self) -> int:
        return self.states * WIDER

    def search(self) -> Search:
        founding = Founding("cluster", "mltb", tuple(Voter(node, f"disk-{node}") for node in self.voters))
        search = Search(NODES, (Entry(1, 1, 0, founding),), self.bounds)
        search.start = self.begin(search)
        return search


def founded(search: Search) -> State:
    """All hold the founding entry, and nobody leads yet."""
    return search.start


def led(search: Search) -> State:
    """n1 leads, and everybody knows all there is."""
    return search.settle(search.take(search.start, search.does("stand", "n1")))


def elected(search: Search, state: State, node: str, voter: str) -> State:
    """`node` leads by the vote of this one; what it writes then is on its way."""
    state = search.take(state._replace(net=0), search.does("stand", node))
    while not search.view(state, node).leads:
        saves = [search.does("saved", each) for each in (node, voter) if search.view(state, each).saves]
        state = search.take(state, next(iter(saves or search.between(state, node, voter))))
    return state


def forked(search: Search) -> State:
    """As in figure 8 of Raft: n1 and n3 each hold an entry that nobody else has, of two terms, and follow nobody."""
    state = search.take(led(search), search.does("propose", "n1", NoOp(cause="of a client")))
    state = elected(search, state, "n3", "n2")._replace(net=0)
    for event in (search.does("crash", "n3"), search.does("crash", "n1"), search.does("stand", "n1")):
        state = search.take(state, event)
    return state._replace(net=0)


def half_changed(search: Search) -> State:
    """n1 has asked n3 to be the third voter and died before it had that on its own disk. n2 leads now and never heard
    of it; nothing of its term is committed. n3 has stood in vain."""
    state = search.take(led(search), search.does("add", "n1", "n3"))
    state = search.take(state, next(search.between(state, "n1", "n3")))
    state = search.take(state, search.does("saved", "n3"))
    state = search.take(state, search.does("crash", "n1"))
    for event in (search.does("stand", "n3"), search.does("saved", "n3")):
        state = search.take(state, event)
    return elected(search, state, "n2", "n1")._replace(net=0)


MODELS = (
    Model("two elections", founded, Bounds(2), whole=True),
    Model("one election, pre-votes, a message twice", founded, Bounds(1, duplicates=1, pre_votes=True), whole=True),
    Model("one election, a crash, a slow disk", founded, Bounds(1, crashes=1, disk_lags=True), whole=True),
    Model("two elections, a crash, a slow disk", founded, Bounds(2, crashes=1, disk_lags=True)),
    Model("another leader, a crash, a slow disk", led, Bounds(1, crashes=1, disk_lags=True), whole=True),
    Model("another leader, an entry", led, Bounds(1, 1)),
    Model("another leader, an entry, a crash", led, Bounds(1, 1, 1), states=40_000),
    Model("another leader, two entries, a message twice", led, Bounds(1, 2, duplicates=1), states=40_000),
    Model("logs that forked, two elections", forked, Bounds(2), whole=True),
    Model("a change of the voters, another leader", led, Bounds(1, changes=1), whole=True, states=150_000),
    Model("two changes of the voters, another leader", led, Bounds(1, changes=2)),
    Model("two voters and a third, a crash, a slow disk", led, Bounds(1, 0, 1, 1, disk_lags=True), PAIR),
    Model("half a change, another leader", half_changed, Bounds(1, changes=1, disk_lags=True), PAIR),
)
