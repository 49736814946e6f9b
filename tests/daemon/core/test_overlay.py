"""The overlay: everybody hears of everything in few steps, and nobody has many neighbours."""

from __future__ import annotations

from math import ceil, log2

import pytest

from mltbd.core.overlay import MESH_MAX, neighbours


def ids(count: int) -> list[str]:
    return sorted(f"n{number}" for number in range(count))


@pytest.mark.parametrize("count", [1, 2, 3, MESH_MAX])
def test_a_small_cluster_is_a_mesh(count: int) -> None:
    members = ids(count)
    assert all(neighbours(me, members) == frozenset(members) - {me} for me in members)


@pytest.mark.parametrize("count", [MESH_MAX + 1, 30, 64, 200, 1000])
def test_a_large_one_is_a_ring_with_chords(count: int) -> None:
    members = ids(count)
    near = {me: neighbours(me, members) for me in members}
    assert all(len(chosen) <= 2 * ceil(log2(count)) for chosen in near.values())
    assert all(me in near[other] for me in members for other in near[me]), "both ends agree"
    reached, steps = {members[0]}, 0
    while len(reached) < count:
        reached |= {other for node in reached for other in near[node]}
        steps += 1
    assert steps <= ceil(log2(count))


def test_one_loss_changes_few_edges() -> None:
    members = ids(200)
    before = {me: neighbours(me, members) for me in members}
    members.remove("n77")
    changed = sum(len(before[me] ^ neighbours(me, members)) for me in members)
    assert changed < 200 * 2 * 2 * 8
