"""Networks that break for real: pulled cables, one-way cuts, bridges, flapping links, slow wires, split votes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.namespaces import Cables, both_ways, missing
from tests.e2e.stage import Stage
from tests.waiting import holds, until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")]

BACK_S = 60.0


@pytest.fixture(scope="module")
def cables() -> Iterator[Cables]:
    with Cables(3) as wires:
        yield wires


@pytest.fixture(scope="module")
def stage(cables: Cables, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One cluster for all stories; each leaves it whole."""
    with Stage(tmp_path_factory.mktemp("net"), 3, cables=cables) as town:
        yield town


def whole(stage: Stage) -> str:
    """Wait until all three see each other and one runs the workload; its name."""

    def seen() -> bool:
        pictures = [stage.status(node) for node in stage.cluster.nodes]
        return all(p and p["cluster"]["active_nodes"] == 3 and p["cluster"]["leader"] for p in pictures)

    until(seen, BACK_S, stage.picture)
    until(lambda: stage.owner(), BACK_S, stage.picture)
    stage.check()
    return str(stage.owner())


def elsewhere(stage: Stage, owner: str) -> str:
    """Wait until another node runs it; its name."""
    others = stage.others(owner)
    until(lambda: stage.owner(*others) not in (None, owner), BACK_S, stage.picture)
    return str(stage.owner(*others))


def test_a_pulled_cable(stage: Stage, cables: Cables) -> None:
    owner = whole(stage)
    cables.pull(owner)
    try:
        elsewhere(stage, owner)
        alone = until(lambda: stage.status(owner), BACK_S, "it answers on its own machine")
        assert alone["cluster"]["quorum"]["has_quorum"] is False
    finally:
        cables.plug(owner)
    whole(stage)


def test_a_follower_cut_off_alone_knows_no_leader(stage: Stage, cables: Cables) -> None:
    whole(stage)
    leads = until(lambda: stage.leader(), BACK_S, stage.picture)
    alone = stage.others(leads)[0]

    def knows_none() -> bool:
        picture = stage.status(alone)
        return bool(picture and not picture["cluster"]["leader"] and not picture["cluster"]["quorum"]["has_quorum"])

    cables.pull(alone)
    try:
        until(knows_none, BACK_S, stage.picture)
        holds(knows_none, stage.lease_s, "and so it stays")
    finally:
        cables.plug(alone)
    whole(stage)


@pytest.mark.parametrize("deaf", [True, False], ids=["deaf", "mute"])
def test_an_owner_that_cannot_hear_or_cannot_speak(stage: Stage, cables: Cables, deaf: bool) -> None:
    owner = whole(stage)
    others = stage.others(owner)
    with cables.without(*[(other, owner) if deaf else (owner, other) for other in others]):
        elsewhere(stage, owner)
    whole(stage)


def test_a_bridge_of_one_node_carries_the_cluster(stage: Stage, cables: Cables) -> None:
    owner = whole(stage)
    left, right = stage.others(owner)
    with cables.without(*both_ways(left, right)):
        # Whoever leads: the middle hears both, so a majority agrees and the owner goes on.
        holds(lambda: stage.owner(owner) in (None, owner), 2 * stage.lease_s, "the owner in the middle stays")
        until(lambda: stage.owner(owner) == owner, BACK_S, stage.picture)
    whole(stage)


def test_a_link_that_flaps(stage: Stage, cables: Cables) -> None:
    owner = whole(stage)
    other = stage.others(owner)[0]
    for _ in range(6):
        with cables.without(*both_ways(owner, other)):
            holds(lambda: True, 0.4)
        holds(lambda: True, 0.4)
    assert whole(stage)


def test_a_slow_wire(stage: Stage, cables: Cables) -> None:
    owner = whole(stage)
    slow = stage.others(owner)[0]
    with cables.slow(slow, 0.2):
        whole(stage)
        holds(lambda: not stage.status(owner) or stage.owner(owner) is not None, stage.lease_s, "somebody runs it")
        picture = until(lambda: stage.status(owner), BACK_S)
        rtt = {member["id"]: member["rtt_ms"] for member in picture["nodes"]}
        assert rtt[slow] is None or rtt[slow] > 1.0
    whole(stage)


def test_two_machines_and_a_witness_survive_any_single_loss(tmp_path: Path) -> None:
    with Cables(3) as cables, Stage(tmp_path, 3, cables=cables, roles={"n3": "witness"}) as stage:
        for lost in stage.cluster.nodes:
            owner = whole(stage)
            cables.pull(lost)
            if lost == owner:
                assert elsewhere(stage, owner) != "n3"
            else:
                left = [node for node in stage.cluster.nodes if node != lost]
                until(lambda left=left: stage.owner(*left), BACK_S, stage.picture)  # type: ignore[misc]
            cables.plug(lost)
        assert whole(stage) != "n3"
