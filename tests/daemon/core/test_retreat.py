"""Where a workload goes that fails: not in circles, back where it was well at the end, and then nowhere."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Entry, Grant, Move, Release, Settled
from mltb_transport.operations import Resume
from mltb_transport.supervision import Proven
from mltbd.core.failover import Policy, decide
from mltbd.core.retreat import has_failed, spent, way_back
from mltbd.state.placements import TRIED_MAX, Placement, Placements
from tests.daemon.core.placing_kit import MANUAL, NOW, facts, ill, nodes

POLICY = Policy(max_attempts=3, preferred={"main": ("n1", "n2", "n3")})


def failed(tried: str, proven: str = "", **changes: object) -> Placement:
    """Given up by these, in order."""
    names = tried.split()
    fields: dict[str, object] = {
        "home": names[-1], "released": "failed", "attempts": len(names), "tried": tried, "proven": proven,
        "why": "deaf",
    }  # fmt: skip
    return Placement("main", token=10, **(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("placement", "candidates", "grant"),
    [
        (failed("n1"), nodes("n1", "n2", "n3"), ("n2", "failover")),
        (failed("n1 n2"), nodes("n1", "n2", "n3"), ("n3", "failover")),
        (failed("n1 n2"), nodes("n1", "n2"), ("n1", "failover")),  # Nobody is left who has not tried it.
        (failed("n1 n2"), nodes("n1", "n2", ill("n3")), ("n1", "failover")),
        (failed("n1 n2 n3"), nodes("n1", "n2", "n3"), None),
        (failed("n1 n2 n3", proven="n1"), nodes("n1", "n2", "n3"), ("n1", "rollback")),
        (failed("n1 n2 n3", proven="n1"), nodes(ill("n1"), "n2", "n3"), None),  # Cools off, or is lost: wait.
        (failed("n1 n2 n3", proven="n3"), nodes("n1", "n2", "n3"), None),  # It has just had its tries.
        (failed("n1 n2 n3", proven="n1", retreated=True, home="n1"), nodes("n1", "n2", "n3"), None),
        (failed("n1 n2 n3", proven="n1", retreated=True), nodes("n1", "n2", "n3"), None),
    ],
)
def test_the_next_place(placement: Placement, candidates: tuple[object, ...], grant: tuple[str, str] | None) -> None:
    command = decide(POLICY, facts(placement, candidates), NOW)  # type: ignore[arg-type]
    assert (command and (command.owner, command.cause)) == grant  # type: ignore[union-attr]


def test_manual_mode_sends_nothing_back_by_itself() -> None:
    placement = failed("n1 n2 n3", proven="n1")
    assert decide(MANUAL, facts(placement), NOW) is None


def test_what_has_failed() -> None:
    assert not spent(failed("n1 n2"), 3)
    assert has_failed(failed("n1 n2 n3"), 3)
    assert not has_failed(failed("n1 n2 n3", proven="n1"), 3)
    assert has_failed(failed("n1 n2 n3", proven="n1", retreated=True), 3)
    assert not has_failed(failed("n1 n2 n3", owner="n1"), 3), "somebody is at it"
    assert way_back(failed("n1 n2", proven="n3")) == "n3"


class Log:
    """A log with the workload in it, applied as it grows."""

    def __init__(self) -> None:
        self.placements = Placements()
        self.index = 0

    def add(self, command: object) -> Placement:
        self.index += 1
        self.placements.apply(Entry(self.index, 1, 1000 * self.index, command))  # type: ignore[arg-type]
        return self.placements.get("main")

    def fails_on(self, node: str, cause: str = "failover") -> Placement:
        token = self.add(Grant("main", node, cause)).token
        return self.add(Release("main", token, "failed", detail=f"deaf on {node}"))


def test_the_log_remembers_who_tried_and_why_it_failed() -> None:
    log = Log()
    log.fails_on("n1")
    log.fails_on("n2")
    placement = log.fails_on("n1")
    assert (placement.failed_on, placement.attempts, placement.why) == (("n1", "n2"), 3, "deaf on n1")
    token = log.add(Grant("main", "n3", "failover")).token
    placement = log.add(Release("main", token, "leaving"))
    assert placement.failed_on == ("n1", "n2"), "who leaves has not failed"


def test_good_health_is_remembered_and_makes_up_for_failures() -> None:
    log = Log()
    log.fails_on("n1")
    token = log.add(Grant("main", "n2", "failover")).token
    assert log.add(Proven("main", token - 1)).proven == "", "of an older token"
    assert log.add(Proven("main", token)).proven == "n2"
    assert log.placements.get("main").attempts == 1, "well, but not for long enough to forget"
    placement = log.add(Settled("main", token))
    assert (placement.attempts, placement.tried, placement.why) == (0, "", "")
    placement = log.fails_on("n3")
    assert placement.proven == "n2"


def test_one_way_back_until_it_is_well_or_an_operator_has_spoken() -> None:
    log = Log()
    token = log.add(Grant("main", "n1", "placement")).token
    log.add(Proven("main", token))
    log.add(Release("main", token, "failed"))
    log.fails_on("n2")
    placement = log.fails_on("n1", "rollback")
    assert placement.retreated
    assert way_back(placement) == ""
    placement = log.add(Move("main", placement.token, "n2", "failover"))
    assert (placement.retreated, placement.attempts, placement.tried) == (False, 0, "")


@pytest.mark.parametrize(("cause", "attempts"), [("asked", 0), ("expired", 1)])
def test_an_operator_who_resumes_has_what_was_given_up_tried_again(cause: str, attempts: int) -> None:
    log = Log()
    log.fails_on("n1")
    assert log.add(Resume(1, cause)).attempts == attempts


def test_what_runs_is_not_forgiven_by_a_resume() -> None:
    log = Log()
    log.fails_on("n1")
    log.add(Grant("main", "n2", "failover"))
    assert log.add(Resume(1, "asked")).attempts == 1


def test_a_rollback_of_an_operators_move_is_no_way_back() -> None:
    log = Log()
    token = log.add(Grant("main", "n1", "placement")).token
    log.add(Move("main", token, "n2", "switchover"))
    log.add(Release("main", token, "moved"))
    assert not log.add(Grant("main", "n3", "rollback")).retreated


def test_the_list_of_who_tried_has_an_end() -> None:
    log = Log()
    for number in range(TRIED_MAX + 5):
        placement = log.fails_on(f"n{number}")
    assert len(placement.failed_on) == TRIED_MAX
    assert placement.failed_on[-1] == f"n{TRIED_MAX + 4}"
