"""Who is told of a commit, and when: at once where clients wait for it, else with what is sent anyway."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Append, AppendAnswer
from mltbd.core.consensus import NEWS_S
from mltbd.core.effects import Send
from mltbd.core.events import Listen
from mltbd.core.stream import LATE_S
from tests.daemon.core.desk_kit import Desk, put


@pytest.fixture
def desk() -> Desk:
    return Desk()


def appends_to(desk: Desk, node: str) -> list[Append]:
    return [s.message for s in desk.told("n1", Send) if s.to == node and isinstance(s.message, Append)]


def test_a_batch_costs_each_follower_one_message_and_one_answer(desk: Desk) -> None:
    """Nobody there waits for it: the news that it is committed goes with what is sent anyway."""
    desk.submit("n1", put("a"))
    assert [len(append.entries) for append in appends_to(desk, "n2")] == [1]
    answers = [s.message for s in desk.told("n2", Send) if isinstance(s.message, AppendAnswer)]
    assert [answer.index for answer in answers] == [desk.n1.consensus.log.last_index]


def test_the_news_of_a_commit_waits_a_moment_at_most(desk: Desk) -> None:
    desk.submit("n1", put("a"))
    assert desk.wired.nodes["n2"].state.applied < desk.n1.state.applied
    desk.wired.run(NEWS_S)
    assert desk.wired.nodes["n2"].state.applied == desk.n1.state.applied


def test_whose_clients_wait_is_told_at_once(desk: Desk) -> None:
    desk.submit("n2", put("a"))
    assert [len(append.entries) for append in appends_to(desk, "n2")] == [1, 0]
    assert [len(append.entries) for append in appends_to(desk, "n3")] == [1]


def test_who_listens_for_others_is_told_at_once(desk: Desk) -> None:
    desk.wired.feed("n3", Listen(wanted=True))
    desk.wired.run(1.0)
    desk.seen = len(desk.wired.effects)
    desk.submit("n1", put("a"))
    assert [len(append.entries) for append in appends_to(desk, "n3")] == [1, 0]
    desk.wired.feed("n3", Listen(wanted=False))
    desk.wired.run(1.0)
    desk.seen = len(desk.wired.effects)
    desk.submit("n1", put("c"))
    assert [len(append.entries) for append in appends_to(desk, "n3")] == [1]


@pytest.mark.parametrize(("waits", "applied_at_once"), [(False, False), (True, True)])
def test_what_was_committed_before_is_applied_when_the_new_is_saved_or_at_once_where_somebody_waits(
    desk: Desk, waits: bool, applied_at_once: bool
) -> None:
    n2 = desk.wired.nodes["n2"]
    desk.submit("n1", put("a"))
    before = desk.n1.state.applied
    assert n2.state.applied < before
    if waits:
        n2.desk.listening = True
    desk.wired.slow.add("n2")
    desk.wired.run(LATE_S)
    desk.submit("n1", put("c"))
    assert (n2.consensus.commit, n2.consensus.durable, n2.consensus.log.last_index) == (before, before, before + 1)
    assert (n2.state.applied == before) == applied_at_once
    desk.wired.saved("n2")
    assert n2.state.applied == before
