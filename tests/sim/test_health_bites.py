"""The stories about health must bite: with one rule taken out, one of them fails."""

from __future__ import annotations

import pytest

from mltbd.core import failover, retreat
from mltbd.core.events import Checked
from mltbd.core.health import UNHEALTHY, Health, Streak
from mltbd.core.outbox import Outbox
from mltbd.core.owner import Owner
from mltbd.core.workload import Workload
from mltbd.state import placements
from mltbd.state.placements import Placement
from tests.sim import test_health_stories as stories
from tests.sim.bites import Plant, Story, fails_without

pytestmark = pytest.mark.sim


def condemns_at_once(patch: pytest.MonkeyPatch) -> None:
    """No hysteresis: the first bad answer is the verdict."""
    heard = Streak.heard

    def hasty(self: Streak, report: Checked, now: float) -> None:
        heard(self, report, now)
        if not report.ok:
            self.verdict = UNHEALTHY

    patch.setattr(Streak, "heard", hasty)


def believes_old_news(patch: pytest.MonkeyPatch) -> None:
    """A result is taken for one of the present run, whichever was looked at."""
    checked = Owner.checked

    def credulous(self: Owner, report: Checked, now: float, wall: int) -> None:
        workload = self.workloads[report.workload]
        checked(self, Checked(report.workload, report.check, report.ok, "", workload.token, workload.pid), now, wall)

    patch.setattr(Owner, "checked", credulous)


def old_verdict_kept(patch: pytest.MonkeyPatch) -> None:
    """A new run begins with the verdict on the last one."""
    patch.setattr(Health, "begin", lambda _self, _workload, _now: None)


def lasting_is_good_health(patch: pytest.MonkeyPatch) -> None:
    """A run that lasts counts as a good one, deaf or not."""
    patch.setattr(Health, "watched", lambda _self, _workload: False)


def deaf_runs_are_no_failures(patch: pytest.MonkeyPatch) -> None:
    """An ended deaf run counts as a stop: it is started anew for ever."""

    def ail(self: Workload, _why: str, wall: int, out: Outbox) -> None:
        self.stop(wall, out)

    patch.setattr(Workload, "ail", ail)


def never_spent(patch: pytest.MonkeyPatch) -> None:
    """However many owners have failed, another one is tried."""
    patch.setattr(failover, "spent", lambda _placement, _attempts_max: False)


def back_and_back_again(patch: pytest.MonkeyPatch) -> None:
    """The way back may be gone again and again."""
    patch.setattr(failover, "way_back", lambda placement: placement.proven)
    patch.setattr(retreat, "way_back", lambda placement: placement.proven)


def no_way_back(patch: pytest.MonkeyPatch) -> None:
    """Nobody remembers where it was well."""
    patch.setattr(failover, "way_back", lambda _placement: "")
    patch.setattr(retreat, "way_back", lambda _placement: "")


def in_circles(patch: pytest.MonkeyPatch) -> None:
    """Who failed with it is as good as who has not tried it."""
    patch.setattr(Placement, "failed_on", property(lambda _self: ()))


def unforgiving(patch: pytest.MonkeyPatch) -> None:
    """Good health makes up for nothing."""
    patch.setattr(placements.Placements, "_settled", lambda _self, _command: None)


def no_pardon(patch: pytest.MonkeyPatch) -> None:
    """Nodes that failed cool off even when nothing is tried any more."""
    patch.setattr(Workload, "pardon", lambda _self: None)


def deaf_everywhere() -> None:
    stories.test_deaf_everywhere_it_is_tried_everywhere_and_then_left_alone(1)


STORIES: list[tuple[Plant, Story]] = [
    (condemns_at_once, lambda: stories.test_one_bad_answer_moves_nothing(1)),
    (believes_old_news, lambda: stories.test_deaf_for_a_while_it_is_restarted_where_it_is_and_once(1)),
    (old_verdict_kept, lambda: stories.test_deaf_for_a_while_it_is_restarted_where_it_is_and_once(1)),
    (lasting_is_good_health, lambda: stories.test_deaf_on_one_node_it_moves_after_three_tries(1)),
    (deaf_runs_are_no_failures, lambda: stories.test_deaf_on_one_node_it_moves_after_three_tries(1)),
    (never_spent, deaf_everywhere),
    (back_and_back_again, deaf_everywhere),
    (no_way_back, lambda: stories.test_the_way_back_is_to_where_it_is_well(1)),
    (in_circles, deaf_everywhere),
    (unforgiving, lambda: stories.test_the_way_back_is_to_where_it_is_well(1)),
    (no_pardon, lambda: stories.test_an_operator_need_not_wait_for_anything_to_cool_off(1)),
]


@pytest.mark.parametrize(("plant", "story"), STORIES, ids=[plant.__name__ for plant, _ in STORIES])
def test_story_fails_without_its_rule(plant: Plant, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_without(plant, story, monkeypatch)
