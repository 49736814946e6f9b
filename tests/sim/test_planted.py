"""The simulator must bite: with one rule taken out, one of its checkers notices within a few hundred seeds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sim.checkers import FALSE
from tests.sim.cluster import Shape
from tests.sim.mixes import Mix
from tests.sim.planted import BUGS, DISK, THREE, Bug, Plant
from tests.sim.planted_controls import CONTROL_BUGS
from tests.sim.planted_copies import COPY_BUGS
from tests.sim.planted_lease import LEASE_BUGS
from tests.sim.planted_levels import LEVEL_BUGS
from tests.sim.planted_raising import RAISING
from tests.sim.planted_recovery import RECOVERY_BUGS
from tests.sim.planted_snapshots import SNAPSHOT_BUGS
from tests.sim.planted_stories import STORIES
from tests.sim.planted_voters import VOTER_BUGS
from tests.sim.scenario import Outcome, run_seed
from tests.sim.wrong import PlantRaised

pytestmark = pytest.mark.sim


ALL_BUGS = [*BUGS, *LEASE_BUGS, *SNAPSHOT_BUGS, *CONTROL_BUGS, *COPY_BUGS, *VOTER_BUGS, *RECOVERY_BUGS, *LEVEL_BUGS]


@pytest.mark.parametrize("bug", ALL_BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_planted_bug_is_caught(bug: Bug, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    bug.plant(monkeypatch)
    for seed in range(bug.first, bug.first + bug.seeds_max):
        outcome = bug.run(seed, bug.mix, bug.shape(seed))
        found = [each for each in outcome.verdicts if each.answer == FALSE and each.checker in bug.caught_by]
        if found:
            with capsys.disabled():
                print(f"\n  {bug.name}: caught by seed {seed}: {found[0]}", end="")
            return
    pytest.fail(f"{bug.name}: not caught within {bug.seeds_max} seeds")


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
@pytest.mark.parametrize("seed", range(1, 6))
def test_without_a_bug_the_story_ends_well(seed: int, story: Callable[[int, Mix, Shape], Outcome]) -> None:
    assert not story(seed, DISK, THREE(seed)).failed


@pytest.mark.parametrize("plant", RAISING, ids=lambda plant: plant.__name__)
def test_a_plant_that_raises_is_not_a_bug_that_was_caught(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(PlantRaised):
        run_seed(1, DISK, THREE(1))
