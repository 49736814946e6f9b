"""Planted bugs in the change of voters; the same idea as planted.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mltb_transport.voters import ChangeVoters
from mltbd.core import quorum, voter_rules
from mltbd.core.consensus import Consensus
from mltbd.core.leadership import Leadership
from mltbd.core.voter_desk import VoterDesk
from tests.sim.cluster import Shape
from tests.sim.mixes import Mix
from tests.sim.planted import Bug, wiped_disk_votes
from tests.sim.planted_stories import half_filled
from tests.sim.scenario import draw_shape

UNSAFE = ("committed is stable", "nothing broke", "one leader per term", "one at a time", "logs match")
CHANGES = Mix(
    {"join": 4, "remove": 4, "promote": 4, "admit": 4, "crash_daemon": 3, "isolate": 4, "split": 6, "dethrone": 3,
     "ask": 2, "one_way": 1, "crash_machine": 1, "lag": 1, "slow_disk": 2},
    pause_s=(0.05, 0.8), duration_s=30.0, back_s=(0.3, 4.0),
)  # fmt: skip


def growing(*roles: str, late: int = 0) -> Callable[[int], Shape]:
    """A cluster of equals, some of which come later."""

    def shape(seed: int) -> Shape:
        return replace(draw_shape(seed), roles=roles, priorities=(100,) * len(roles), lease_s=1.0, late=late)

    return shape


FOUR = growing(*("voter",) * 4)
FIVE_LATER = growing(*("voter",) * 5, late=2)


def two_at_once(patch: pytest.MonkeyPatch) -> None:
    """A second change begins while the first is not committed."""

    def may_change(self: Consensus, command: ChangeVoters) -> bool:
        after = {voter.node: voter.store for voter in command.voters}
        return self.in_charge and voter_rules.may_change(self.voters, after)

    patch.setattr(Consensus, "may_change", may_change)
    patch.setattr(VoterDesk, "_settled", True)
    patch.setattr(VoterDesk, "current", property(lambda self: self._consensus.in_charge))


def before_own_term(patch: pytest.MonkeyPatch) -> None:
    """A leader changes the voters before an entry of its own term is committed: told in test_directed_voters.py."""

    def may_change(self: Consensus, command: ChangeVoters) -> bool:
        after = {voter.node: voter.store for voter in command.voters}
        return self.log.voters_index <= self.commit and voter_rules.may_change(self.voters, after)

    patch.setattr(Consensus, "may_change", may_change)
    patch.setattr(VoterDesk, "current", property(lambda self: self._consensus.reign is not None))
    patch.setattr(voter_rules.Sum, "holds", True)  # So young a leader has no answers yet.


def quorum_of_the_visible(patch: pytest.MonkeyPatch) -> None:
    """A candidate asks for the votes of those only whom gossip sees."""
    stand = Consensus._stand

    def stand_among_friends(self: Consensus, stage: str, now: float, wall: int) -> None:
        stand(self, stage, now, wall)
        if self._tally is not None:
            near = {self.me, *self._company.rivals(now)}
            self._tally.voters = {node: store for node, store in self._tally.voters.items() if node in near}
            self._proceed(now, wall)

    patch.setattr(Consensus, "_stand", stand_among_friends)


def wiped_disk_counts(patch: pytest.MonkeyPatch) -> None:
    """What a wiped voter acknowledges counts as if it had never lost anything, and its vote as well."""
    patch.setattr(Leadership, "counts", lambda self, node: node in self.peers and node in self.voters)
    wiped_disk_votes(patch)


def removed_still_counts(patch: pytest.MonkeyPatch) -> None:
    """A node that was taken out of the voters still acknowledges for them."""

    def agreed_index(self: Leadership, durable: int) -> int:
        held = {node: peer.match_index for node, peer in self.peers.items()} | {self.me: durable}
        highest = sorted(held.values(), reverse=True)
        need = quorum.needed(len(self.voters), self.quorum_size)
        return highest[need - 1] if len(highest) >= need else 0

    patch.setattr(Leadership, "agreed_index", agreed_index)
    patch.setattr(VoterDesk, "_drop_gone", lambda _self, _now: None)


VOTER_BUGS = (
    Bug("two changes at once", two_at_once, UNSAFE, CHANGES, FIVE_LATER, first=115),
    Bug("quorum of the visible", quorum_of_the_visible, UNSAFE, CHANGES),
    Bug("wiped disk counts", wiped_disk_counts, ("committed is stable",), run=half_filled),
    Bug("removed still counts", removed_still_counts, UNSAFE, CHANGES, FOUR),
)
