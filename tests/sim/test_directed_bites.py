"""The stories told on purpose must bite as well: with its rule taken out, each one fails."""

from __future__ import annotations

import pytest

from mltbd.core.consensus import Consensus
from mltbd.core.election import PRE, PROBE, VOTE
from mltbd.core.leadership import Leadership, OwnDisk
from mltbd.core.owner import Owner
from mltbd.core.placer import Placer
from mltbd.core.voting import CANDIDATE
from mltbd.core.workload import Workload
from mltbd.state.placements import Placement
from tests.sim import test_directed as stories
from tests.sim.bites import Plant, Story, fails_without
from tests.sim.planted import veto_by_priority

pytestmark = pytest.mark.sim


def no_pre_vote(patch: pytest.MonkeyPatch) -> None:
    """Who misses the leader stands at once, in a new term."""
    stand = Consensus._stand

    def boldly(self: Consensus, stage: str, now: float, wall: int) -> None:
        stand(self, VOTE if stage == PRE else stage, now, wall)

    patch.setattr(Consensus, "_stand", boldly)


def leads_without_quorum(patch: pytest.MonkeyPatch) -> None:
    """A leader that nobody answers goes on and on."""
    reign_on = Consensus._reign_on

    def stubborn(self: Consensus, reign: Leadership, now: float, wall: int) -> None:
        reign.confirmed_at = now
        reign_on(self, reign, now, wall)

    patch.setattr(Consensus, "_reign_on", stubborn)


def leads_without_its_disk(patch: pytest.MonkeyPatch) -> None:
    """A leader looks at its quorum, and never at its own disk."""
    patch.setattr(OwnDisk, "look", lambda _self, _commit, _durable, _now, *, wrote: None)  # noqa: ARG005


def never_forgives_its_disk(patch: pytest.MonkeyPatch) -> None:
    """To a leader a disk that writes slowly is one that does not write."""

    def nagging(self: OwnDisk, commit: int, durable: int, now: float, *, wrote: bool) -> None:  # noqa: ARG001
        self.passed_at = min(self.passed_at, now) if commit > durable else self.passed_at

    patch.setattr(OwnDisk, "look", nagging)


def promises_to_the_deaf(patch: pytest.MonkeyPatch) -> None:
    """A leader confirms the renewals of an owner that cannot hear it."""
    patch.setattr(Placer, "_hears_us", lambda _self, _node, _now: True)


def looks_only_at_heartbeats(patch: pytest.MonkeyPatch) -> None:
    """A leader looks at its quorum only when no renewal put its heartbeat off."""
    patch.setattr(
        Consensus,
        "next_deadline",
        lambda self: (
            self._heartbeat_at
            if self.reign is not None
            else self._stand_at
            if self._stand_at is not None
            else self.heard_at + self.timing.election_s
        ),
    )


def adopts_nothing(patch: pytest.MonkeyPatch) -> None:
    """A new daemon stops what its predecessor ran."""
    follow = Owner._follow

    def distrust(self: Owner, workload: Workload, placement: Placement, applied: int, now: float, wall: int) -> None:
        if (workload.name, workload.token) in self._adopted:
            workload.stop(wall, self._out)
        follow(self, workload, placement, applied, now, wall)

    patch.setattr(Owner, "_follow", distrust)


def probe_forgets_the_leader(patch: pytest.MonkeyPatch) -> None:
    """Who is told to stand and asks around behaves as if it had no leader; the next heartbeat ends that."""
    stand = Consensus._stand

    def hastily(self: Consensus, stage: str, now: float, wall: int) -> None:
        if stage == PROBE:
            self.role, self.leader = CANDIDATE, ""
        stand(self, stage, now, wall)

    patch.setattr(Consensus, "_stand", hastily)


def leaders_leave() -> None:
    for seed in range(1, 31):  # Whether answers or a heartbeat come first is a race.
        stories.test_leaving_leader_passes_the_lead_on(seed, 5, 3.0, same=True)


STORIES: list[tuple[Plant, Story]] = [
    (no_pre_vote, lambda: stories.test_isolated_follower_comes_back_quietly(1)),
    (leads_without_quorum, lambda: stories.test_deaf_leader_is_replaced(1)),
    (leads_without_its_disk, lambda: stories.test_leader_whose_disk_hangs_is_replaced(1, 3, 3.0)),
    (never_forgives_its_disk, lambda: stories.test_slow_disks_keep_the_leader(1, 3, 1.0, same=False)),
    (veto_by_priority, lambda: stories.test_star_elects_its_hub(1)),
    (promises_to_the_deaf, lambda: stories.test_deaf_owner_loses_the_workload(1, same=False)),
    (looks_only_at_heartbeats, lambda: stories.test_deaf_owner_loses_the_workload(1, same=True)),
    (probe_forgets_the_leader, leaders_leave),
    (adopts_nothing, lambda: stories.test_daemon_crash_keeps_the_workload(1, 3, 3.0, same=False)),
]


@pytest.mark.parametrize(("plant", "story"), STORIES, ids=[plant.__name__ for plant, _ in STORIES])
def test_story_fails_without_its_rule(plant: Plant, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_without(plant, story, monkeypatch)
