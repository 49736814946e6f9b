"""What an owner tells of how it went: when a start has gone well, how long a stop took."""

from __future__ import annotations

from mltb_transport.messages import Settled
from mltbd.core.events import Checked
from mltbd.core.health import Health, Rule
from mltbd.core.owner import SETTLED_S
from mltbd.state.placements import Placement
from tests.daemon.core.core_kit import WALL
from tests.daemon.core.test_owner import Post


def test_failures_are_not_forgotten_before_its_checks_could_tell_that_it_hangs() -> None:
    post, notices_s = Post(), 1.75 * SETTLED_S
    post.owner.health = Health((Rule("main", "http", interval_s=30.0, notices_s=notices_s),))
    post.run(Placement("main", "n1", 10, started=True, attempts=2))
    post.owner.checked(Checked("main", "http", True, token=10, pid=7), 100.0, WALL)
    post.tick()
    assert Settled("main", 10) not in post.tick(now=100.0 + SETTLED_S)
    assert Settled("main", 10) in post.tick(now=100.0 + notices_s)
