"""Placements of copies: what is forgotten when, and when a singleton counts as replaced."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Release
from mltb_transport.operations import Undrain
from mltbd.state.placements import Placements
from tests.daemon.state.test_placements import Story, grant


@pytest.mark.parametrize("cause", ["leaving", "restarted", "drained", "lost"])
def test_a_copy_that_is_given_back_is_forgotten(cause: str) -> None:
    story = Story(grant("n1", workload="web@n1"), grant("n2", workload="web@n2"), Release("web@n1", 2, cause))
    assert list(story.placements.by_workload) == ["web@n2"]
    story.tell(Release("web@n1", 2, cause))
    assert list(story.placements.by_workload) == ["web@n2"], "a repeat changes nothing"
    token = story.tell(grant("n1", workload="web@n1"))
    assert story.placements.get("web@n1").token == token


def test_a_copy_that_failed_is_remembered_with_its_failures_until_its_node_is_gone() -> None:
    story = Story(grant("n1", workload="web@n1"), Release("web@n1", 2, "failed", detail="exited"))
    failed = story.placements.get("web@n1")
    assert (failed.owner, failed.attempts, failed.why) == ("", 1, "exited")
    assert Placements.load(story.placements.dump()).by_workload == {"web@n1": failed}
    story.placements.forget_copies("n2")
    assert list(story.placements.by_workload) == ["web@n1"]
    story.placements.forget_copies("n1")
    assert story.placements.by_workload == {}


def test_an_operator_who_undrains_a_node_has_what_failed_there_tried_again() -> None:
    story = Story(grant("n1", workload="web@n1"), Release("web@n1", 2, "failed"), Undrain("n2", "somebody"))
    assert story.placements.get("web@n1").attempts == 1
    story.tell(Undrain("n1", "somebody"))
    assert story.placements.get("web@n1").attempts == 0


def test_a_copy_that_may_still_run_is_not_forgotten_with_its_node() -> None:
    story = Story(grant("n1", workload="web@n1"))
    story.placements.forget_copies("n1")
    assert story.placements.get("web@n1").owner == "n1"


def test_a_singleton_is_replaced_once_copies_are_there_and_nobody_owns_it() -> None:
    story = Story(grant("n1", workload="web"))
    assert not story.placements.replaced("web")
    story.tell(Release("web", 2, "lost"))
    assert not story.placements.replaced("web")
    story.tell(grant("n2", workload="web@n2"))
    assert story.placements.replaced("web")
    assert not story.placements.replaced("web@n2")
    story.tell(grant("n1", workload="web"))
    assert not story.placements.replaced("web")
