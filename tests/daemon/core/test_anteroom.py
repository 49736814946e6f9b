"""What an operator asks of a leader that cannot judge yet: it waits, is judged, or is told that nothing was done."""

from __future__ import annotations

import pytest

from mltb_transport.messages import NoOp
from mltbd.core import anteroom
from mltbd.core.anteroom import Anteroom
from mltbd.core.events import Ask
from tests.daemon.core.core_kit import THREE, TIMING, WALL
from tests.daemon.core.node_kit import Wired

VERBS = [("switchover", "n2"), ("promote_node", "n4"), ("pause", "")]
by_verb = pytest.mark.parametrize(("verb", "target"), VERBS, ids=[verb for verb, _ in VERBS])


def between(verb: str, target: str) -> Wired:
    """n1 leads; an entry is committed by n2 and n3, and not on n1's own disk. Then something is asked."""
    wired = Wired(*THREE, "n4").settled()
    leader = wired.nodes["n1"]
    assert wired.leader() == "n1"
    wired.slow.add("n1")
    assert leader.consensus.propose(NoOp(), wired.now, WALL)
    wired.run(TIMING.heartbeat_s)
    assert leader.consensus.commit > leader.state.applied
    wired.ask("n1", 1, verb, target=target)
    assert wired.replies(1) == []
    return wired


def on_disk(wired: Wired) -> None:
    wired.slow.clear()
    wired.saved("n1")
    wired.run(TIMING.heartbeat_s)


@by_verb
def test_between_commit_and_apply_it_waits_and_is_then_carried_out(verb: str, target: str) -> None:
    wired = between(verb, target)
    on_disk(wired)
    assert [reply.code for reply in wired.replies(1)] == [""]


@by_verb
def test_when_the_reign_ends_it_is_told_that_nothing_was_done(verb: str, target: str) -> None:
    wired = between(verb, target)
    end = wired.nodes["n1"].state.applied
    wired.isolate("n1")
    assert wired.until(lambda: wired.nodes["n1"].consensus.reign is None, 10.0)
    assert [(reply.code, reply.hint) for reply in wired.replies(1)] == [("unavailable", "try again")]
    assert wired.nodes["n1"].state.applied == end


@by_verb
def test_a_disk_that_stays_away_ends_the_reign(verb: str, target: str) -> None:
    wired = between(verb, target)
    wired.run(TIMING.election_s + 2 * TIMING.heartbeat_s)
    assert wired.leader() in ("n2", "n3")
    assert [(reply.code, reply.hint) for reply in wired.replies(1)] == [("unavailable", "try again")]


@by_verb
def test_a_disk_that_is_never_done_is_not_waited_for_for_ever(verb: str, target: str) -> None:
    wired = between(verb, target)
    for _ in range(6):
        wired.nodes["n1"].consensus.propose(NoOp(), wired.now, WALL)
        wired.run(TIMING.heartbeat_s)
        wired.saved("n1", 1)
    assert wired.nodes["n1"].consensus.reign is not None
    assert [(reply.code, "disk" in reply.message) for reply in wired.replies(1)] == [("unavailable", True)]
    on_disk(wired)
    assert len(wired.replies(1)) == 1, "judged no more"


def test_it_is_judged_in_the_order_of_arrival() -> None:
    wired = between("pause", "")
    wired.ask("n1", 2, "pause", reason="second")
    wired.ask("n1", 3, "pause", reason="third")
    on_disk(wired)
    assert [reply.code for request in (1, 2, 3) for reply in wired.replies(request)] == ["", "", ""]
    paused = wired.nodes["n1"].state.controls.paused
    assert paused is not None
    assert paused.reason == "third"


@by_verb
def test_only_so_many_wait(verb: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wired = between(verb, target)
    monkeypatch.setattr(anteroom, "WAITING_MAX", 3)
    for request in (2, 3, 4):
        wired.ask("n1", request, verb, target=target)
    assert [len(wired.replies(request)) for request in (1, 2, 3)] == [0, 0, 0]
    assert [reply.code for reply in wired.replies(4)] == ["unavailable"]


def test_the_stories_fail_where_it_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was once: an operator was told that there is no quorum, because a client wrote at that moment."""

    def refuse(self: Anteroom, ask: Ask, _: float) -> None:
        self._answer(ask, "no_quorum", "no leader with a quorum can be reached", "mltbctl status")

    monkeypatch.setattr(Anteroom, "take", refuse)
    with pytest.raises(AssertionError):
        test_between_commit_and_apply_it_waits_and_is_then_carried_out("switchover", "n2")
