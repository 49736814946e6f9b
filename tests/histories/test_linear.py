"""The judge of histories, judged: by hand, by brute force, and by wrong histories that it must refuse."""

from __future__ import annotations

import random
from itertools import permutations
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.histories import linear
from tests.histories.linear import Op, Undecided, stuck
from tests.histories.models import ABSENT, FREE, flaws, key_model, lock_model, tokens_out_of_order


def set_(value: Any, called: float, returned: float, version: int, wanted: int | None = None) -> Op:
    return Op("a", "set", (value, wanted), called, returned, ("ok", version))


def get(called: float, returned: float, value: Any, version: int) -> Op:
    return Op("b", "get", (), called, returned, (value, version))


def lost_set(value: Any, called: float) -> Op:
    return Op("a", "set", (value, None), called)


def acquire(who: str, called: float, returned: float, token: int, ttl: float = 10.0) -> Op:
    return Op(who, "acquire", (who, ttl), called, returned, ("ok", token))


GOOD = {
    "one after the other": [set_(1, 0, 1, 1), get(2, 3, 1, 1), set_(2, 4, 5, 2), get(6, 7, 2, 2)],
    "a read beside a write may see either": [set_(1, 0, 1, 1), set_(2, 2, 9, 2), get(3, 4, 1, 1), get(5, 6, 2, 2)],
    "a lost write may take effect late": [set_(1, 0, 1, 1), lost_set(2, 2), get(3, 4, 1, 1), get(5, 6, 2, 2)],
    "a lost write may never take effect": [set_(1, 0, 1, 1), lost_set(2, 2), get(3, 4, 1, 1), set_(3, 5, 6, 2)],
    "a conflict tells the version": [
        set_(1, 0, 1, 1),
        Op("a", "set", (2, 7), 2, 3, ("conflict", 1)),
        Op("a", "delete", (1,), 4, 5, ("ok", 1)),
        get(6, 7, None, 0),
        Op("a", "delete", (None,), 8, 9, ("ok", 0)),
    ],
    "an unanswered swap may rest on an unanswered write": [
        lost_set(1, 0),
        Op("b", "set", (2, 1), 1),
        get(2, 3, 2, 2),
    ],
}
BAD = {
    "a stale read": [set_(1, 0, 1, 1), set_(2, 2, 3, 2), get(4, 5, 1, 1)],
    "a lost update": [set_(1, 0, 1, 1), set_(2, 2, 3, 1)],
    "a read back in time": [set_(1, 0, 1, 1), set_(2, 2, 9, 2), get(3, 4, 2, 2), get(5, 6, 1, 1)],
    "a lost write cannot come and go": [set_(1, 0, 1, 1), lost_set(2, 2), get(3, 4, 2, 2), get(5, 6, 1, 1)],
    "a lost write has no effect before its call": [set_(1, 0, 1, 1), get(2, 3, 2, 2), lost_set(2, 4)],
    "a write applied twice": [set_(1, 0, 1, 1), get(2, 3, 1, 2)],
    "a conflict without a reason": [set_(1, 0, 1, 1), Op("a", "set", (2, 1), 2, 3, ("conflict", 1))],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_history_that_has_an_order(name: str) -> None:
    assert stuck(GOOD[name], key_model, ABSENT) == ""


@pytest.mark.parametrize("name", BAD)
def test_a_history_that_has_none(name: str) -> None:
    assert "none of these can follow" in stuck(BAD[name], key_model, ABSENT)


LOCKS_GOOD = {
    "hand over": [acquire("x", 0, 1, 5), Op("x", "release", ("x",), 2, 3, True), acquire("y", 2.5, 4, 6)],
    "refused while held": [acquire("x", 0, 1, 5), Op("y", "acquire", ("y", 10.0), 2, 3, ("held",))],
    "expiry after its time": [acquire("x", 0, 1, 5), acquire("y", 2, 10.5, 6)],
    "a lost extension may have counted": [
        acquire("x", 0, 1, 5), Op("x", "extend", ("x", 10.0), 8), Op("y", "acquire", ("y", 10.0), 15, 16, ("held",)),
    ],
    "a release that came too late": [acquire("x", 0, 1, 5), Op("x", "release", ("x",), 11, 12, False)],
    "a write with its token": [acquire("x", 0, 1, 5), Op("x", "guarded", ("x",), 2, 3, True)],
    "a write that came too late": [acquire("x", 0, 1, 5), Op("x", "guarded", ("x",), 9, 11, False)],
    "a lost acquire blocks until it expires": [
        Op("x", "acquire", ("x", 10.0), 0), Op("y", "acquire", ("y", 10.0), 2, 3, ("held",)), acquire("y", 4, 11, 9),
    ],
}  # fmt: skip
LOCKS_BAD = {
    "two holders": [acquire("x", 0, 1, 5), acquire("y", 2, 3, 6)],
    "a token that does not grow": [
        acquire("x", 0, 1, 5), Op("x", "release", ("x",), 2, 3, True), acquire("y", 4, 5, 5),
    ],
    "expiry before its time": [
        acquire("x", 0, 1, 5), Op("x", "extend", ("x", 10.0), 8, 9, True), acquire("y", 10, 17, 6),
    ],
    "refused though free": [Op("y", "acquire", ("y", 10.0), 2, 3, ("held",))],
    "a write with the token of before": [
        acquire("x", 0, 1, 5), acquire("y", 2, 11, 6), Op("x", "guarded", ("x",), 12, 13, True),
    ],
    "a write refused though it is held": [acquire("x", 0, 1, 5), Op("x", "guarded", ("x",), 2, 3, False)],
    "released by a stranger": [acquire("x", 0, 1, 5), Op("y", "release", ("y",), 2, 3, True)],
}  # fmt: skip


@pytest.mark.parametrize("name", LOCKS_GOOD)
def test_a_lock_that_was_honest(name: str) -> None:
    assert stuck(LOCKS_GOOD[name], lock_model, FREE) == ""


@pytest.mark.parametrize("name", LOCKS_BAD)
def test_a_lock_that_was_not(name: str) -> None:
    assert stuck(LOCKS_BAD[name], lock_model, FREE) != ""


def test_tokens_of_all_locks_grow_in_real_time() -> None:
    assert not tokens_out_of_order([acquire("x", 0, 1, 5), acquire("y", 2, 3, 6), acquire("z", 0, 9, 3)])
    assert len(tokens_out_of_order([acquire("x", 0, 1, 5), acquire("y", 2, 3, 4)])) == 1


def test_flaws_names_the_key_and_the_lock() -> None:
    found = flaws({"k": BAD["a stale read"], "good": GOOD["one after the other"]}, {"l": LOCKS_BAD["two holders"]})
    assert [line.split(":")[0] for line in found] == ["key `k`", "lock `l`"]


def test_a_history_too_wide_to_judge_is_no_good_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "VISITS_MAX", 100)
    wide = [*(lost_set(number, 0.0) for number in range(12)), get(1, 2, "never written", 1)]
    with pytest.raises(Undecided):
        stuck(wide, key_model, ABSENT)
    assert "undecided" in flaws({"k": wide}, {})[0]


