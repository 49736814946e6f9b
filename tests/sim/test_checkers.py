"""The checkers themselves: each says `true`, `false` and, where it can, `unknown` of a history written by hand."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Entry, Founding, Grant, Move, NoOp
from tests.sim.checkers import FALSE, TRUE, UNKNOWN, check_liveness, check_safety
from tests.sim.history import (
    Applied,
    Began,
    Broke,
    Closed,
    Cut,
    Deposed,
    Down,
    Healed,
    Held,
    History,
    Joined,
    Kept,
    Leads,
    Replied,
    Spoke,
    Up,
    Voted,
    Vouched,
    WentAlone,
)

FIRST = Entry(1, 1, 0, Founding("c", "mltb", ()))
NOOP = Entry(2, 2, 0, NoOp())
GRANT = Entry(3, 2, 0, Grant("main", "n1", "placement"))
MOVE = Entry(4, 2, 0, Move("main", 3, "n2", "switchover"))
LOG = (FIRST, NOOP, GRANT)
LEASE_S = 3.0


def applied(*entries: Entry, node: str = "n1", term: int = 2, digest: str = "") -> History:
    return [Applied(1.0, node, term, entry, digest) for entry in entries]


STARTS, EMPTY = Began(0.5, "n1", 1, "d1", 0, ""), Began(1.5, "n1", 1, "d1-1", 0, "")
ALONE = [
    STARTS, Began(0.5, "n2", 1, "d2", 0, ""), *applied(*LOG), *applied(*LOG, node="n2"),
    WentAlone(2.0, "n2", "d2", 1 << 32, 1 << 20),
]  # fmt: skip
ANEW = Entry((1 << 32) + 1, 1 << 20, 0, NoOp())


CASES: list[tuple[str, str, History]] = [
    ("nothing broke", TRUE, []),
    ("nothing broke", FALSE, [Broke(1.0, "n1", "KeyError")]),
    ("one leader per term", UNKNOWN, []),
    ("one leader per term", TRUE, [Leads(1.0, "n1", 2, ()), Leads(2.0, "n2", 3, ())]),
    ("one leader per term", FALSE, [Leads(1.0, "n1", 2, ()), Leads(2.0, "n2", 2, ())]),
    (
        "votes stand",
        TRUE,
        [Voted(1.0, "n1", 2, "n1", "d"), Voted(1.1, "n1", 2, "n1", "d"), Voted(1.2, "n1", 3, "n2", "d")],
    ),
    (
        "votes stand",
        FALSE,
        [Voted(1.0, "n1", 2, "n1", "d"), Began(1.1, "n1", 2, "d", 2, ""), Voted(1.2, "n1", 2, "n2", "d")],
    ),
    ("votes stand", TRUE, [Voted(1.0, "n1", 2, "n1", "d"), Voted(1.2, "n1", 2, "n2", "wiped")]),
    ("terms never fall", TRUE, [Spoke(1.0, "n1", "d", 3), Began(2.0, "n1", 2, "d", 3, "")]),
    ("terms never fall", TRUE, [Spoke(1.0, "n1", "d", 3), Began(2.0, "n1", 1, "wiped", 0, "")]),
    ("terms never fall", FALSE, [Spoke(1.0, "n1", "d", 3), Began(2.0, "n1", 2, "d", 2, "")]),
    ("logs match", TRUE, [Held(1.0, "n1", LOG), Held(1.0, "n2", LOG[:2])]),
    ("logs match", FALSE, [Held(1.0, "n1", LOG), Held(1.0, "n2", (FIRST, NOOP, Entry(3, 2, 0, NoOp())))]),
    ("logs match", FALSE, [Held(1.0, "n1", LOG), Held(1.0, "n2", (FIRST, Entry(2, 1, 0, NoOp()), GRANT))]),
    ("committed is stable", UNKNOWN, []),
    ("committed is stable", TRUE, [*applied(*LOG), *applied(*LOG, node="n2")]),
    ("committed is stable", FALSE, [*applied(*LOG), *applied(FIRST, Entry(2, 3, 0, NoOp()), node="n2")]),
    ("committed is stable", FALSE, applied(FIRST, GRANT)),
    ("committed is stable", FALSE, [*applied(FIRST, digest="a"), *applied(FIRST, node="n2", digest="b")]),
    ("committed is stable", FALSE, [*applied(*LOG), Leads(2.0, "n2", 3, (FIRST, NOOP))]),
    ("committed is stable", TRUE, [*applied(*LOG, term=3), Leads(2.0, "n2", 3, (FIRST, NOOP))]),
    ("logs match", TRUE, [Held(1.0, "n1", LOG), Held(1.0, "n2", LOG[1:], (1, 1))]),
    ("logs match", FALSE, [Held(1.0, "n1", LOG), Held(1.0, "n2", LOG[1:], (1, 2))]),
    ("committed is stable", TRUE, [*applied(*LOG), Kept(2.0, "n2", 3, 2, "b"), *applied(GRANT, digest="b")]),
    ("committed is stable", FALSE, [*applied(GRANT, FIRST), Kept(2.0, "n2", 3, 2, "b")]),
    ("committed is stable", FALSE, [*applied(*LOG), Kept(2.0, "n2", 4, 2, "b")]),
    ("committed is stable", FALSE, [*applied(*LOG), Kept(2.0, "n2", 3, 1, "b")]),
    ("committed is stable", FALSE, [*applied(*LOG), Kept(2.0, "n2", 3, 2, "b"), Kept(3.0, "n1", 3, 2, "c")]),
    ("committed is stable", TRUE, [*applied(*LOG), Leads(2.0, "n2", 3, (GRANT,), (2, 2))]),
    ("committed is stable", FALSE, [*applied(*LOG), Leads(2.0, "n2", 3, (), (2, 2))]),
    ("committed is stable", FALSE, [*applied(*LOG), Leads(2.0, "n2", 3, (), (4, 2))]),
    ("snapshots are kept", TRUE, [Vouched(1.0, "n1", "d", 3), Began(2.0, "n1", 2, "d", 2, "", 3)]),
    ("snapshots are kept", TRUE, [Vouched(1.0, "n1", "d", 3), Began(2.0, "n1", 1, "wiped", 0, "", 0)]),
    ("snapshots are kept", FALSE, [Vouched(1.0, "n1", "d", 3), Began(2.0, "n1", 2, "d", 2, "", 2)]),
    ("no number twice", TRUE, [*applied(*LOG), WentAlone(2.0, "n2", "d2", 1 << 32, 1 << 20)]),
    ("no number twice", FALSE, [*applied(*LOG), WentAlone(2.0, "n2", "d2", 3, 1 << 20)]),
    ("no number twice", FALSE, [Spoke(1.0, "n1", "d1", 5), WentAlone(2.0, "n2", "d2", 1 << 32, 5)]),
    ("left behind stay apart", TRUE, [*ALONE, *applied(ANEW, node="n2")]),
    ("left behind stay apart", TRUE, [*ALONE, Began(3.0, "n1", 1, "empty", 0, ""), *applied(ANEW, node="n1")]),
    ("left behind stay apart", FALSE, [*ALONE, *applied(ANEW, node="n1")]),
    ("left behind stay apart", FALSE, [*ALONE, Kept(3.0, "n1", 1 << 32, 9, "b")]),
    ("committed is stable", TRUE, [*ALONE, Kept(3.0, "n2", 1 << 32, 1 << 20, "b"), *applied(ANEW, node="n2")]),
    ("committed is stable", FALSE, [*ALONE, *applied(Entry((1 << 32) + 2, 1 << 20, 0, NoOp()), node="n2")]),
    ("tokens grow", FALSE, [*applied(*LOG), STARTS, Up(1.0, "n1", "main", 3), EMPTY, Up(2.0, "n1", "main", 3)]),
    ("one at a time", TRUE, [Up(1.0, "n1", "main", 3), Down(2.0, "n1", "main", 3), Up(2.0, "n2", "main", 5)]),
    ("one at a time", TRUE, [Up(1.0, "n1", "main", 3), Up(2.0, "n2", "other", 5)]),
    ("one at a time", FALSE, [Up(1.0, "n1", "main", 3), Up(2.0, "n2", "main", 5), Down(2.0, "n1", "main", 3)]),
    ("tokens grow", TRUE, [*applied(*LOG), Up(1.0, "n1", "main", 3)]),
    ("tokens grow", FALSE, [*applied(*LOG), Up(1.0, "n2", "main", 3)]),
    ("tokens grow", FALSE, [Up(1.0, "n1", "main", 5), Down(2.0, "n1", "main", 5), Up(3.0, "n1", "main", 3)]),
    ("cut off stops", TRUE, [Up(1.0, "n1", "main", 3), Cut(2.0, "n1"), Down(4.9, "n1", "main", 3), Closed(9.0)]),
    ("cut off stops", TRUE, [Up(1.0, "n1", "main", 3), Cut(2.0, "n1"), Joined(4.9, "n1"), Closed(9.0)]),
    ("cut off stops", FALSE, [Up(1.0, "n1", "main", 3), Cut(2.0, "n1"), Down(5.1, "n1", "main", 3)]),
    ("cut off stops", FALSE, [Up(1.0, "n1", "main", 3), Cut(2.0, "n1"), Joined(5.1, "n1")]),
    ("cut off stops", FALSE, [Up(1.0, "n1", "main", 3), Cut(2.0, "n1"), Closed(9.0)]),
    ("cut off stops", FALSE, [Cut(2.0, "n1"), Up(5.1, "n1", "main", 3)]),
    ("acknowledged survives", TRUE, [Replied(1.0, "n1", 1, "", 4, "n2"), *applied(*LOG, MOVE)]),
    ("acknowledged survives", TRUE, [Replied(1.0, "n1", 1, "refused", 0, "")]),
    ("acknowledged survives", TRUE, [Replied(1.0, "n1", 1, "", 3, "n1"), *applied(*LOG)]),
    ("acknowledged survives", FALSE, [Replied(1.0, "n1", 1, "", 2, "n1"), *applied(*LOG)]),
    ("acknowledged survives", FALSE, [Replied(1.0, "n1", 1, "", 4, "n2"), *applied(*LOG)]),
    ("acknowledged survives", FALSE, [Replied(1.0, "n1", 1, "", 4, "n3"), *applied(*LOG, MOVE)]),
]


@pytest.mark.parametrize(("name", "answer", "history"), CASES, ids=lambda case: case if isinstance(case, str) else "")
def test_safety(name: str, answer: str, history: History) -> None:
    found = {verdict.checker: verdict for verdict in check_safety(history, LEASE_S)}
    assert found[name].answer == answer, found[name]


AGAIN: list[tuple[str, History]] = [
    (UNKNOWN, [Leads(1.0, "n1", 2, ())]),
    (TRUE, [Healed(5.0), Leads(6.0, "n1", 2, ()), Up(7.0, "n1", "main", 3), Closed(12.0)]),
    (TRUE, [Leads(1.0, "n1", 2, ()), Up(2.0, "n1", "main", 3), Healed(5.0), Closed(12.0)]),
    (UNKNOWN, [Healed(5.0), Leads(6.0, "n1", 2, ()), Up(7.0, "n1", "main", 3), Closed(7.5)]),
    (FALSE, [Healed(5.0), Leads(8.1, "n1", 2, ()), Up(9.0, "n1", "main", 3), Closed(20.0)]),
    (FALSE, [Healed(5.0), Leads(6.0, "n1", 2, ()), Up(10.1, "n1", "main", 3), Closed(20.0)]),
    (FALSE, [Healed(5.0), Leads(6.0, "n1", 2, ()), Up(7.0, "n1", "main", 3), Deposed(9.0, "n1"), Closed(20.0)]),
    (FALSE, [Healed(5.0), Leads(6.0, "n1", 2, ()), Up(7.0, "n1", "main", 3), Down(9.0, "n1", "main", 3), Closed(20.0)]),
    (FALSE, [Healed(5.0), Closed(20.0)]),
]


@pytest.mark.parametrize(("answer", "history"), AGAIN)
def test_liveness(answer: str, history: History) -> None:
    found = check_liveness(history, leader_s=3.0, runs_s=4.0, within_s=2.0)
    assert found.answer == answer, found
