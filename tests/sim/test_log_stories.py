"""Stories of the log that chance alone would take too long to tell; each with the rule in place and taken out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mltb_transport.messages import Election
from mltbd.core.events import Received
from tests.sim.checkers import FALSE, Verdict, check_safety
from tests.sim.cluster import Cluster
from tests.sim.history import Voted
from tests.sim.planted import (
    old_terms_counted,
    one_entry_a_message,
    term_forgotten,
    vote_before_disk,
    vote_forgotten,
)
from tests.sim.stage import PATIENCE_S, around, healthy, leader, until, voters

pytestmark = pytest.mark.sim


def _last(cluster: Cluster, name: str) -> tuple[int, int]:
    """Index and term of the end of this node's log, as far as its disk has it."""
    node = cluster.machines[name].node
    assert node is not None
    return node.consensus.durable, node.consensus.log.term_at(node.consensus.durable)


def _cut(cluster: Cluster, *names: str) -> list[tuple[str, str]]:
    pairs = [pair for name in names for pair in around(cluster, name)]
    cluster.network.block(pairs)
    return pairs


def figure_eight(seed: int) -> list[Verdict]:
    """An entry of an old term reaches a majority, its leader falls before its own entry does, and another log wins.

    Raft, figure 8. `first` has an entry that one other knows; `second` has another at the same place; `first` is
    elected again and spreads its old entry; `second` is elected with the help of one that has just got it.
    """
    cluster = healthy(voters(5), seed)
    first = leader(cluster).name
    friend, *rest = [name for name in cluster.machines if name != first]
    mute = [(first, name) for name in rest]
    cluster.network.block(mute)
    cluster.ask(cluster.machines[first], "cancel_failback")
    old = (_last(cluster, friend)[0] + 1, leader(cluster).node.consensus.term)  # type: ignore[union-attr]
    until(cluster, lambda: _last(cluster, friend) >= old, "entry at the friend")
    away = _cut(cluster, first, friend)
    until(cluster, lambda: cluster.leader is not None and cluster.leader.name in rest, "second leader")
    second = leader(cluster).name
    alone = _cut(cluster, second)
    cluster.network.unblock(mute)
    until(cluster, lambda: _last(cluster, second)[1] > old[1], "own entry of the second leader")
    others = [name for name in rest if name != second]
    if any(_last(cluster, name)[0] >= old[0] for name in others):
        return []  # The second leader was heard: another story.
    cluster.network.unblock(away)
    until(cluster, lambda: any(_last(cluster, name) == old for name in others), "old entry at a third")
    third = next(name for name in others if _last(cluster, name) == old)
    _cut(cluster, third, *(name for name in cluster.machines if name not in (third, first)))
    reached = [(third, name) for name in (first, friend)]
    cluster.network.unblock(reached)  # Its answer arrives still.
    cluster.run_for(0.2)
    cluster.network.heal()
    _cut(cluster, first)
    _cut(cluster, friend)
    assert alone
    until(cluster, lambda: _leads_anew(cluster, (second, *others), old[1]), "leader of the rest", 2 * PATIENCE_S)
    cluster.network.heal()
    cluster.run_for(5.0)
    cluster.close()
    return check_safety(cluster.history, cluster.shape.lease_s)


def _leads_anew(cluster: Cluster, names: tuple[str, ...], term: int) -> bool:
    found = cluster.leader
    return found is not None and found.name in names and _last(cluster, found.name)[1] > term


def two_ask_one(seed: int) -> list[Verdict]:
    """A voter gives its vote, is killed as soon as the answer has left, and is asked by another in the same term."""
    cluster = healthy(voters(3), seed)
    voter = next(machine for machine in cluster.machines.values() if machine is not leader(cluster))
    first, second = [name for name in cluster.machines if name != voter.name]
    node = voter.node
    assert node is not None
    ask = Election(node.consensus.term + 5, "transfer", *_last(cluster, voter.name), 100)
    voter.arrives(Received(first, 50, node.cluster, ask))
    until(cluster, lambda: _voted(cluster, voter.name, ask.term) == [first], "vote for the first")
    voter.crash_daemon()
    until(cluster, lambda: voter.node is not None, "restart")
    voter.arrives(Received(second, 50, node.cluster, ask))
    cluster.run_for(10.0)
    cluster.close()
    return check_safety(cluster.history, cluster.shape.lease_s)


def _voted(cluster: Cluster, name: str, term: int) -> list[str]:
    return [h.candidate for h in cluster.history if isinstance(h, Voted) and (h.node, h.term) == (name, term)]


SEEDS = range(11, 23)


def test_one_vote_a_term() -> None:
    verdicts = [verdict for seed in SEEDS for verdict in two_ask_one(seed)]
    assert not [str(verdict) for verdict in verdicts if verdict.answer == FALSE]


@pytest.mark.parametrize("plant", [vote_forgotten, term_forgotten, vote_before_disk])
def test_one_vote_a_term_bites(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    found = [verdict for seed in SEEDS for verdict in two_ask_one(seed) if verdict.answer == FALSE]
    assert {verdict.checker for verdict in found} & {"votes stand", "terms never fall"}


def test_figure_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    one_entry_a_message(monkeypatch)
    verdicts = [verdict for seed in SEEDS for verdict in figure_eight(seed)]
    assert verdicts, "the story could not be told"
    assert not [str(verdict) for verdict in verdicts if verdict.answer == FALSE]


def test_figure_eight_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    old_terms_counted(monkeypatch)
    found = [verdict for seed in SEEDS for verdict in figure_eight(seed) if verdict.answer == FALSE]
    assert {verdict.checker for verdict in found} & {"committed is stable", "nothing broke"}