# -- against brute force -----------------------------------------------------------------------------------------


def brute_force(ops: list[Op]) -> bool:
    """Every subset of the unanswered, in every order that real time allows."""
    answered = [op for op in ops if op.answered]
    lost = [op for op in ops if not op.answered]
    for chosen in range(1 << len(lost)):
        some = answered + [op for place, op in enumerate(lost) if chosen >> place & 1]
        for order in permutations(some):
            if any(b.returned < a.called for place, a in enumerate(order) for b in order[place + 1 :]):
                continue
            state: Any = ABSENT
            for op in order:
                after = list(key_model(state, op))
                if not after:
                    break
                state = after[0]
            else:
                return True
    return False


@st.composite
def histories(draw: st.DrawFn) -> list[Op]:
    """Up to five operations with answers that are often right: what a real run gave, then perhaps one twist."""
    dice = random.Random(draw(st.integers(0, 2**32)))
    state: Any = ABSENT
    ops = []
    for number in range(dice.randint(1, 5)):
        at = float(number)
        called, returned = at - dice.uniform(0, 2.5), at + dice.uniform(0, 2.5)
        kind = dice.choice(("get", "set", "set", "delete"))
        wanted = dice.choice((None, None, 0, 1, 2))
        args: tuple[Any, ...] = {"get": (), "set": (number, wanted), "delete": (wanted,)}[kind]
        blind = Op("c", kind, args, called)
        after = next(iter(key_model(state, blind)))
        result: Any = state
        if kind != "get":
            conflict = wanted is not None and wanted != state[1]
            told = after[1] if kind == "set" else state[1]
            result = ("conflict", state[1]) if conflict else ("ok", told)
        if dice.random() < 0.3:
            if dice.random() < 0.5:
                state = after
            ops.append(Op("c", kind, args, called, inf))
            continue
        state = after
        if dice.random() < 0.1:
            result = (result[0], result[1] + 1)
        ops.append(Op("c", kind, args, called, returned, result))
    return ops


@settings(max_examples=600, deadline=None)
@given(histories())
def test_it_agrees_with_brute_force(ops: list[Op]) -> None:
    assert (stuck(ops, key_model, ABSENT) == "") == brute_force(ops)
