"""The lease arithmetic: what is derived, what is refused, and the inequality everything rests on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mltbd.core.timing import LEASE_MAX_S, LEASE_MIN_S, NETWORK_S, RHO, Timing

leases = st.floats(LEASE_MIN_S, LEASE_MAX_S)


def test_the_default_lease_in_numbers() -> None:
    timing = Timing.derive(3.0)
    assert timing.lease_s == 3.0
    assert timing.kill_s == 0.5
    assert timing.hold_s == pytest.approx(2.494506, abs=1e-6)
    assert timing.election_max_s == 10.0
    assert timing.problems() == []


@pytest.mark.parametrize(
    ("lease_s", "kill_s", "hold_s"),
    [(0.5, 0.1, 0.399101), (1.0, 0.2, 0.798202), (2.5, 0.5, 1.995505), (60.0, 0.5, 59.380620), (300.0, 0.5, 298.9011)],
)
def test_what_is_left_of_a_lease_after_the_kill_and_both_clocks(lease_s: float, kill_s: float, hold_s: float) -> None:
    timing = Timing.derive(lease_s)
    assert (timing.kill_s, timing.hold_s) == pytest.approx((kill_s, hold_s), abs=1e-4)


@given(leases)
def test_the_paces_fit_into_each_other(lease_s: float) -> None:
    timing = Timing.derive(lease_s)
    assert timing.renew_s <= min(timing.hold_s / 4, 2.0)  # some may be lost, and a long lease is watched as well
    assert 2 * timing.heartbeat_s <= timing.election_s  # one lost heartbeat is no lost leader
    assert timing.step_s >= NETWORK_S  # who stands first can be heard before the next one stands


@given(leases, st.floats(0.0, 60.0))
def test_grace_is_the_stop_timeout_up_to_a_part_of_the_hold(lease_s: float, stop_timeout_s: float) -> None:
    timing = Timing.derive(lease_s, stop_timeout_s)
    most_s = Timing.derive(lease_s, 1e9).grace_s
    assert timing.grace_s == min(stop_timeout_s, most_s)
    assert most_s <= timing.hold_s / 5


@given(leases, st.floats(0.0, 60.0), st.floats(0.1, 60.0))
def test_an_owner_has_stopped_before_another_may_start(
    lease_s: float, stop_timeout_s: float, election_max_s: float
) -> None:
    timing = Timing.derive(lease_s, stop_timeout_s, election_max_s)
    assume(not timing.problems())
    # The owner's clock slow, the waiting one's fast: the worst there is. A nanosecond for the floats.
    assert timing.hold_s / (1 - RHO) + timing.kill_s <= timing.lease_s / (1 + RHO) + 1e-9


@given(leases, st.floats(0.0, 60.0))
def test_every_derived_time_is_positive_and_inside_the_lease(lease_s: float, stop_timeout_s: float) -> None:
    timing = Timing.derive(lease_s, stop_timeout_s)
    assert 0 < timing.renew_s < timing.hold_s < timing.lease_s
    assert 0 < timing.heartbeat_s < timing.election_s
    assert 0 < timing.kill_s < timing.hold_s
    assert 0 <= timing.grace_s <= timing.hold_s / 5
    assert timing.election_s < timing.hold_s


@pytest.mark.parametrize("lease_s", [LEASE_MIN_S, 0.8, 1.0, 3.0, 30.0, LEASE_MAX_S])
@pytest.mark.parametrize("stop_timeout_s", [0.0, 1.0, 90.0])
def test_every_lease_inside_the_bounds_holds(lease_s: float, stop_timeout_s: float) -> None:
    assert Timing.derive(lease_s, stop_timeout_s).problems() == []


@pytest.mark.parametrize("lease_s", [0.0, -1.0, 0.499, 300.1, float("inf"), float("nan")])
def test_a_lease_outside_the_bounds_is_refused_with_them(lease_s: float) -> None:
    (problem,) = Timing.derive(lease_s).problems()
    assert problem == f"a lease of {lease_s:g} s is outside 0.5 to 300 s"


def test_a_leaders_loss_that_would_stop_the_workload_is_refused_with_the_arithmetic() -> None:
    timing = replace(Timing.derive(3.0), hold_s=2.0, grace_s=0.5, election_s=0.9, renew_s=0.6)
    (problem,) = timing.problems()
    assert "election 0.900 + network 0.100 + renewal 0.600 = 1.600 s" in problem
    assert "only 1.500 s of the lease of 3 s are left (hold 2.000 - grace 0.500)" in problem


def test_exactly_the_room_there_is_is_too_little() -> None:
    just = replace(Timing.derive(3.0), hold_s=2.0, grace_s=0.25, election_s=1.0, renew_s=0.75 - 2 * NETWORK_S)
    assert len(just.problems()) == 1
    assert replace(just, renew_s=just.renew_s - 0.001).problems() == []


def test_an_election_shorter_than_the_silence_before_it_is_refused() -> None:
    timing = replace(Timing.derive(3.0, election_max_s=0.5), election_s=0.748)
    assert timing.problems() == ["one election may last 0.500 s at the most, but silence is noticed only after 0.748 s"]


def test_every_problem_is_named() -> None:
    timing = replace(Timing.derive(3.0, election_max_s=0.5), hold_s=1.0)
    assert len(timing.problems()) == 2
