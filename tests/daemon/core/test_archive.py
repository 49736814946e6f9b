"""When a snapshot is taken, what a follower makes of its leader's, and what both refuse."""

from __future__ import annotations

import gc
from types import FunctionType, ModuleType
from typing import Any

import pytest

from mltb_transport.messages import Append, AppendAnswer, Entry, Grant, Message, NoOp
from mltb_transport.pieces import Piece, PieceAnswer
from mltb_transport.plain import pack_plain, unpack_plain
from mltb_transport.voters import ChangeVoters, Voter
from mltbd.core.archive import Compaction
from mltbd.core.effects import Effect, Note, Outcomes, Save, Send
from mltbd.core.events import Received, Recovered, Saved
from mltbd.core.log import InvariantViolation
from mltbd.core.node import Node
from mltbd.core.node_config import NodeConfig
from mltbd.core.shipping import Shipment
from mltbd.core.snapshots import Snapshot, SnapshotError
from mltbd.state.machine import State
from tests.daemon.core.core_kit import THREE, TIMING, WALL, Fixed, Member, entries, founding, log_of, of, saves

TAIL = 2


class Follower:
    """A whole node that follows n1 in term 2. Its disk answers when told to."""

    def __init__(self, log: tuple[Entry, ...] = (), store: str = "disk-n2", **limits: Any) -> None:
        compaction = Compaction(**({"entries": 5, "tail": TAIL, "spread": 0} | limits))
        config = NodeConfig("n2", "c9", TIMING, compaction=compaction)
        self.node = Node(config, Recovered(store, 1, 2, "", log), Fixed(), 0.0)
        self.now = 0.0
        self.node.start(0.0, WALL)

    def hears(self, message: Message) -> list[Effect]:
        self.now += 0.01
        return self.node.handle(Received("n1", 1, "c1", message), self.now, WALL)

    def saved(self) -> list[Effect]:
        return self.node.handle(Saved(self.node.out.save_number), self.now, WALL)

    def append(self, log: tuple[Entry, ...], commit: int, previous: tuple[int, int] = (0, 0)) -> list[Effect]:
        return self.hears(Append(2, 1, *previous, commit, ("n1",), log)) + self.saved()


def answers(effects: list[Effect], kind: type[Any]) -> list[Any]:
    return [effect.message for effect in of(Send, effects) if isinstance(effect.message, kind)]


def kept(effects: list[Effect]) -> list[tuple[int, tuple[int, int]]]:
    return [(save.snapshot.index, save.base) for save in saves(effects) if save.snapshot is not None]


LOG = log_of(THREE, 1, 1, 2, 2, 2, 2, 2)
VOTERS = tuple(Voter(node, f"disk-{node}") for node in THREE)


def test_a_snapshot_is_taken_of_what_is_applied_and_a_tail_is_kept() -> None:
    follower = Follower()
    assert kept(follower.append(LOG, commit=4)) == []
    took = follower.append((), commit=7, previous=(8, 2))
    assert kept(took) == [(7, (5, 2))]
    log = follower.node.consensus.log
    assert (log.base_index, log.last_index, log.covered) == (5, 8, 7)
    assert kept(follower.append(entries(*[2] * 4, first=9), commit=11, previous=(8, 2))) == [], "not due yet"
    assert kept(follower.append((), commit=12, previous=(12, 2))) == [(12, (10, 2))]


def test_what_is_not_on_disk_is_in_no_snapshot() -> None:
    follower = Follower()
    heard = follower.hears(Append(2, 1, 0, 0, 8, ("n1",), LOG))
    assert kept(heard) == []
    assert kept(follower.saved()) == [(8, (6, 2))]


def test_heavy_entries_are_compacted_sooner() -> None:
    heavy = Grant("main", "n3", "placement", "x" * 900)
    log = (founding(*THREE), *entries(1, 1, first=2, command=heavy))
    assert kept(Follower(entries=100, weight=1700).append(log, commit=3)) == [(3, (1, 1))]
    assert kept(Follower(entries=100, weight=9000).append(log, commit=3)) == []


def test_nodes_take_their_snapshots_at_different_moments() -> None:
    log = (founding(*THREE), *entries(*[1] * 199, first=2))
    took = []
    for number in range(6):
        follower = Follower(store=f"disk-{number}", entries=100, spread=0.5)
        follower.append(log[:100], commit=99)
        for last in range(100, 200):
            took += [index for index, _ in kept(follower.append(log[last : last + 1], last, (last, 1)))][:1]
            if follower.node.consensus.log.covered:
                break
    assert len(took) == 6
    assert all(100 <= index <= 150 for index in took)
    assert len(set(took)) > 3


