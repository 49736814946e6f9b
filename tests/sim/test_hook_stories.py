"""Hooks in the simulator: part of the run and of its lease; a veto is a failed try; what they did is in the log."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltb_transport.supervision import Hooked
from mltbd.core.events import GuardSays
from mltbd.core.hook_log import HookLog
from mltbd.core.owner import Owner
from mltbd.core.retreat import has_failed
from mltbd.core.workload import Workload
from mltbd.state.placements import Placements
from tests.sim.bites import Plant, Story, fails_without
from tests.sim.checks import strict
from tests.sim.cluster import WORKLOAD, Cluster, Shape
from tests.sim.faults import Faults
from tests.sim.guard import Guard
from tests.sim.history import Applied
from tests.sim.mixes import Mix
from tests.sim.scenario import draw_shape
from tests.sim.stage import all_safe, around, downs, leader, owner, until, ups, voters
from tests.sim.test_health_stories import placement

pytestmark = pytest.mark.sim

FAULTY_S = 26.0
by_seed = pytest.mark.parametrize("seed", range(1, 5))


def hooked(shape: Shape, seed: int, pre_start_s: float = 0.4, post_stop_s: float = 0.4) -> Cluster:
    """Running, with hooks on every node."""
    cluster = Cluster(shape, seed)
    for machine in cluster.machines.values():
        machine.guard.pre_start_s, machine.guard.post_stop_s = pre_start_s, post_stop_s
    cluster.power_on()
    until(cluster, lambda: bool(cluster.settled and placement(cluster).started), "a running workload")
    cluster.run_for(2.0)
    return cluster


def told(cluster: Cluster, since: float) -> list[Hooked]:
    """Reports of hooks in the log, each entry once, in order."""
    found: dict[int, Hooked] = {}
    for item in cluster.history:
        if isinstance(item, Applied) and item.at >= since and isinstance(item.entry.command, Hooked):
            found.setdefault(item.entry.index, item.entry.command)
    return [found[index] for index in sorted(found)]


@by_seed
def test_a_move_waits_for_the_hooks_on_both_sides(seed: int) -> None:
    cluster = hooked(strict(voters(3)), seed)
    source, began = owner(cluster), cluster.now
    target = next(name for name in cluster.machines if name != source.name)
    cluster.ask(leader(cluster), "switchover", target)
    until(cluster, lambda: owner_is(cluster, target) and placement(cluster).started, "switchover")
    (down,), (up,) = downs(cluster, began), ups(cluster, began)
    assert down.at - began >= 0.4
    assert up.at >= down.at
    cluster.run_for(2.0)
    assert [(each.hook, each.ok, each.token) for each in told(cluster, began)] == [
        ("post_stop", True, down.token), ("pre_start", True, up.token),
    ]  # fmt: skip
    all_safe(cluster)


def owner_is(cluster: Cluster, name: str) -> bool:
    return [machine.name for machine in cluster.owners] == [name]


@by_seed
def test_a_veto_is_a_failed_try_and_the_next_node_is_asked(seed: int) -> None:
    cluster = hooked(strict(voters(3), cool_s=60.0), seed)
    place, began = owner(cluster), cluster.now
    place.guard.vetoed = True
    place.guard.exits(WORKLOAD, 1)
    until(cluster, lambda: cluster.settled and owner(cluster) is not place, "workload elsewhere", 30.0)
    assert placement(cluster).why == "hook `pre_start`: exited with status 1"
    vetoes = [each for each in told(cluster, began) if not each.ok]
    assert len(vetoes) == 2, "with the exit these are three tries"
    assert {(each.hook, each.detail) for each in vetoes} == {("pre_start", "exited with status 1")}
    all_safe(cluster)


@by_seed
def test_vetoed_everywhere_it_is_failed(seed: int) -> None:
    cluster = hooked(strict(voters(3)), seed)
    for machine in cluster.machines.values():
        machine.guard.vetoed = True
    owner(cluster).guard.exits(WORKLOAD, 1)
    until(cluster, lambda: has_failed(placement(cluster), 3), "an end of trying", 120.0)
    left = cluster.now
    cluster.run_for(30.0)
    assert not ups(cluster, left)
    all_safe(cluster)


@by_seed
def test_a_daemon_that_dies_during_a_hook_is_followed_by_one_that_knows(seed: int) -> None:
    """What is being prepared is adopted, and started once: nobody takes it for running before it runs."""
    cluster = hooked(strict(voters(3)), seed, pre_start_s=1.2)
    place, began = owner(cluster), cluster.now
    place.restart_s = (0.05, 0.2)
    place.guard.exits(WORKLOAD, 1)
    until(cluster, lambda: bool(ups(cluster, began)), "the next run")
    place.crash_daemon()
    until(cluster, lambda: place.node is not None, "the next daemon")
    cluster.run_for(0.3)
    assert place.node is not None
    assert place.node.owner.workloads[WORKLOAD].state == "STARTING"
    assert not place.node.owner.holds_now(WORKLOAD, place.clock.local(cluster.now))
    until(cluster, lambda: place.node is not None and place.node.owner.workloads[WORKLOAD].state == "RUNNING", "start")
    assert len(ups(cluster, began)) == 1
    all_safe(cluster)


@pytest.mark.parametrize("seed", range(1, 16))
def test_under_all_faults_hooks_break_no_promise(seed: int) -> None:
    cluster = Cluster(draw_shape(seed), seed)
    for machine in cluster.machines.values():
        machine.guard.pre_start_s = cluster.dice.choice((0.0, 0.2, 1.5))
        machine.guard.post_stop_s = cluster.dice.choice((0.0, 0.2, 5.0))

    def turn() -> None:
        for machine in cluster.machines.values():
            machine.guard.vetoed = cluster.now < FAULTY_S and cluster.dice.random() < 0.2
        if cluster.now < FAULTY_S:
            cluster.at(cluster.now + cluster.dice.uniform(0.5, 4.0), turn)

    faults = Faults(cluster, Mix())
    cluster.power_on()
    faults.begin()
    cluster.at(2.0, turn)
    cluster.run(FAULTY_S)
    faults.end()
    turn()
    until(cluster, lambda: cluster.settled, "a running workload", 30.0)
    all_safe(cluster)


@by_seed
def test_a_long_hook_of_one_that_is_cut_off_ends_with_the_lease(seed: int) -> None:
    cluster = hooked(strict(voters(3)), seed, post_stop_s=30.0)
    source, began = owner(cluster), cluster.now
    cluster.ask(leader(cluster), "switchover", next(name for name in cluster.machines if name != source.name))
    until(cluster, lambda: source.guard.runs[WORKLOAD].hook == "post_stop", "a hook")
    cluster.network.block(around(cluster, source.name))
    cluster.run_for(3 * cluster.shape.lease_s)
    assert [down.node for down in downs(cluster, began)] == [source.name]
    assert ups(cluster, began)
    all_safe(cluster)


# -- and they bite ---------------------------------------------------------------------------------------------------


def veto_ignored(patch: pytest.MonkeyPatch) -> None:
    """What cannot be prepared is no failed try: it is tried for ever."""
    reported = Workload.reported

    def patient(self: Workload, says: GuardSays, now: float, wall: int, out: object, *, watched: bool = False) -> None:
        reported(self, says, now, wall, out, watched=watched)  # type: ignore[arg-type]
        self.failures = 0

    patch.setattr(Workload, "reported", patient)


def hooks_untold(patch: pytest.MonkeyPatch) -> None:
    """Nobody tells the leader."""
    patch.setattr(HookLog, "due", lambda _self, _placement, _now: [])


def hooks_told_again(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether it was heard."""
    patch.setattr(Placements, "_hooked", lambda _self, _command: None)


