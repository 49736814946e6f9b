"""Workloads that are no singletons: which form may run, what ends a lost owner's claim, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltb_transport.messages import Entry, Grant, Release
from mltbd.core.copies import DRAINED, barred, end_of_lost, refusal, rival
from mltbd.core.events import Ask
from mltbd.core.holding import stuck_on
from mltbd.state.copies import copy_name, family, home_of, is_copy
from mltbd.state.placements import Placement, Placements
from tests.daemon.core.core_kit import WALL
from tests.daemon.core.placing_kit import THREE_WELL, facts, ill, nodes, placed
from tests.daemon.core.test_owner import Post


def owned(**owners: str) -> Placements:
    """Placements by name, where `_at_` stands for the mark; an empty owner: given back."""
    placements = Placements()
    for name, owner in owners.items():
        workload = name.replace("_at_", "@")
        placements.by_workload[workload] = Placement(workload, owner, 10)
    return placements


def granted(workload: str, owner: str) -> list[Entry]:
    return [Entry(11, 1, 0, Grant(workload, owner, "placement"))]


def test_names_go_both_ways() -> None:
    name = copy_name("a/web", "n1")
    assert (is_copy(name), family(name), home_of(name)) == (True, "a/web", "n1")
    assert (is_copy("a/web"), family("a/web"), home_of("a/web")) == (False, "a/web", "")


@pytest.mark.parametrize(
    ("workload", "placements", "pending", "words"),
    [
        ("web", owned(), [], ""),
        ("web", owned(web="n1"), [], ""),
        ("web", owned(web_at_n2="n2", web_at_n3="n3"), [], "copies of `web` are owned by n2, n3"),
        ("web", owned(web_at_n2=""), [], ""),
        ("web", owned(webs_at_n2="n2"), [], ""),
        ("web", owned(), granted("web@n2", "n2"), "copies of `web` are owned by n2"),
        ("web@n1", owned(web_at_n2="n2"), [], ""),
        ("web@n1", owned(web="n3"), [], "`web` is owned by n3 as a singleton"),
        ("web@n1", owned(web=""), [], ""),
        ("web@n1", owned(web=""), granted("web", "n2"), "`web` is owned by n2 as a singleton"),
    ],
)
def test_one_form_waits_for_the_other(workload: str, placements: Placements, pending: list[Entry], words: str) -> None:
    assert rival(workload, placements, pending) == words


def test_what_bars_bars_every_node_beside_its_own_reasons() -> None:
    candidates = nodes("n1", ill("n2"))
    assert barred(candidates, "") == candidates
    assert [c.reasons for c in barred(candidates, "because")] == [("because",), ("unreachable", "because")]


COPY = Placement("web@n2", "n2", 10)


@pytest.mark.parametrize("lease_over", [True, False])
def test_a_lost_copy_is_ended_once_it_has_stopped_for_certain(lease_over: bool) -> None:
    ended = end_of_lost(facts(COPY, nodes(ill("n2")), lease_over=lease_over), ())
    assert ended == (Release("web@n2", 10, "lost") if lease_over else None)


def test_nothing_is_ended_that_nobody_owns() -> None:
    assert end_of_lost(facts(replace(COPY, owner=""), nodes("n2"), lease_over=True), ("web@n2",)) is None


@pytest.mark.parametrize(
    ("ready", "ended"),
    [((), False), (("main",), False), (("mains@n1",), False), (("main", "main@n1"), True)],
)
def test_a_lost_singleton_is_ended_only_when_its_copies_wait(ready: tuple[str, ...], ended: bool) -> None:
    lost = facts(placed("n2"), THREE_WELL, lease_over=True)
    assert end_of_lost(lost, ready) == (Release("main", 10, "lost") if ended else None)


@pytest.mark.parametrize(
    ("workload", "placements", "refused"),
    [
        ("web@n1", owned(web_at_n1="n1"), True),
        ("web@n9", owned(), True),
        ("web", owned(web_at_n1="n1"), True),
        ("web", owned(web="n1"), False),
        ("web", owned(web="n1", web_at_n2=""), False),
        ("main", owned(web_at_n1="n1"), False),
    ],
)
@pytest.mark.parametrize("verb", ["switchover", "failover", "failback", "cancel_failback"])
def test_what_is_no_singleton_is_moved_by_nobody(
    verb: str, workload: str, placements: Placements, refused: bool
) -> None:
    verdict = refusal(Ask(1, verb, workload, "n2"), placements)
    assert (verdict is not None) == refused
    if verdict is not None:
        assert (verdict.code, verdict.command) == ("refused", None)
        assert "is no singleton" in verdict.message
        assert verdict.hint.startswith("mltbctl node drain ")


def test_a_copy_keeps_no_node_from_being_drained() -> None:
    places = {"web@n2": facts(COPY, nodes("n2")), "main": facts(placed("n2"), THREE_WELL)}
    assert stuck_on("n2", places) == []


@pytest.mark.parametrize(
    ("name", "drained", "cause"), [("main", True, ""), ("web@n1", True, DRAINED), ("web@n1", False, "")]
)
def test_only_a_copy_leaves_a_drained_node_by_itself(name: str, drained: bool, cause: str) -> None:
    post = Post(names=(name,))
    post.owner.drained = drained
    post.owner.tick({name: Placement(name, "n1", 10)}, 10, post.now, WALL)
    assert [each.cause for each in post.owner.requests() if isinstance(each, Release)] == ([cause] if cause else [])
