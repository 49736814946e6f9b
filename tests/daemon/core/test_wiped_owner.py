"""An owner on an empty disk: nothing of its former life is taken for its own."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Release, Renew
from mltbd.core.events import Recovered
from mltbd.state.placements import Placement
from tests.daemon.core.core_kit import TIMING
from tests.daemon.core.test_owner import RUNS, Post


def test_numbers_differ_by_incarnation_and_by_disk() -> None:
    numbers = [Recovered(disk, life, 0, "", ()).first_number for disk in ("a", "b") for life in (1, 2)]
    assert len({number >> 20 for number in numbers}) == 4
    assert max(number >> 32 for number in numbers) == 2


@pytest.mark.parametrize(("token", "restarted"), [(9, True), (10, True), (11, False)])
def test_an_empty_disk_gives_back_what_an_earlier_one_may_have_had(token: int, restarted: bool) -> None:
    post = Post(granted_after=0)
    post.owner.begins_after(10)
    post.owner.begins_after(20)  # What comes later was granted to this disk.
    (request,) = post.tick(Placement("main", "n1", token))
    assert (request == Release("main", token, "restarted")) is restarted
    assert isinstance(request, Renew) is not restarted


def test_who_founded_keeps_its_tokens_under_the_next_leader() -> None:
    post = Post(granted_after=0)
    post.owner.begins_after(0)
    post.run()
    post.owner.begins_after(20)
    (request,) = post.tick(RUNS, now=100.0 + TIMING.renew_s)
    assert isinstance(request, Renew)
