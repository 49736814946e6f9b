"""Gossip at scale keeps its bounds; `make sim-gossip` prints the same for larger clouds."""

from __future__ import annotations

import pytest

from mltbd.core.overlay import MESH_MAX
from tests.sim.gossip import HEARTBEAT_S, TIMEOUT_S, Cloud, measure, table

pytestmark = pytest.mark.sim


@pytest.mark.parametrize("size", [3, MESH_MAX, MESH_MAX + 1, 40])
def test_a_cloud_of(size: int) -> None:
    found = measure(size, calm_s=2 * HEARTBEAT_S, starved_s=4 * TIMEOUT_S)
    said = table([found])
    assert found.news_all_s < 1.0, said
    assert found.loss_all_s < 1.5 * TIMEOUT_S, said
    assert found.wrong == 0, said
    if size > 2 * MESH_MAX:
        assert found.links_most < size - 1, said
        assert found.sent_most < 25.0, said


def test_a_loss_is_told_by_few_and_does_not_echo() -> None:
    cloud = Cloud(30, seed=3)
    cloud.run(20.0)
    cloud.kill("n0029")
    cloud.time_until(4 * TIMEOUT_S, lambda: cloud.missing("n0029") == 29)
    cloud.run(cloud.now + TIMEOUT_S)
    before, begun = cloud.sent.total(), cloud.now
    cloud.run(cloud.now + 30.0)
    assert (cloud.sent.total() - before) / (cloud.now - begun) / 29 < 15.0


def test_a_cloud_that_was_cut_in_two_grows_together_again() -> None:
    cloud = Cloud(40, seed=5)
    cloud.run(20.0)
    half = sorted(cloud.hosts)[::2]
    cloud.cut(half)
    cloud.run(cloud.now + 6 * TIMEOUT_S)
    assert all(cloud.missing(node) >= 20 for node in cloud.hosts)
    cloud.cut([])
    cloud.time_until(120.0, lambda: not any(cloud.missing(node) for node in cloud.hosts))