def test_the_larger_the_state_the_longer_the_log_may_grow() -> None:
    """The second snapshot is due after as many bytes as the first one had, not after `weight`."""
    heavy = Grant("main", "n3", "placement", "x" * 900)
    follower = Follower(entries=10**6, weight=100)
    follower.append((founding(*THREE), *entries(1, 1, 1, 1, first=2, command=heavy)), commit=5)
    first = follower.node.consensus.log.snapshot
    assert first is not None
    assert len(first.data) > 1000
    last = 5
    while follower.node.consensus.log.snapshot is first:
        follower.append(entries(1, first=last + 1, command=heavy), last + 1, (last, 1))
        last += 1
    assert last > 6, "one entry alone weighs more than `weight`"
    assert 1000 * (last - 5) > len(first.data)


def test_a_state_too_large_for_a_snapshot_is_said_and_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mltbd.core.snapshots.BYTES_MAX", 10)
    follower = Follower()
    said = follower.append(LOG, commit=8)
    assert [note.text for note in of(Note, said) if "cannot be compacted" in note.text]
    assert not of(Note, follower.append(entries(2, first=9), commit=9, previous=(8, 2)))
    monkeypatch.undo()
    assert kept(follower.append(entries(*[2] * 4, first=10), commit=13, previous=(9, 2))) == [(13, (11, 2))]


# -- a leader's snapshot -----------------------------------------------------------------------------------------


def snapshot(*terms: int, cluster: str = "c1") -> Snapshot:
    """The state after a founding and entries of these terms, the last of them a grant."""
    state = State()
    log = log_of(THREE, *terms)
    for entry in (*log[:-1], Entry(len(log), terms[-1], WALL, Grant("main", "n3", "placement"))):
        state.apply(entry)
    state.cluster = cluster
    return Snapshot.take(state.applied, terms[-1], cluster, state.voters, state.dump())


def piece(whole: Snapshot, start: int = 0, end: int | None = None, **changes: Any) -> Piece:
    fields: dict[str, Any] = {"term": 2, "index": whole.index, "index_term": whole.term} | changes
    data = whole.data[start:end]
    return Piece(digest=whole.digest, total=len(whole.data), offset=start, data=data, **fields)


def greeted(log: tuple[Entry, ...] = (), commit: int = 0) -> Follower:
    follower = Follower(log, entries=100)
    follower.append((), commit, (log[-1].index, log[-1].term) if log else (50, 2))
    return follower


def test_a_follower_takes_over_a_snapshot_once_it_is_on_its_disk() -> None:
    follower, whole = greeted(), snapshot(1, 1, 2)
    (half,) = answers(follower.hears(piece(whole, 0, 30)), PieceAnswer)
    assert (half.offset, half.digest, half.store) == (30, whole.digest, "disk-n2")
    last = follower.hears(piece(whole, 30))
    assert answers(last, PieceAnswer) == [], "it is not on disk"
    assert kept(last) == [(4, (4, 2))]
    assert follower.node.state.applied == 0
    effects = follower.saved()
    (done,) = answers(effects, PieceAnswer)
    assert done.offset == len(whole.data)
    assert of(Outcomes, effects) == [Outcomes(())], "who waits for a lock or a change is to look"
    assert (follower.node.state.applied, follower.node.cluster) == (4, "c1")
    assert follower.node.state.placements.get("main").owner == "n3"
    assert set(follower.node.consensus.voters) == set(THREE)
    (answer,) = answers(follower.append(entries(2, first=5), 5, (4, 2)), AppendAnswer)
    assert (answer.ok, answer.index, follower.node.state.applied) == (True, 5, 5)


def test_a_log_that_agrees_keeps_what_follows() -> None:
    follower = greeted(log_of(THREE, 1, 1, 2, 2, 2), commit=1)
    follower.hears(piece(snapshot(1, 1, 2)))
    follower.saved()
    log = follower.node.consensus.log
    assert (log.base_index, log.last_index, follower.node.consensus.durable) == (4, 6, 6)
    assert follower.node.state.applied == 4


def test_a_log_that_differs_goes() -> None:
    follower = greeted(log_of(THREE, 1, 1, 1, 1, 1), commit=2)
    last = follower.hears(piece(snapshot(1, 1, 2)))
    consensus = follower.node.consensus
    assert (consensus.log.last_index, consensus.log.last_term, consensus.durable) == (4, 2, 2)
    assert kept(last) == [(4, (4, 2))]
    follower.saved()
    assert (follower.node.state.applied, consensus.durable) == (4, 4)


