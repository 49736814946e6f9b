"""Both ends of the lease in numbers, and that the owner's end comes first whatever the clocks do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.messages import Renew, Renewed
from mltbd.core.events import INCARNATION_SPAN
from mltbd.core.leadership import Leadership
from mltbd.core.lease import NONCES_MAX, Hold, Renewals, deadline, lease_of, may_pass_at
from mltbd.core.timing import RHO, Timing
from mltbd.state.placements import Placement

TIMING = Timing.derive(3.0)  # hold 2.494 s, kill 0.5 s
NEVER = float("-inf")


def reign(won_at: float, age_min: float) -> Leadership:
    return Leadership("n1", {"n1": "disk-n1"}, 0, age_min, won_at)


def yes(nonce: int, token: int = 7) -> Renewed:
    return Renewed("main", token, nonce, True)


# -- the two rules -------------------------------------------------------------------------------------------------


def test_the_deadline_counts_from_the_asking() -> None:
    assert deadline(100.0, TIMING) == 100.0 + TIMING.hold_s
    assert deadline(100.0, TIMING) == pytest.approx(100.0 + (3 / 1.001 - 0.5) * 0.999)


@pytest.mark.parametrize(
    ("won_at", "age_min", "renewed_at", "expected"),
    [
        (100.0, 0.0, NEVER, 103.0),  # a voter that does not know: the whole lease from our election
        (100.0, 1.2, NEVER, 101.8),  # nobody acknowledged a leader in the last 1.2 s
        (100.0, 9.0, NEVER, 94.0),  # the lease was over before we won
        (100.0, 1.2, 99.5, 102.5),  # our own receipt is later
        (100.0, 1.2, 98.0, 101.8),  # our own receipt is earlier
        (100.0, 1.2, 140.0, 143.0),  # we have confirmed for a long time
    ],
)
def test_a_placement_may_pass_when_both_leases_are_over(
    won_at: float, age_min: float, renewed_at: float, expected: float
) -> None:
    assert may_pass_at(reign(won_at, age_min), renewed_at, TIMING.lease_s) == pytest.approx(expected)


rates = st.floats(1 - RHO, 1 + RHO)
short = st.floats(0.0, 5.0)


@given(lease_s=st.floats(0.5, 300.0), owner=rates, voter=rates, leader=rates, acked=short, voted=short, won=short)
def test_the_owners_end_comes_before_another_leaders_beginning(
    lease_s: float, owner: float, voter: float, leader: float, acked: float, voted: float, won: float
) -> None:
    """Real time: asked at 0, acknowledged by the shared voter, its vote given, the election won; rates differ."""
    timing = Timing.derive(lease_s)
    vote_at = acked + voted
    win_at = vote_at + won
    age = voted * voter
    dead_at = deadline(0.0, timing) / owner + timing.kill_s  # the owner's clock began at 0
    passes_at = may_pass_at(reign(win_at * leader, age), NEVER, timing.lease_s) / leader
    assert dead_at <= max(passes_at, win_at) + 1e-9  # nobody grants before winning


@given(lease_s=st.floats(0.5, 300.0), owner=rates, leader=rates, travel=short)
def test_the_owners_end_comes_before_its_own_leaders_next_grant(
    lease_s: float, owner: float, leader: float, travel: float
) -> None:
    timing = Timing.derive(lease_s)
    dead_at = deadline(0.0, timing) / owner + timing.kill_s
    received_at = 50.0 + travel * leader  # on the leader's clock, which read 50 when the owner asked
    passes_at = (may_pass_at(reign(40.0, 60.0), received_at, timing.lease_s) - 50.0) / leader
    assert dead_at <= passes_at + 1e-9


# -- the leader's memory -------------------------------------------------------------------------------------------


def test_renewals_are_remembered_by_workload() -> None:
    renewals = Renewals()
    assert renewals.at("main") == NEVER
    renewals.note("main", 5.0)
    renewals.note("main", 7.0)
    renewals.note("other", 6.0)
    assert (renewals.at("main"), renewals.at("other"), renewals.at("third")) == (7.0, 6.0, NEVER)


# -- the owner's claim ---------------------------------------------------------------------------------------------


def test_a_renewal_is_asked_for_and_counts_from_then() -> None:
    hold = Hold(7)
    assert hold.renew("main", 41, 10.0, TIMING) == Renew("main", 7, 41)
    assert hold.ask_at == 10.0 + TIMING.renew_s
    assert hold.until == NEVER
    assert hold.renewed(yes(41), TIMING)
    assert hold.until == 10.0 + TIMING.hold_s


def test_a_repeated_answer_moves_nothing() -> None:
    hold = Hold(7)
    hold.renew("main", 41, 10.0, TIMING)
    assert hold.renewed(yes(41), TIMING)
    assert not hold.renewed(yes(41), TIMING)
    assert hold.until == 10.0 + TIMING.hold_s


@pytest.mark.parametrize(
    "answer",
    [
        yes(42),  # never asked
        yes(41 + INCARNATION_SPAN),  # of another incarnation
        yes(41, token=8),
        Renewed("main", 7, 41, False, "token 9 belongs to n2"),
    ],
)
def test_what_is_no_yes_to_our_own_question_moves_nothing(answer: Renewed) -> None:
    hold = Hold(7)
    hold.renew("main", 41, 10.0, TIMING)
    assert not hold.renewed(answer, TIMING)
    assert hold.until == NEVER


def test_answers_out_of_order_never_shorten_a_lease() -> None:
    hold = Hold(7)
    hold.renew("main", 41, 10.0, TIMING)
    hold.renew("main", 42, 10.5, TIMING)
    assert hold.renewed(yes(42), TIMING)
    assert not hold.renewed(yes(41), TIMING)
    assert hold.until == 10.5 + TIMING.hold_s


def test_the_questions_remembered_have_a_limit() -> None:
    hold = Hold(7)
    for nonce in range(1, NONCES_MAX + 2):
        hold.renew("main", nonce, 10.0 + nonce, TIMING)
    assert len(hold.asked) == NONCES_MAX
    assert not hold.renewed(yes(1), TIMING)  # the oldest is forgotten
    assert hold.renewed(yes(2), TIMING)


@pytest.mark.parametrize(("owns_s", "granted_s"), [(1.0, 3.0), (3.0, 3.0), (12.0, 3.0), (3.0, 1.5), (1.0, 0.5)])
def test_owner_and_leader_count_with_the_lease_of_the_placement_however_they_are_configured(
    owns_s: float, granted_s: float
) -> None:
    own, granted = Timing.derive(owns_s), Timing.derive(granted_s)
    placement = Placement("main", "n1", 7, lease_s=granted_s)
    assert lease_of(placement, own) == granted_s
    hold = Hold(7)
    renewal = hold.renew("main", 1, 100.0, own)
    assert hold.renewed(Renewed("main", 7, renewal.nonce, True, lease_s=granted_s), own)
    latest = own.kill_s * (1 + RHO) + (hold.until - 100.0) * (1 + RHO)
    assert latest <= granted_s / (1 - RHO) + 1e-9, "dead before the others go on, by the slowest clock"
    assert own.within(granted_s).hold_s <= own.hold_s
    assert hold.ask_at <= 100.0 + granted.renew_s
    assert own.within(granted_s).grace_s <= min(own.grace_s, own.within(granted_s).hold_s / 8)


def test_a_lease_that_leaves_no_time_beside_our_kills_is_never_held() -> None:
    within = Timing.derive(12.0).within(0.5)
    assert within.hold_s == 0.0
    assert within.renew_s > 0.0


def test_a_placement_without_a_lease_has_that_of_who_looks() -> None:
    assert lease_of(Placement("main", "n1", 7), TIMING) == TIMING.lease_s
    assert TIMING.within(0.0) == TIMING
