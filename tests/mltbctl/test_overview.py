"""The picture of `status`, at 80 and 140 columns, for a healthy cluster and for what can befall it."""

from __future__ import annotations

from typing import Any

import pytest

from mltbctl.overview import overview
from mltbctl.result import Style
from tests.mltbctl import golden, pictures


@pytest.mark.parametrize("name", sorted(pictures.PICTURES))
def test_layout(name: str) -> None:
    parts = []
    for width in (80, 140):
        text = overview(pictures.PICTURES[name](), Style(width=width), pictures.NOW)
        assert max(len(line) for line in text.split("\n")) <= width
        parts.append(f"--- {width} columns\n{text}\n")
    golden.check(f"overview-{name}", "".join(parts))


def test_colour_changes_nothing_but_the_paint() -> None:
    plain = overview(pictures.no_quorum(), Style(width=80), pictures.NOW)
    painted = overview(pictures.no_quorum(), Style(colour=True, width=80), pictures.NOW)
    golden.check("overview-painted", painted + "\n")
    unpainted = painted
    for code in ("0", "1", "2", "31", "32", "33", "36"):
        unpainted = unpainted.replace(f"\x1b[{code}m", "")
    assert unpainted == plain


def test_ascii_where_the_terminal_has_no_more() -> None:
    for picture in pictures.PICTURES.values():
        assert overview(picture(), Style(unicode=False, width=80), pictures.NOW).isascii()


@pytest.mark.parametrize("width", [60, 79, 100, 500])
def test_lines_fit_any_width(width: int) -> None:
    for picture in pictures.PICTURES.values():
        lines = overview(picture(), Style(width=width), pictures.NOW).split("\n")
        assert max(map(len, lines)) <= width


def test_a_node_that_knows_nothing_says_so_and_claims_no_age() -> None:
    picture = pictures.changed(pictures.no_quorum(), view={"known": False})
    assert ", this node knows nothing yet" in overview(picture, Style(width=140), pictures.NOW)


def test_pause_is_told_with_its_reason() -> None:
    picture = pictures.changed(
        pictures.healthy(),
        cluster={"paused": {"by": "ann@desk", "reason": "kernel upgrade", "remaining_seconds": 720.0}},
    )
    assert "! no automatic moves: paused by ann@desk: kernel upgrade, ends in 12m00s" in overview(
        picture, Style(width=140), pictures.NOW
    )


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("automatic", "another node starts it once the lease of n1 has run out"),
        ("manual", "failover is manual: run `mltbctl failover --workload main`"),
    ],
)
def test_lost_owner_tells_what_comes_next(mode: str, words: str) -> None:
    picture = pictures.changed(pictures.failing_over(), failover={"mode": mode})
    assert words in overview(picture, Style(width=140), pictures.NOW)


def test_nobody_starts_it_while_the_cluster_is_paused() -> None:
    paused = {"by": "ann@desk", "reason": "", "remaining_seconds": 720.0}
    picture = pictures.changed(pictures.failing_over(), cluster={"paused": paused})
    words = "failover is paused: run `mltbctl failover --workload main`"
    assert words in overview(picture, Style(width=140), pictures.NOW)


def test_who_hears_no_leader_has_not_lost_its_quorum() -> None:
    quorum = {"voters": 3, "needed": 2, "reachable": 3, "has_quorum": False}
    text = overview(pictures.changed(pictures.healthy(), cluster={"quorum": quorum}), Style(width=200), pictures.NOW)
    assert "n2 hears no leader, though 3 of 3 voters answer it, 2 are needed" in text
    assert "what runs stops" not in text


def test_two_voters_are_told_to_add_a_witness() -> None:
    quorum = {"voters": 2, "needed": 2, "reachable": 2, "has_quorum": True}
    picture = pictures.changed(pictures.healthy(), cluster={"quorum": quorum, "failure_tolerance": 0})
    text = overview(picture, Style(width=140), pictures.NOW)
    assert "can lose no node" in text
    assert "add a witness" in text


def test_words_of_a_newer_daemon_are_shown_as_they_are() -> None:
    def strange(**changes: Any) -> dict[str, Any]:
        return pictures.node("n1", **changes)

    picture = pictures.changed(
        pictures.healthy(),
        cluster={"state": "MOONSTRUCK"},
        nodes=[strange(state="DREAMING", role="poet", health="WISTFUL")],
        workloads=[pictures.workload(state="HUMMING", since="yesterday")],
        failover={"state": "PONDERING"},
        alerts=["a plain one"],
    )
    text = overview(picture, Style(width=140), pictures.NOW)
    for word in ("moonstruck", "humming", "pondering", "! a plain one"):
        assert word in text
