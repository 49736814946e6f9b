"""Snapshots: the same bytes on every node, whole or refused."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.messages import Append, AppendAnswer, Entry, Found, Founded, Founding, Grant
from mltb_transport.schema import pack_entry
from mltb_transport.voters import Voter
from mltbd.core import snapshots
from mltbd.core.effects import Send
from mltbd.core.events import Received, Recovered
from mltbd.core.log import weight
from mltbd.core.node import Node
from mltbd.core.node_config import NodeConfig
from mltbd.core.snapshots import Snapshot, SnapshotError, loaded, restored
from mltbd.state.machine import State
from tests.daemon.core.core_kit import TIMING, WALL, Fixed, Member, entries, founding, of


def state(*owners: str) -> State:
    made = State()
    made.apply(founding("n1", "n2"))
    for owner in owners:
        made.apply(Entry(made.applied + 1, 1, WALL, Grant("main", owner, "placement", "because \ud800")))
    return made


def snapshot(*owners: str) -> Snapshot:
    made = state(*owners)
    return Snapshot.take(made.applied, 1, made.cluster, made.voters, made.dump())


def test_the_same_state_is_the_same_bytes() -> None:
    assert snapshot("n1", "n2") == snapshot("n1", "n2")
    assert snapshot("n1", "n2").digest == snapshot("n1", "n2").digest != snapshot("n2", "n1").digest


def test_there_and_back() -> None:
    taken = snapshot("n1", "n2")
    read, dump = Snapshot.read(taken.data)
    assert read == taken
    assert read.voters == (Voter("n1", "disk-n1"), Voter("n2", "disk-n2"))
    assert loaded(read, dump).dump() == restored(taken).dump() == state("n1", "n2").dump()


def test_without_a_snapshot_the_state_is_empty() -> None:
    assert restored(None).dump() == State().dump()


@given(st.binary(max_size=60))
def test_bytes_that_are_no_snapshot_are_refused(data: bytes) -> None:
    with pytest.raises(SnapshotError):
        Snapshot.read(data)


@given(st.data())
def test_a_damaged_snapshot_never_raises_anything_else(data: st.DataObject) -> None:
    whole = bytearray(snapshot("n1").data)
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    try:
        read, dump = Snapshot.read(bytes(whole))
        loaded(read, dump)
    except SnapshotError:
        pass


@pytest.mark.parametrize(
    "body",
    [[2, 1, 1, "c", [], []], [1, 0, 1, "c", [], []], [1, 1, -1, "c", [], []], [1, 1, 1, 5, [], []],
     [1, 1, 1, "c", [["n1"]], []], [1, 1, 1, "c", [], 7], [1, 1, 1, "c", []], [1, True, 1, "c", [], []], {}],
)  # fmt: skip
def test_each_field_is_checked(body: object) -> None:
    with pytest.raises(SnapshotError):
        Snapshot.read(msgpack.packb(body))


def test_a_state_of_another_index_or_cluster_is_refused() -> None:
    made = state("n1")
    for wrong in (
        Snapshot.take(made.applied + 1, 1, made.cluster, made.voters, made.dump()),
        Snapshot.take(made.applied, 1, "c2", made.voters, made.dump()),
    ):
        with pytest.raises(SnapshotError, match="another one"):
            restored(wrong)


def test_a_snapshot_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = snapshot("n1")
    monkeypatch.setattr(snapshots, "BYTES_MAX", len(whole.data) - 1)
    with pytest.raises(SnapshotError, match="exceeds the limit"):
        snapshot("n1")
    with pytest.raises(SnapshotError, match="exceeds the limit"):
        Snapshot.read(whole.data)


@given(st.text(max_size=200), st.integers(0, 2**62))
def test_the_weight_of_an_entry_is_never_less_than_its_bytes(text: str, number: int) -> None:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return
    entry = Entry(number, number, number, Grant("main", text, "placement", text))
    assert weight(entry) >= len(pack_entry(entry))


def test_a_node_begins_with_the_state_of_its_snapshot() -> None:
    taken = snapshot("n1", "n2")
    tail = entries(1, 1, first=taken.index + 1)
    config = NodeConfig("n1", "c9", TIMING)
    node = Node(config, Recovered("disk-n1", 4, 1, "", tail, taken), Fixed(), 0.0)
    node.start(0.0, WALL)
    assert (node.cluster, node.consensus.is_voter, node.consensus.durable) == ("c1", True, taken.index + 2)
    assert (node.state.applied, node.consensus.commit) == (0, 0), "nobody has told yet how things stand"
    heartbeat = Append(1, 1, taken.index + 2, 1, taken.index + 1, ("n2",), ())
    node.handle(Received("n2", 1, "c1", heartbeat), 0.1, WALL)
    assert (node.state.applied, node.state.placements.get("main").owner) == (taken.index + 1, "n2")
    node.check()


@pytest.mark.parametrize(("previous", "ok", "index"), [(1, True, 3), (3, True, 4), (2, True, 3)])
def test_an_old_append_is_answered_with_what_is_committed(previous: int, ok: bool, index: int) -> None:
    """What it brings lies in the snapshot; only what follows the base is looked at."""
    taken = snapshot("n1", "n2")
    member = Member("n2", ("n1", "n2"), log=(), snapshot=taken)
    member.consensus.append("n1", Append(1, 1, previous, 1, 0, (), entries(1, first=previous + 1)), 0.0)
    answers = [effect.message for effect in of(Send, member.save())]
    assert [(a.ok, a.index) for a in answers if isinstance(a, AppendAnswer)] == [(ok, index)]


def test_a_founder_that_asks_again_is_answered_from_the_snapshot() -> None:
    """The founding entry itself is gone; the cluster is known all the same."""
    config = NodeConfig("n2", "c9", TIMING)
    node = Node(config, Recovered("disk-n2", 4, 1, "", (), snapshot("n1")), Fixed(), 0.0)
    node.start(0.0, WALL)
    said = node.handle(Received("n1", 1, "c1", Found(founding("n1", "n2"))), 0.1, WALL)
    assert [effect.message for effect in of(Send, said) if isinstance(effect.message, Founded)] == [Founded("c1")]
    other = Entry(1, 1, WALL, Founding("c7", "x", ()))
    said = node.handle(Received("n1", 1, "", Found(other)), 0.2, WALL)
    assert not [effect for effect in of(Send, said) if isinstance(effect.message, Founded)]
