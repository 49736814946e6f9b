"""What an owner tells of how it went: when a start has gone well, how long a stop took."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Move, Propose, Settled
from mltbd.core.events import Checked, StopRequested
from mltbd.core.health import Health, Rule
from mltbd.core.owner import SETTLED_S
from mltbd.state.placements import Placement
from tests.daemon.core.core_kit import WALL
from tests.daemon.core.node_kit import Wired, apart
from tests.daemon.core.test_owner import Post


def test_failures_are_not_forgotten_before_its_checks_could_tell_that_it_hangs() -> None:
    post, notices_s = Post(), 1.75 * SETTLED_S
    post.owner.health = Health((Rule("main", "http", interval_s=30.0, notices_s=notices_s),))
    post.run(Placement("main", "n1", 10, started=True, attempts=2))
    post.owner.checked(Checked("main", "http", True, token=10, pid=7), 100.0, WALL)
    post.tick()
    assert Settled("main", 10) not in post.tick(now=100.0 + SETTLED_S)
    assert Settled("main", 10) in post.tick(now=100.0 + notices_s)


def stop_told(wired: Wired) -> list[float]:
    """What the history says of the last stop, in seconds."""
    event = list(wired.nodes[wired.leader()].state.audit.events.values())[-1]
    return [phase.seconds for phase in event.phases if phase.name == "stop"]


def called_off() -> Wired:
    """A move was given up meanwhile, for n3 would not stop; it runs there on, for long."""
    wired = apart()
    wired.stubborn.add("n3")
    wired.ask("n1", 7, "switchover", workload="main", target="n2")
    wired.run(40.0)
    wired.gone("n3")
    wired.run(120.0)
    assert wired.running() == ["n3"]
    return wired


def test_a_stop_that_was_called_off_is_not_part_of_the_next() -> None:
    wired = called_off()
    wired.feed("n3", StopRequested())
    wired.run(0.5)
    wired.gone("n3")
    wired.run(3.0)
    assert wired.running() != ["n3"]
    assert stop_told(wired) == [0.5]


def test_a_failure_long_after_a_stop_that_was_called_off_is_no_stop() -> None:
    wired = called_off()
    for _ in range(3):
        wired.gone("n3", cause="exited")
        wired.run(5.0)
    assert wired.running() != ["n3"]
    assert stop_told(wired) == []


def test_a_move_that_another_overtook_measures_nothing() -> None:
    wired = apart()
    leader = wired.nodes["n1"]
    late = Move("main", wired.token(), "n2", "switchover", at=1)
    leader.consensus.propose(late, wired.now, WALL)
    wired.run(120.0)
    wired.stubborn.add("n3")
    wired.feed("n3", StopRequested())
    wired.run(0.5)
    wired.gone("n3")
    wired.run(3.0)
    assert stop_told(wired) == [0.5]


@pytest.mark.parametrize("leaderless", [False, True])
def test_a_stop_lasts_until_a_leader_has_heard_of_it(*, leaderless: bool) -> None:
    wired = apart()
    wired.run(10.0)
    wired.stubborn.add("n3")
    wired.feed("n3", StopRequested())
    began = wired.now
    if leaderless:
        wired.stop("n1")
    else:
        wired.lost = (Propose,)
    wired.run(0.5)
    wired.gone("n3")
    wired.until(lambda: wired.running() != [], 0.5)
    wired.lost = ()
    assert wired.until(lambda: wired.running() != [])
    down_s = wired.now - began
    wired.run(2.0)
    assert down_s > 0.6
    event = [each for each in wired.nodes[wired.leader()].state.audit.events.values() if each.workload][-1]
    assert sum(phase.seconds for phase in event.phases) == pytest.approx(down_s, abs=1e-3)
