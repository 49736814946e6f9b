"""What must hold in every state, whatever led to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

from mltb_transport.messages import Entry, Founding
from mltb_transport.voters import ChangeVoters
from mltbd.core import quorum
from tests.explore.member import View
from tests.sim.wrong import Wrong


@dataclass(frozen=True, slots=True)
class Ghost:
    """What was once true, for ever: who led which term; what was committed, and in which term that was first known."""

    leaders: tuple[tuple[int, str], ...]
    committed: tuple[tuple[Entry, int], ...]


NOBODY = Ghost((), ())


class Rules:
    """`look` judges the member at `place`, which has just changed, against all others and the past.

    Members and pasts go by their numbers, so that what was judged once is not judged again.
    """

    def __init__(self, nodes: tuple[str, ...], views: list[View]) -> None:
        self._nodes = nodes
        self._views = views
        self._ghosts = [NOBODY]
        self._ghost: dict[Ghost, int] = {NOBODY: 0}
        self._judged: dict[tuple[int, int], int] = {}
        self._match: set[tuple[int, int]] = set()

    def look(self, ghost: int, place: int, members: Sequence[int]) -> int:
        """The past with what is new. Raises Wrong."""
        number = members[place]
        after = self._judged.get((ghost, number))
        if after is None:
            node, view, past = self._nodes[place], self._views[number], self._ghosts[ghost]
            _quorums_intersect(node, view.log)
            if view.leads:
                past = _one_leader_per_term(past, node, view)
            fresh = _committed_stands(past, node, view)
            if fresh:
                self._is_on_disk(node, view, fresh, members)
                past = replace(past, committed=(*past.committed, *((entry, view.term) for entry in fresh)))
            if view.leads:
                _leaders_know_what_is_committed(past, node, view)
            after = self._ghost.setdefault(past, len(self._ghosts))
            if after == len(self._ghosts):
                self._ghosts.append(past)
            if not fresh:  # Else the others have a say in it.
                self._judged[ghost, number] = after
        runs = [name for name, member in zip(self._nodes, members, strict=True) if self._views[member].runs]
        if len(runs) > 1:
            raise Wrong(f"one at a time: it runs on {' and '.join(runs)}")
        for other in members:
            if other != number and (number, other) not in self._match:
                _logs_match(self._views[number].log, self._views[other].log)
                self._match.add((number, other))
        return after

    def _is_on_disk(self, node: str, view: View, fresh: tuple[Entry, ...], members: Sequence[int]) -> None:
        """What becomes committed is on the disks of a quorum."""
        holds = []
        for name, member in zip(self._nodes, members, strict=True):
            if self._views[member].disk[fresh[-1].index - 1 : fresh[-1].index] == fresh[-1:]:
                holds.append(name)
        if not quorum.reached(view.voters, holds):
            raise Wrong(f"committed is on disk: {node} takes {fresh[-1]} for committed, only {holds} have it")


def _committed_stands(ghost: Ghost, node: str, view: View) -> tuple[Entry, ...]:
    """What is committed is never replaced. What is committed only now."""
    known = ghost.committed
    for entry, (before, _) in zip(view.log[: view.commit], known, strict=False):
        if entry != before:
            raise Wrong(f"committed is stable: {node} has {entry} committed, before that it was {before}")
    return view.log[len(known) : view.commit]


def _one_leader_per_term(ghost: Ghost, node: str, view: View) -> Ghost:
    led = (view.term, node)
    if led in ghost.leaders:
        return ghost
    for term, other in ghost.leaders:
        if term == view.term:
            raise Wrong(f"one leader per term: {other} and {node} both lead term {term}")
    return replace(ghost, leaders=tuple(sorted((*ghost.leaders, led))))


def _leaders_know_what_is_committed(ghost: Ghost, node: str, view: View) -> None:
    """One that was elected before, and only now counts its votes, need not know of later terms."""
    for place, (entry, term) in enumerate(ghost.committed):
        if term < view.term and view.log[place : place + 1] != (entry,):
            raise Wrong(f"committed is stable: {node} leads term {view.term} without {entry}, committed in term {term}")


def _logs_match(one: tuple[Entry, ...], other: tuple[Entry, ...]) -> None:
    """Same index and term: same entry, and the same before it."""
    for place in range(min(len(one), len(other)) - 1, -1, -1):
        if one[place].term == other[place].term:
            if one[: place + 1] != other[: place + 1]:
                raise Wrong(f"logs match: {one[: place + 1]} and {other[: place + 1]}")
            return


def _quorums_intersect(node: str, log: Sequence[Entry]) -> None:
    """Every quorum of one set of voters meets every quorum of the next."""
    sets = [
        tuple(voter.node for voter in entry.command.voters)
        for entry in log
        if isinstance(entry.command, Founding | ChangeVoters)
    ]
    for before, after in pairwise(sets):
        for one in combinations(before, quorum.needed(len(before))):
            for other in combinations(after, quorum.needed(len(after))):
                if not set(one) & set(other):
                    raise Wrong(f"quorums intersect: {one} of {before} and {other} of {after}, in the log of {node}")
