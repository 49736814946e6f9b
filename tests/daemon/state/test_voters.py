"""The committed voters, and who was removed: applied, remembered within a limit, dumped and loaded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.messages import Command, Entry, Founding, NoOp
from mltb_transport.voters import ChangeVoters, Voter
from mltbd.state.voters import REMOVED_MAX, Voters

ONE, TWO = Voter("n1", "d1"), Voter("n2", "d2")
names = st.sampled_from(("n1", "n2", "n3"))
changes = st.builds(
    ChangeVoters,
    st.lists(st.builds(Voter, names, names), max_size=4).map(tuple),
    st.sampled_from(("promoted", "lost", "removed", "admitted", "recovered")),
    names,
    names,
)


def applied(*commands: Command) -> Voters:
    voters = Voters()
    for index, command in enumerate(commands, start=1):
        voters.apply(Entry(index, 1, 0, command))
    return voters


def test_a_cluster_begins_with_its_founders() -> None:
    voters = applied(Founding("c", "mltb", (ONE, TWO)), NoOp())
    assert (voters.agreed, voters.removed, voters.changed) == ((ONE, TWO), {}, 1)


def test_who_is_removed_is_remembered_by_its_disk() -> None:
    voters = applied(Founding("c", "mltb", (ONE, TWO)), ChangeVoters((ONE,), "removed", "n2", "d2"))
    assert voters.agreed == (ONE,)
    assert voters.is_removed("n2", "d2")
    assert not voters.is_removed("n2", "another")
    assert not voters.is_removed("n1", "d2")


def test_admission_forgets_it() -> None:
    out = ChangeVoters((ONE,), "removed", "n2", "d2")
    voters = applied(out, ChangeVoters((ONE,), "admitted", "n2", "d2"))
    assert not voters.removed


def test_who_is_lost_or_promoted_is_not_refused() -> None:
    voters = applied(ChangeVoters((ONE,), "lost", "n2", "d2"), ChangeVoters((ONE, TWO), "promoted", "n2", "d2"))
    assert (voters.removed, voters.agreed, voters.changed) == ({}, (ONE, TWO), 2)


def test_the_memory_has_a_limit() -> None:
    voters = applied(*(ChangeVoters((ONE,), "removed", f"n{n}", "d") for n in range(REMOVED_MAX + 2)))
    assert len(voters.removed) == REMOVED_MAX
    assert not voters.is_removed("n1", "d")
    assert voters.is_removed("n2", "d")


@given(st.lists(changes, max_size=12))
def test_what_is_dumped_comes_back(commands: list[ChangeVoters]) -> None:
    voters = applied(*commands)
    loaded = Voters.load(voters.dump())
    assert vars(loaded) == vars(voters)
    assert list(loaded.removed) == list(voters.removed)  # The order decides who is forgotten first.
    assert loaded.dump() == voters.dump()