def prepared_is_running(patch: pytest.MonkeyPatch) -> None:
    """A new daemon takes what is still being prepared for running."""
    guard_says = Owner.guard_says

    def hasty(self: Owner, says: GuardSays, now: float, wall: int) -> None:
        what = "running" if says.what == "starting" else says.what
        guard_says(self, replace(says, what=what), now, wall)

    patch.setattr(Owner, "guard_says", hasty)


def hooks_outlive_the_lease(patch: pytest.MonkeyPatch) -> None:
    """A guard that lets post_stop finish whatever the lease says."""
    end = Guard._end
    deadline = Guard._deadline

    def stubborn(self: Guard, run: object) -> None:
        if getattr(run, "hook", "") != "post_stop":
            deadline(self, run)  # type: ignore[arg-type]

    def at_length(self: Guard, run: object) -> None:
        first = getattr(run, "hook", "") == ""
        end(self, run)  # type: ignore[arg-type]
        if first and getattr(run, "hook", "") == "post_stop":
            run.ends_at = self._real() + self.post_stop_s  # type: ignore[attr-defined]
            self._at(run.ends_at, self._end, run)  # type: ignore[attr-defined]

    patch.setattr(Guard, "_deadline", stubborn)
    patch.setattr(Guard, "_end", at_length)


STORIES: list[tuple[Plant, Story]] = [
    (veto_ignored, lambda: test_vetoed_everywhere_it_is_failed(1)),
    (hooks_untold, lambda: test_a_move_waits_for_the_hooks_on_both_sides(1)),
    (hooks_told_again, lambda: test_a_move_waits_for_the_hooks_on_both_sides(1)),
    (prepared_is_running, lambda: test_a_daemon_that_dies_during_a_hook_is_followed_by_one_that_knows(1)),
    (hooks_outlive_the_lease, lambda: test_a_long_hook_of_one_that_is_cut_off_ends_with_the_lease(1)),
]


@pytest.mark.parametrize(("plant", "story"), STORIES, ids=[plant.__name__ for plant, _ in STORIES])
def test_story_fails_without_its_rule(plant: Plant, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_without(plant, story, monkeypatch)
