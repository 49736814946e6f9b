"""What a member takes for durable while several saves are on their way to a slow disk."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Append, AppendAnswer, CancelFailback, Command
from mltb_transport.store import Batch
from mltbd.core.consensus import UNSAVED_MAX
from mltbd.core.snapshots import Snapshot
from mltbd.core.voting import LEADER, SNAPSHOT_S
from tests.daemon.core.core_kit import THREE, TIMING, WALL, Member, entries, sent


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


# -- a leader, while it writes a snapshot --------------------------------------------------------------------------


def test_a_disk_far_behind_bounds_what_waits_for_it_and_catches_up() -> None:
    member = Member("n1", THREE)

    def receive(index: int) -> list[tuple[str, AppendAnswer]]:
        member.consensus.append("n2", Append(1, 1, index - 1, 1, 0, ("n2",), entries(1, first=index)), 0.0)
        return member.sent(AppendAnswer)

    for index in range(2, UNSAVED_MAX + 100):
        assert receive(index) == []
    assert member.consensus.log.last_index == member.out.save_number + 1 == UNSAVED_MAX + 1
    _, answer = sent(AppendAnswer, member.save())[-1]
    assert (answer.ok, answer.index) == (True, UNSAVED_MAX + 1)
    ((_, answer),) = receive(UNSAVED_MAX + 100)
    assert (answer.ok, answer.index) == (False, UNSAVED_MAX + 2), "what was not taken is asked for"
    receive(UNSAVED_MAX + 2)
    assert member.consensus.log.last_index == UNSAVED_MAX + 2


def writing(command: Command) -> tuple[Member, float]:
    """It leads, has a snapshot to write and then this command, which the others have on their disks."""
    member = Member()
    now = member.lead("n2")
    member.consensus.compact(Snapshot.take(2, 2, "c1", member.consensus.log.voters, []), 0)
    member.consensus.propose(command, now, WALL)
    for node in ("n2", "n3"):
        member.acked(node, 1, 3, now)
    assert member.consensus.commit > member.consensus.durable
    return member, now


def leads_on(member: Member, now: float) -> bool:
    """Whether it does, as far as its followers go."""
    reign = member.consensus.reign
    assert reign is not None
    member.consensus.begin_round(now)
    for node in ("n2", "n3"):
        member.acked(node, reign.round, 3, now)
    member.tick(now)
    return member.consensus.role == LEADER


def test_a_leader_has_time_to_write_a_snapshot_but_not_for_ever() -> None:
    member, now = writing(Batch(()))
    consensus, snapshot = member.consensus, member.out.save_number - 1
    assert leads_on(member, now + SNAPSHOT_S - 0.1)
    consensus.saved(snapshot, now + SNAPSHOT_S - 0.1, WALL)
    assert leads_on(member, now + SNAPSHOT_S), "it has just written"
    assert consensus.commit > consensus.durable
    assert not leads_on(member, now + SNAPSHOT_S + TIMING.election_s), "no snapshot is left to be written"


@pytest.mark.parametrize(
    ("command", "patience_s"), [(Batch(()), SNAPSHOT_S), (CancelFailback("main", "op"), TIMING.election_s)]
)
def test_while_it_does_it_may_lack_what_clients_said_but_nothing_that_places(
    command: Command, patience_s: float
) -> None:
    member, now = writing(command)
    assert leads_on(member, now + patience_s - 0.01)
    assert member.consensus.next_deadline() <= now + patience_s
    assert not leads_on(member, now + patience_s)