def test_a_save_of_the_log_that_went_proves_nothing() -> None:
    follower = greeted(log_of(THREE, 1), commit=2)
    follower.hears(Append(2, 2, 2, 1, 2, ("n1",), entries(2, 2, 2, first=3)))
    before = follower.node.out.save_number
    follower.hears(piece(snapshot(1, 1, 2, 2, 2, 2, 2)))
    follower.node.handle(Saved(before), follower.now, WALL)
    assert follower.node.consensus.durable == 2
    follower.saved()
    assert follower.node.consensus.durable == 8


@pytest.mark.parametrize("commit", [4, 5])
def test_it_never_goes_back_behind_what_is_committed(commit: int) -> None:
    follower, whole = greeted(log_of(THREE, 1, 1, 2, 2), commit=commit), snapshot(1, 1, 2)
    effects = follower.hears(piece(whole, 0, 10))
    assert [answer.offset for answer in answers(effects, PieceAnswer)] == [len(whole.data)], "it has all that"
    assert kept(effects) == []
    with pytest.raises(InvariantViolation, match="goes back behind"):
        follower.node.consensus.install(whole)


def test_the_beginning_of_one_is_given_up_once_entries_came_instead() -> None:
    """It may be 64 MiB, and nobody will ever send the rest."""
    follower, whole = greeted(log_of(THREE, 1), commit=2), snapshot(1, 1, 2)
    (half,) = answers(follower.hears(piece(whole, 0, 30)), PieceAnswer)
    assert half.offset == 30
    follower.append(entries(1, 2, first=3), 4, (2, 1))
    assert follower.node.state.applied == 4
    assert len(follower.node._archive._intake) == 0


@pytest.mark.parametrize("changes", [{"term": 1}, {"term": 3}])
def test_only_its_own_leader_may_send_one(changes: dict[str, Any]) -> None:
    follower, whole = greeted(), snapshot(1, 1, 2)
    assert answers(follower.hears(piece(whole, 0, 10, **changes)), PieceAnswer) == []
    stranger = follower.node.handle(Received("n3", 1, "c1", piece(whole)), follower.now, WALL)
    assert answers(stranger, PieceAnswer) == saves(stranger) == []


def test_a_snapshot_of_a_level_that_is_not_spoken_is_not_even_read() -> None:
    whole = snapshot(1, 1, 2)
    beyond = Snapshot.take(whole.index, whole.term, "c1", whole.voters, [["a part", ["of tomorrow"]]], 9)
    follower = greeted((founding(*THREE),), commit=1)
    refused = follower.hears(piece(beyond))
    (note,) = of(Note, refused)
    assert note.text.endswith("the cluster is at protocol level 9, this mltbd speaks 1: install a newer mltbd")
    assert kept(refused) == []
    assert not follower.hears(piece(beyond))
    assert follower.node.consensus.log.last_index == 1


def test_a_snapshot_says_its_level_and_one_of_before_is_of_the_first() -> None:
    whole = snapshot(1, 1, 2)
    assert Snapshot.read(Snapshot.take(4, 1, "c1", (), [], 3).data)[0].level == 3
    without = unpack_plain(whole.data)[:-1]
    assert Snapshot.read(pack_plain(without))[0] == Snapshot(4, 2, "c1", whole.voters, pack_plain(without), 1)
    for level in (0, "1", None):
        with pytest.raises(SnapshotError, match="a snapshot without a level"):
            Snapshot.read(pack_plain([*without, level]))


@pytest.mark.parametrize(
    ("whole", "changes"),
    [(snapshot(1, 1, 2), {"index": 9}), (snapshot(1, 1, 2), {"index_term": 1}), (snapshot(1, 2, cluster="c7"), {})],
)
def test_what_cannot_be_taken_over_is_refused_once(whole: Snapshot, changes: dict[str, Any]) -> None:
    follower = greeted((founding(*THREE),), commit=1)
    refused = follower.hears(piece(whole, **changes))
    assert [note.level for note in of(Note, refused) if "cannot take over" in note.text] == ["error"]
    assert kept(refused) == []
    assert not of(Note, follower.hears(piece(whole, **changes)))
    assert follower.node.consensus.log.last_index == 1


def test_a_snapshot_damaged_on_the_way_is_collected_again() -> None:
    follower, whole = greeted(), snapshot(1, 1, 2)
    follower.hears(Piece(2, 4, 2, whole.digest, len(whole.data), 0, b"?" * len(whole.data)))
    follower.hears(piece(whole))
    follower.saved()
    assert follower.node.state.applied == 4


