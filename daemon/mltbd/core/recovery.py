"""Going on alone when the majority is lost for good: unsafe, and only an operator may ask for it.

What this node has becomes a new cluster of one voter. It has an identity of its own, so whoever was left behind and
comes back is refused by it, and refuses it. Its terms and indexes lie far beyond all that the lost nodes can have
given out, so no token and no term is ever given twice.
"""

from __future__ import annotations

from mltb_transport.messages import Entry
from mltb_transport.voters import ChangeVoters, Voter
from mltbd.core.effects import Save
from mltbd.core.events import Recovered
from mltbd.core.snapshots import Snapshot, restored
from mltbd.state.machine import State

INDEX_LEAP = 1 << 32
TERM_LEAP = 1 << 20


class NothingToRecover(Exception):
    """This disk cannot, or need not, go on alone. Says why."""


def replayed(found: Recovered) -> State:
    """All that this disk has, the entries of which nobody knows whether they were committed included.

    Raises NothingToRecover.
    """
    state = restored(found.snapshot)
    for entry in found.entries:
        if entry.index > state.applied:
            state.apply(entry)
    if not state.cluster:
        raise NothingToRecover("this node never belonged to a cluster")
    return state


def alone(found: Recovered, me: str, cluster: str, wall: int) -> Save:
    """What to write to disk so that the next run leads a cluster of itself. `cluster`: its new identity.

    Raises NothingToRecover, and SnapshotError when the state is too large for a snapshot.
    """
    state = replayed(found)
    voter = Voter(me, found.store)
    if state.voters == (voter,) and not state.removals.has(me, found.store):
        raise NothingToRecover(f"{me} is the only voter already: start it")
    term = found.term + TERM_LEAP
    reason = f"cluster {state.cluster} was given up"
    command = ChangeVoters((voter,), "recovered", me, found.store, reason)
    state.apply(Entry(state.applied + 1, term, wall, command))
    state.applied += INDEX_LEAP
    state.cluster = cluster
    snapshot = Snapshot.take(state.applied, term, cluster, state.voters, state.dump(), state.levels.level)
    return Save(1, term, "", (), snapshot, (snapshot.index, snapshot.term))
