"""A node whose disk is full leads no longer if another can, and takes no workload; the others see why."""

from __future__ import annotations

from typing import Any

import pytest

from mltbd.core.events import Checked
from mltbd.core.health import JOURNAL, NODE, Health, Rule
from mltbd.core.voting import LEADER
from tests.daemon.core.node_kit import Wired

RULES = (Rule(NODE, JOURNAL, failures=1),)


def led(**changes: Any) -> Wired:
    """Three nodes; n1 has the highest priority, leads, and has done so for a while."""
    wired = Wired("n1", "n2", "n3", priorities={"n1": 200}, checks=RULES, **changes)
    assert wired.until(lambda: wired.nodes["n1"].consensus.role == LEADER, 60.0)
    wired.run(5.0)
    return wired


def says(wired: Wired, name: str, *, room: bool) -> None:
    wired.feed(name, Checked(NODE, JOURNAL, room, "" if room else "the disk is full"))


def leader(wired: Wired) -> str:
    return next((name for name, node in wired.nodes.items() if node.consensus.role == LEADER), "")


def test_the_verdict_follows_the_word_of_the_journal_at_once() -> None:
    health = Health(RULES)
    assert not health.full
    health.heard(Checked(NODE, JOURNAL, False, "the disk is full"), 1.0)
    assert (health.full, health.troubles(NODE)) == (True, ("check `journal`: the disk is full",))
    health.heard(Checked(NODE, JOURNAL, True), 2.0)
    assert not health.full
    assert not Health(()).full


def test_leadership_goes_to_another_and_does_not_come_back_before_there_is_room() -> None:
    wired = led()
    says(wired, "n1", room=False)
    assert wired.until(lambda: leader(wired) in ("n2", "n3"), 10.0)
    wired.run(120.0)
    assert leader(wired) in ("n2", "n3"), "priority alone would have brought it back by now"
    says(wired, "n1", room=True)
    assert wired.until(lambda: leader(wired) == "n1", 300.0)


def test_where_all_are_full_nobody_hands_over() -> None:
    wired = led()
    for name in ("n2", "n3"):
        says(wired, name, room=False)
    wired.run(2.0)
    says(wired, "n1", room=False)
    wired.run(20.0)
    assert leader(wired) == "n1"


@pytest.mark.parametrize("name", ["n1", "n2"])
def test_it_takes_no_workload_and_says_why(name: str) -> None:
    wired = led(workloads=("main",))
    assert wired.until(lambda: wired.nodes[name].ready() == ("main",), 10.0)
    says(wired, name, room=False)
    assert wired.nodes[name].ready() == ()
    wired.run(3.0)
    other = wired.nodes["n3"].membership.record(name)
    assert other is not None
    assert other.troubles == ("check `journal`: the disk is full",)
