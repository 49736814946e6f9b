"""Reads on one member: what they wait for, who is asked, and what they are told when it comes to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from mltb_transport.messages import Append
from mltb_transport.store import Forward, Forwarded
from mltbd.core import reads as reads_module
from mltbd.core.effects import Reply
from mltbd.core.reads import PATIENCE_S, Reads
from tests.daemon.core.core_kit import THREE, Member, of, sent

FIRST = 2
"""The first entry of a leader's reign, behind the founding."""


class Reader:
    """The reads of one of three members, and what comes of them. A leader is not in charge before n2 has its entry."""

    def __init__(self, node: str = "n1", voters: Sequence[str] = THREE) -> None:
        self.member = Member(node, voters)
        self.reads = Reads(self.member.consensus, self.member.out)
        self.now = 0.0

    def leads(self, *, in_charge: bool = True) -> Reader:
        self.now = self.member.lead("n2")
        if in_charge:
            self.acked("n2", self.member.consensus.log.last_index)
        self.member.out.take()
        return self

    def follows(self, leader: str, term: int = 1) -> Reader:
        self.member.consensus.append(leader, Append(term, 1, 1, 1, 1, (leader,), ()), self.now)
        self.member.save(self.now)
        return self

    def acked(self, node: str, index: int = FIRST) -> None:
        """This follower acknowledges the youngest round."""
        reign = self.member.consensus.reign
        assert reign is not None
        self.member.acked(node, reign.round, index, self.now)

    def work(self, applied: int = FIRST) -> bool:
        return self.reads.work(self.now, applied)

    def told(self) -> dict[int, str]:
        """Requests that were answered since, and with which code."""
        return {reply.request: reply.code for reply in of(Reply, self.member.out.take())}

    def sent(self, kind: type[Any]) -> list[tuple[str, Any]]:
        return sent(kind, self.member.out.take())


# -- a leader ------------------------------------------------------------------------------------------------------


def test_no_round_proves_anything_before_an_entry_of_our_own_term_is_committed() -> None:
    """An earlier leader may have committed what we do not know to be."""
    reader = Reader().leads(in_charge=False)
    reader.reads.ask(7, reader.now)
    assert not reader.work()
    reader.acked("n2", FIRST)
    assert reader.work(), "a round begins now"
    assert reader.told() == {}
    reader.acked("n3")
    reader.work(applied=FIRST - 1)
    assert reader.told() == {}, "what was committed is not applied here"
    reader.work()
    assert reader.told() == {7: ""}


def test_a_read_that_comes_during_a_round_is_proved_by_the_next() -> None:
    reader = Reader().leads()
    reader.reads.asked("n2", Forward(7, ()))
    assert reader.work()
    reader.reads.asked("n3", Forward(8, ()))
    reader.reads.ask(9, reader.now)
    assert not reader.work()
    reader.acked("n3")
    assert reader.work(), "the next round"
    assert reader.sent(Forwarded) == [("n2", Forwarded(7, "", "", FIRST))]
    reader.acked("n2")
    reader.work()
    effects = reader.member.out.take()
    assert sent(Forwarded, effects) == [("n3", Forwarded(8, "", "", FIRST))]
    assert of(Reply, effects) == [Reply(9)]


def test_a_reign_that_is_over_answers_nobody() -> None:
    reader = Reader().leads()
    reader.reads.ask(7, reader.now)
    reader.reads.asked("n2", Forward(8, ()))
    assert reader.work()
    reader.reads.asked("n3", Forward(9, ()))
    reader.follows("n2", term=9)
    assert not reader.work()
    effects = reader.member.out.take()
    assert [(reply.request, reply.code) for reply in of(Reply, effects)] == [(7, "unavailable")]
    assert sent(Forwarded, effects) == []
    reader.leads()
    reader.reads.ask(10, reader.now)
    assert reader.work(), "the round that was under way holds up none of the next reign"
    reader.acked("n3")
    reader.work(applied=3)
    assert (reader.told(), reader.member.consensus.confirmations) == ({10: ""}, [])


def test_a_lonely_voter_proves_it_to_itself() -> None:
    reader = Reader(voters=["n1"]).leads(in_charge=False)
    reader.reads.ask(7, reader.now)
    assert reader.work()
    assert reader.told() == {7: ""}


def test_who_does_not_lead_says_so() -> None:
    reader = Reader().follows("n2")
    reader.reads.asked("n3", Forward(7, ()))
    assert [(node, word.number, word.code) for node, word in reader.sent(Forwarded)] == [("n3", 7, "unavailable")]


def test_a_leader_of_whom_too_much_is_asked_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads_module, "WAITING_MAX", 2)
    reader = Reader().leads(in_charge=False)
    for number in (7, 8, 9):
        reader.reads.asked("n3", Forward(number, ()))
    assert [(word.number, word.code) for _, word in reader.sent(Forwarded)] == [(9, "overloaded")]


# -- a follower ----------------------------------------------------------------------------------------------------


def test_a_follower_asks_its_leader_and_catches_up_with_it() -> None:
    reader = Reader().follows("n2")
    reader.reads.ask(7, reader.now)
    assert reader.sent(Forward) == [("n2", Forward(7, ()))]
    reader.reads.told(Forwarded(7, "", "", 3))
    reader.reads.told(Forwarded(6, "", "", 3))
    reader.work(applied=2)
    assert (reader.told(), reader.reads.waits) == ({}, True)
    reader.work(applied=3)
    assert (reader.told(), reader.reads.waits) == ({7: ""}, False)


def test_the_leaders_refusal_is_the_answer() -> None:
    reader = Reader().follows("n2")
    reader.reads.ask(7, reader.now)
    reader.member.out.take()
    reader.reads.told(Forwarded(7, "overloaded", "too many", 0))
    assert reader.member.out.take() == [Reply(7, "overloaded", "too many", reads_module.HINT)]
    reader.work()
    assert reader.told() == {}, "once"


def test_without_a_leader_nobody_is_asked() -> None:
    reader = Reader()
    reader.reads.ask(7, 0.0)
    assert reader.told() == {7: "no_quorum"}


def test_a_read_nobody_answers_is_given_up() -> None:
    reader = Reader().follows("n2")
    assert reader.reads.next_deadline() == float("inf")
    reader.reads.ask(7, 1.0)
    reader.reads.ask(8, 2.0)
    reader.member.out.take()
    reader.now = reader.reads.next_deadline()
    assert reader.now == 1.0 + PATIENCE_S
    reader.work()
    assert reader.told() == {7: "no_quorum"}
    assert reader.reads.next_deadline() == 2.0 + PATIENCE_S


def test_another_leader_cannot_answer_what_the_last_one_was_asked() -> None:
    reader = Reader().follows("n2")
    for number in (7, 8):
        reader.reads.ask(number, reader.now)
    reader.reads.told(Forwarded(7, "", "", 3))
    reader.follows("n3", term=2)
    reader.work(applied=1)
    assert reader.told() == {8: "unavailable"}
    reader.reads.told(Forwarded(8, "", "", 1))
    reader.work(applied=3)
    assert reader.told() == {7: ""}, "what it is to wait for was told before"
