"""What a build may take part in, what it may take into its log, and what the next level waits for."""

from __future__ import annotations

import pytest

from mltb_transport.level import LEVEL_OF, Level
from mltb_transport.messages import Entry, Founding, NoOp, Settled
from mltbd.core.level_rules import Mate, NotSpoken, Speaks, check_disk, refusal, spoken, target, wait
from mltbd.core.snapshots import Snapshot

OLD, NEW, LATER = Speaks(1, 1), Speaks(1, 2), Speaks(2, 3)


def entries(*commands: NoOp | Level | Settled | Founding) -> tuple[Entry, ...]:
    return tuple(Entry(index, 1, 0, command) for index, command in enumerate(commands, start=1))


def mates(*speak: Speaks | None, for_s: float = 100.0) -> tuple[Mate, ...]:
    return tuple(Mate(f"n{place}", each, 1, for_s) for place, each in enumerate(speak, start=2))


@pytest.mark.parametrize(
    ("speaks", "level", "install"),
    [(OLD, 1, ""), (OLD, 2, "a newer"), (NEW, 1, ""), (NEW, 2, ""), (NEW, 3, "a newer"), (LATER, 1, "an older")],
)
def test_a_build_that_does_not_speak_the_level_says_what_to_install(speaks: Speaks, level: int, install: str) -> None:
    why = refusal(speaks, level)
    assert bool(why) == bool(install)
    assert f"install {install} mltbd" in why or not install


@pytest.mark.parametrize(("speaks", "taken"), [(OLD, 1), (NEW, 4)])
def test_the_log_takes_nothing_beyond_what_is_spoken(
    speaks: Speaks, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LEVEL_OF, Settled, 2)
    assert spoken(speaks, entries(NoOp(), Level(2), Settled("main", 1), Level(3)))[-1].index == min(taken, 3)
    assert spoken(speaks, entries(NoOp(), Settled("main", 1), NoOp()))[-1].index == (1 if speaks == OLD else 3)
    assert spoken(speaks, ()) == ()


def test_a_disk_of_a_newer_build_is_refused_committed_or_not() -> None:
    check_disk(OLD, None, ())
    check_disk(OLD, None, entries(Founding("c1", "", ()), NoOp()))
    check_disk(NEW, Snapshot.take(1, 1, "c1", (), [], 2), entries(Level(2)))
    for snapshot, log in ((None, entries(NoOp(), Level(2))), (Snapshot.take(1, 1, "c1", (), [], 2), ())):
        with pytest.raises(NotSpoken, match="protocol level 2, this mltbd speaks 1: install a newer mltbd"):
            check_disk(OLD, snapshot, log)


@pytest.mark.parametrize(
    ("ours", "others", "level"),
    [
        (NEW, (), 2),
        (NEW, (NEW, NEW), 2),
        (NEW, (NEW, OLD), 1),
        (OLD, (NEW, NEW), 1),
        (NEW, (LATER,), 2),
        (NEW, (NEW, None), 0),
        (LATER, (OLD,), 0),
    ],
)
def test_the_level_can_rise_to_what_all_speak(ours: Speaks, others: tuple[Speaks | None, ...], level: int) -> None:
    assert target(ours, mates(*others)) == level


@pytest.mark.parametrize(
    ("ours", "others", "waits"),
    [
        (OLD, (OLD, OLD), ""),
        (NEW, (NEW, NEW), ""),
        (NEW, (NEW, OLD), "level 2 waits: n3 speaks protocol 1"),
        (NEW, (NEW, None), "level 2 waits: n3 has not said what it speaks"),
        (OLD, (None, OLD), ""),
        (OLD, (NEW, NEW), "level 2 waits: the leader speaks protocol 1"),
        (Speaks(1, 3), (Speaks(1, 3), NEW), ""),  # to 2
    ],
)
def test_what_it_waits_for(ours: Speaks, others: tuple[Speaks | None, ...], waits: str) -> None:
    assert wait(1, ours, mates(*others), 100.0, 50.0) == waits


@pytest.mark.parametrize(("for_s", "reigns_s", "words"), [(30.0, 5000.0, "60 min"), (9e9, 3570.0, "30 s")])
def test_it_waits_until_all_have_spoken_it_for_long_enough(for_s: float, reigns_s: float, words: str) -> None:
    why = wait(1, NEW, mates(NEW, NEW, for_s=for_s), reigns_s, 3600.0)
    assert why == f"level 2 waits for {words} yet, so that the upgrade can be taken back"
    assert not wait(2, NEW, mates(NEW, NEW, for_s=for_s), reigns_s, 3600.0)