# -- the leader's side -------------------------------------------------------------------------------------------


def leader() -> tuple[Member, Snapshot, float]:
    """Leads term 3; its log begins behind entry 4."""
    whole = snapshot(1, 1, 2)
    member = Member("n1", THREE, log=(), snapshot=whole, term=2)
    now = member.lead("n2")
    member.out.take()
    return member, whole, now


def test_a_follower_behind_the_log_gets_the_snapshot_and_then_the_log() -> None:
    member, whole, now = leader()
    member.acked("n2", 1, 1, now, ok=False)
    ((to, sent),) = member.sent(Piece)
    assert (to, sent.index, sent.offset, sent.data) == ("n2", 4, 0, whole.data)
    member.acked("n2", 1, 1, now, ok=False)
    assert not of(Send, member.out.take()), "one piece at a time"
    member.consensus.begin_round(now)
    ((_, greeting),) = [(node, append) for node, append in member.sent(Append) if node == "n2"]
    assert (greeting.prev_index, greeting.prev_term, greeting.entries) == (4, 2, ())
    done = PieceAnswer(3, whole.digest, len(whole.data), "disk-n2")
    member.consensus.piece_answered("n2", done, now)
    ((_, append),) = [(node, append) for node, append in member.sent(Append) if node == "n2" and append.entries]
    assert (append.prev_index, [entry.index for entry in append.entries]) == (4, [5])


def test_what_a_follower_lost_with_its_disk_does_not_count() -> None:
    member, whole, now = leader()
    member.acked("n2", 1, 1, now, ok=False)
    member.consensus.piece_answered("n2", PieceAnswer(3, whole.digest, len(whole.data), "wiped"), now)
    reign = member.consensus.reign
    assert reign is not None
    assert reign.peers["n2"].match_index == 0


def test_nothing_is_sent_to_a_follower_that_is_gone() -> None:
    member, _, now = leader()
    member.acked("n2", 1, 1, now, ok=False)
    member.out.take()
    member.consensus.begin_round(now + 2 * TIMING.election_s + 0.1)
    assert member.sent(Piece) == []


def test_what_was_being_sent_is_kept_no_longer_than_the_reign() -> None:
    member, _, now = leader()
    member.acked("n2", 1, 1, now, ok=False)
    assert kept_by(member.consensus, Shipment)
    member.consensus.append("n2", Append(4, 1, 0, 0, 0, ("n2",), ()), now)
    assert not kept_by(member.consensus, Shipment)


def kept_by(root: object, kind: type[object]) -> bool:
    """Whether a value of this kind is held by this one, by whatever way."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, kind):
            return True
        if id(thing) not in seen and not isinstance(thing, type | ModuleType | FunctionType):
            seen.add(id(thing))
            waiting += gc.get_referents(thing)
    return False


def test_a_leader_compacts_behind_its_followers_with_a_tail() -> None:
    member = Member("n1", THREE, 1, 1, 1)
    log = member.consensus.log
    whole = Snapshot.take(4, 1, "c1", log.voters, [])
    member.consensus.compact(whole, 3)
    assert (log.base_index, log.covered, log.voters, log.cluster) == (1, 4, whole.voters, "c1")
    (saved,) = saves(member.out.take())
    assert saved == Save(1, 1, "", (), whole, (1, 1))
    assert log.entry(2).command == NoOp()
    for wrong in (Snapshot.take(5, 1, "c1", (), []), Snapshot.take(4, 9, "c1", (), [])):
        with pytest.raises(InvariantViolation, match="does not cover"):
            member.consensus.compact(wrong, 0)


def test_voters_that_a_kept_entry_names_rule_on_after_a_snapshot_was_taken_over() -> None:
    changed = (*VOTERS[:2], Voter("n4", "disk-n4"))
    log = (*log_of(THREE, 1, 1, 1), Entry(5, 1, WALL, ChangeVoters(changed, "lost", "n3", "disk-n3")))
    follower = greeted(log, commit=1)
    assert set(follower.node.consensus.voters) == {"n1", "n2", "n4"}
    follower.hears(piece(snapshot(1, 1, 1)))
    assert follower.node.consensus.log.last_index == 5
    assert set(follower.node.consensus.voters) == {"n1", "n2", "n4"}
    follower.append(entries(2, first=5), commit=4, previous=(4, 1))
    assert set(follower.node.consensus.voters) == set(THREE), "the change was cut: the snapshot's voters rule"
