"""What `status` says of the versions of the protocol and of the level, and what the driver does when it must end."""

from __future__ import annotations

from dataclasses import replace

from mltb_transport.messages import Append, Heartbeat
from mltbd.core.events import Received, Unreadable
from mltbd.core.level_rules import Speaks
from tests.daemon.runtime.live import Live
from tests.daemon.runtime.town import Town

NEW = Speaks(1, 2)


def test_every_node_shows_what_each_speaks_and_the_leaders_word_on_what_the_level_waits_for() -> None:
    town = Town(speaks=NEW).formed()
    for house in town.house.values():
        shown = house.view(town.house["n1"])
        assert [each["protocol"] for each in shown["nodes"]] == [{"oldest": 1, "newest": 2}] * 3
        assert shown["cluster"]["protocol"]["level"] == 1
        assert shown["cluster"]["protocol"]["waits"].startswith("level 2 waits for 60 min yet")
        assert shown["alerts"] == []
    assert town.house["n2"].view()["cluster"]["protocol"] == {"level": 1, "waits": None}, "the leader was not asked"


def test_nothing_waits_where_all_speak_only_what_is_agreed_on() -> None:
    town = Town().formed()
    for house in town.house.values():
        assert house.view(town.house["n1"])["cluster"]["protocol"] == {"level": 1, "waits": None}


def test_who_cannot_take_part_is_named() -> None:
    town = Town().formed()
    house = town.house["n2"]
    house.feed(Unreadable("n9", 4))
    strange = replace(
        house.node.membership.own, node="n8", store="disk-n8", address="10.9.9.9", oldest=2, newest=3, founder=False
    )
    house.feed(Received("n8", 1, house.node.cluster, Heartbeat(strange, ())))
    told = {alert["message"] for alert in house.view()["alerts"] if alert["kind"] == "protocol"}
    assert told == {
        "n9 speaks protocol 4, this node 1 to 2: they cannot work together",
        "n8 speaks protocol 2 to 3, the cluster is at level 1",
    }


def test_a_driver_passes_on_why_its_node_must_not_take_part() -> None:
    with Live(2) as live:
        live.formed()
        two = live["n2"]
        told: list[str] = []
        two.driver.on_halt = told.append
        consensus = two.node.consensus
        log = consensus.log
        beyond = Append(consensus.term, 99, log.last_index, log.last_term, consensus.commit, (), (), 9)
        two.driver.handle(Received("n1", two.node._senders._incarnations["n1"], two.node.cluster, beyond))
        assert told == ["the cluster is at protocol level 9, this mltbd speaks 1: install a newer mltbd (n1 leads)"]
