"""What a member takes for durable while several saves are on their way to a slow disk."""

from __future__ import annotations

from mltb_transport.messages import Append
from tests.daemon.core.core_kit import THREE, WALL, Member, entries


def append(member: Member, leader: str, term: int, *terms: int, first: int) -> None:
    """Entries of these terms, from index `first` on, from the leader of `term`; all before them is as it was."""
    before = member.consensus.log.term_at(first - 1)
    message = Append(term, 1, first - 1, before, 0, (leader,), entries(*terms, first=first))
    member.consensus.append(leader, message, 0.0)


def test_each_save_makes_its_entries_durable() -> None:
    member = Member("n1", THREE)
    append(member, "n2", 2, 2, 2, first=2)
    first = member.out.save_number
    append(member, "n2", 2, 2, first=4)
    assert member.consensus.durable == 1
    member.consensus.saved(first, 0.0, WALL)
    assert member.consensus.durable == 3
    member.consensus.saved(member.out.save_number, 0.0, WALL)
    assert member.consensus.durable == 4


def test_entries_that_were_cut_and_came_back_wait_for_their_own_save() -> None:
    """Same index, same term: but between the two saves the disk holds something else there."""
    member = Member("n1", THREE)
    append(member, "n2", 2, 2, 2, first=2)
    written = member.out.save_number
    append(member, "n3", 3, 3, first=2)
    append(member, "n2", 4, 2, 2, 4, first=2)
    member.consensus.saved(written, 0.0, WALL)
    assert member.consensus.durable == 1
    member.consensus.saved(member.out.save_number, 0.0, WALL)
    assert member.consensus.durable == 4
