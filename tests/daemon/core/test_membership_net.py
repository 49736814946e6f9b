"""Several memberships over a net that loses, delays and repeats, in virtual time: they find each other, agree,
and notice who is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltbd.core.membership import Membership
from tests.daemon.core.membership_kit import HEARTBEAT_S, TIMEOUT_S, Dice, Net, record


def node(number: int, *seeds: int, incarnation: int = 1) -> Membership:
    own = record(f"n{number}", incarnation, 0)
    addresses = [f"10.0.0.{seed}:7946" for seed in seeds]
    return Membership(own, addresses, HEARTBEAT_S, TIMEOUT_S, Dice(number))


def net_of(count: int, seed: int, loss: float = 0.0) -> Net:
    """All but the first know only the first."""
    net = Net(seed, loss)
    for number in range(1, count + 1):
        net.begin(node(number, *([1] if number > 1 else [])))
    return net


def views(net: Net) -> dict[str, dict[str, str]]:
    """Who sees whom in which state."""
    return {
        name: {member.record.node: member.state for member in one.members(net.now)} for name, one in net.running.items()
    }


def all_active(net: Net) -> bool:
    whole = dict.fromkeys(sorted(net.running), "ACTIVE")
    return all(view == whole for view in views(net).values())


@pytest.mark.parametrize("count", [2, 3, 5])
def test_nodes_that_share_one_seed_find_each_other_within_a_second(count: int) -> None:
    net = net_of(count, seed=count)
    net.run(1.0)
    assert all_active(net), views(net)


@pytest.mark.parametrize("seed", range(20))
def test_under_loss_everyone_finds_everyone_and_the_newest_of_each(seed: int) -> None:
    net = net_of(3 + seed % 3, seed, loss=0.2)
    net.run(20.0)
    net.change("n2", health="DEGRADED", term=7)
    net.run(6 * HEARTBEAT_S)
    assert all_active(net), views(net)
    for one in net.running.values():
        held = one.record("n2")
        assert held is not None
        assert (held.health, held.term) == ("DEGRADED", 7)
        assert all(one.reachable(other, net.now) for other in net.running)


def test_without_loss_no_one_is_ever_suspected_aloud() -> None:
    net = net_of(5, seed=1)
    net.run(300.0)
    assert [note for _, note in net.notes if note.level != "info"] == []
    assert len(net.notes) == 5 * 4, "each greets each once"


def test_the_talk_of_an_idle_cluster_is_bounded() -> None:
    net = net_of(3, seed=1)
    net.run(10.0)
    before = net.sent
    net.run(100.0)
    # Each node and second: one heartbeat, one ping and one pong to each of two others; a sync now and then.
    assert net.sent - before < 3 * 100 * 2 * 3 * 1.3


def test_a_killed_node_becomes_unreachable_to_all_and_returns_in_a_new_incarnation() -> None:
    net = net_of(3, seed=4, loss=0.05)
    net.run(10.0)
    net.stop("n3")
    net.run(TIMEOUT_S + 0.5)
    assert {view["n3"] for view in views(net).values()} == {"UNREACHABLE"}
    net.begin(node(3, 1, incarnation=2))
    net.run(3.0)
    assert all_active(net), views(net)
    held = net.running["n2"].record("n3")
    assert held is not None
    assert held.incarnation == 2


def test_a_node_that_leaves_is_seen_leaving_and_then_forgotten_by_all() -> None:
    net = net_of(4, seed=5, loss=0.1)
    net.run(10.0)
    net.change("n4", state="LEAVING")
    net.run(0.5)
    net.stop("n4")
    assert {view["n4"] for view in views(net).values()} == {"LEAVING"}
    net.run(60.0)
    assert all_active(net), views(net)


def test_a_cut_between_two_of_three_is_bridged_by_the_third() -> None:
    net = net_of(3, seed=6)
    net.run(10.0)
    net.cut = {("n1", "n2"), ("n2", "n1")}
    net.run(20 * TIMEOUT_S)
    assert all_active(net), views(net)


def test_a_one_way_cut_with_nobody_to_help_is_seen_on_one_side_only_and_heals() -> None:
    net = net_of(2, seed=7)
    net.run(5.0)
    net.cut = {("n1", "n2")}
    net.run(3 * TIMEOUT_S)
    assert views(net) == {
        "n1": {"n1": "ACTIVE", "n2": "ACTIVE"},
        "n2": {"n1": "UNREACHABLE", "n2": "ACTIVE"},
    }
    net.cut = set()
    net.run(2 * HEARTBEAT_S)
    assert all_active(net)


def test_a_partition_is_seen_on_both_sides_and_heals() -> None:
    net = net_of(5, seed=8, loss=0.05)
    net.run(10.0)
    left, right = ("n1", "n2"), ("n3", "n4", "n5")
    net.cut = {(a, b) for a in left for b in right} | {(b, a) for a in left for b in right}
    net.run(3 * TIMEOUT_S)
    for name, view in views(net).items():
        mine = left if name in left else right
        assert {other for other, state in view.items() if state == "ACTIVE"} == set(mine)
    net.cut = set()
    net.run(3 * HEARTBEAT_S)
    assert all_active(net), views(net)


def test_a_wiped_node_is_known_again_under_its_old_name() -> None:
    net = net_of(3, seed=9)
    net.run(60.0)
    net.stop("n2")
    wiped = replace(record("n2", 1, 0), store="disk-new")
    net.begin(Membership(wiped, ["10.0.0.1:7946"], HEARTBEAT_S, TIMEOUT_S, Dice(2)))
    net.run(10.0)
    assert all_active(net), views(net)
    held = net.running["n3"].record("n2")
    assert held is not None
    assert (held.store, held.incarnation) == ("disk-new", 2)


def test_the_same_seed_gives_the_same_run() -> None:
    def story(seed: int) -> tuple[int, object]:
        net = net_of(4, seed, loss=0.3)
        net.run(30.0)
        return net.sent, [one.members(net.now) for one in net.running.values()]

    assert story(3) == story(3)
    assert story(3) != story(4)
