"""What the demo reads out of `status`, and the signs of a takeover in it."""

from __future__ import annotations

import io
from typing import Any

import pytest

from mltbctl.demo.signs import Signs, phases
from mltbctl.demo.timeline import Timeline
from mltbctl.demo.watch import Picture, View, Watch
from mltbctl.result import Style

NODES = ["n1", "n2", "n3"]


def picture(**changes: Any) -> Picture:
    fields: dict[str, Any] = {
        "leader": "n1",
        "term": 2,
        "has_quorum": True,
        "nodes": (("n1", "LEADER"), ("n2", "ACTIVE"), ("n3", "ACTIVE")),
        "owner": "n1",
        "token": 3,
        "workload": "RUNNING",
    }
    return Picture(**{**fields, **changes})


def test_a_status_becomes_a_picture() -> None:
    status = {
        "cluster": {"leader": "n1", "term": 2, "quorum": {"has_quorum": True}},
        "nodes": [{"id": "n2", "state": "ACTIVE"}, {"id": "n1", "state": "LEADER"}],
        "workloads": [{"name": "main", "owner": "n1", "token": 3, "state": "RUNNING"}],
    }
    found = Picture.of(status)
    assert found == picture(nodes=(("n1", "LEADER"), ("n2", "ACTIVE")))
    assert Picture.of({**status, "workloads": []}) == picture(
        nodes=found.nodes, owner=None, token=0, workload="STOPPED"
    )


@pytest.mark.parametrize(
    ("changes", "settled"),
    [
        ({}, True),
        ({"leader": None}, False),
        ({"has_quorum": False}, False),
        ({"workload": "STARTING"}, False),
        ({"nodes": (("n1", "LEADER"), ("n2", "UNREACHABLE"), ("n3", "ACTIVE"))}, False),
        ({"nodes": (("n1", "LEADER"), ("n2", "ACTIVE"))}, False),
    ],
)
def test_settled(changes: dict[str, Any], settled: bool) -> None:
    assert picture(**changes).is_settled(NODES) is settled


def test_signs_are_found_in_order_and_told_once() -> None:
    watch, stream = Watch({}), io.StringIO()
    timeline = Timeline(stream, Style(), live=False)
    signs = Signs(watch, ["n2", "n3"], picture(), "n1", at_ns=1_000_000_000)
    # Before the kill, and from the dead node itself: neither counts.
    watch.note(View("n2", 0, 900_000_000, picture(leader=None)))
    watch.note(View("n1", 1_100_000_000, 1_200_000_000, picture(leader="n1", owner=None)))
    watch.note(View("n2", 1_100_000_000, 1_200_000_000, picture()))
    assert (signs.noticed(), signs.elected(), signs.granted()) == (None, None, None)
    watch.note(View("n3", 1_500_000_000, 1_600_000_000, picture(leader=None)))
    watch.note(View("n2", 1_700_000_000, 1_800_000_000, picture(leader="n2")))
    assert (signs.noticed(), signs.elected(), signs.granted()) == (1_600_000_000, 1_800_000_000, None)
    signs.tell(timeline)
    signs.tell(timeline)
    watch.note(View("n2", 3_900_000_000, 4_000_000_000, picture(leader="n2", owner="n2", token=9)))
    assert signs.granted() == 4_000_000_000
    signs.tell(timeline)
    assert [line.split("· ")[1] for line in stream.getvalue().splitlines()] == [
        "the others noticed, 0.60 s after the kill",
        "n2 leads, 0.80 s after the kill",
        "the lease of n1 is over, n2 may start the bot, 3.00 s after the kill",
    ]


def test_a_living_leader_is_not_elected_anew() -> None:
    watch = Watch({})
    signs = Signs(watch, ["n2", "n3"], picture(leader="n2"), "n1", at_ns=0)
    watch.note(View("n2", 1, 2, picture(leader="n3")))
    assert signs.elected() is None


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ([0, 1, 2, 4], [1, 1, 2]),
        ([0, None, 2, 4], [0, 2, 2]),
        ([0, 3, 2, 4], [3, 0, 1]),  # Seen late: no negative phase.
        ([0, 9, 2, 4], [9, 0, 0]),
    ],
)
def test_phases_follow_each_other(marks: list[int | None], expected: list[int]) -> None:
    in_ns = [None if mark is None else mark * 1_000_000_000 for mark in marks]
    assert list(phases(("a", "b", "c"), in_ns).values()) == expected
