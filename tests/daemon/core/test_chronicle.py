"""The stopwatch of a reign: which phases a grant tells, that they leave no gap, and what is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltb_transport.history import Phase
from mltb_transport.messages import Abandon, Entry, Grant, Move, NoOp, Release, Settled, Started
from mltbd.core.chronicle import MARKS_MAX, Chronicle, first_entry, repeats
from mltbd.core.election import TRANSFER, VOTE, Tally
from mltbd.core.failover import Policy
from mltbd.core.leadership import Leadership, Progress
from mltbd.state.placements import WORKLOADS_MAX, Placement
from tests.daemon.core.core_kit import TIMING
from tests.daemon.core.placing_kit import facts, placed

LEASE_S = TIMING.lease_s


def reign(won_at: float = 100.0, age_min: float = 1.5, election_s: float = 0.25) -> Leadership:
    made = Leadership("n1", {"n1": "d1", "n2": "d2", "n3": "d3"}, 0, age_min, won_at)
    made.election_s = election_s
    return made


def granted(
    chronicle: Chronicle, owner: str, led: Leadership, renewed_at: float, now: float
) -> list[tuple[str, float]]:
    placement = placed(owner) if owner else Placement("main")
    command = chronicle.granted(
        Grant("main", "n3", "failover"), facts(placement, lease_over=True), Policy(), led, renewed_at, now
    )
    return [(phase.name, phase.seconds) for phase in command.phases]


def test_an_owner_lost_with_its_leader_was_noticed_by_the_election() -> None:
    told = granted(Chronicle(TIMING), "n2", reign(), float("-inf"), 101.6)
    assert told == [("detect", 1.25), ("election", 0.25), ("lease", 1.5), ("grant", 0.1)]


def test_voters_that_remember_nothing_tell_of_no_last_sign_of_life() -> None:
    told = granted(Chronicle(TIMING), "n2", reign(age_min=0.0), float("-inf"), 103.0)
    assert told == [("election", 0.25), ("lease", 3.0), ("grant", 0.0)]


def test_voters_that_heard_their_leader_during_the_election_make_no_phase_negative() -> None:
    told = granted(Chronicle(TIMING), "n2", reign(age_min=0.1), float("-inf"), 103.0)
    assert told == [("detect", 0.0), ("election", 0.25), ("lease", 2.9), ("grant", 0.1)]


def test_what_a_leader_applies_of_earlier_reigns_was_not_seen_by_it() -> None:
    chronicle = Chronicle(TIMING)
    chronicle.applied(Entry(9, 1, 0, Move("main", 5, "n3", "switchover")), 101.0)
    chronicle.applied(Entry(10, 1, 0, Release("main", 5, "moved")), 101.0)
    chronicle.applied(Entry(11, 2, 0, NoOp("n1", "restart")), 101.0)
    assert chronicle.reported(Release("main", 5, "moved"), 102.0) == Release("main", 5, "moved")
    # Nobody asked this leader: the owner's own measure stands.
    assert chronicle.reported(Release("main", 5, "leaving", 1.5), 102.0) == Release("main", 5, "leaving", 1.5)
    assert granted(chronicle, "", reign(), float("-inf"), 102.0) == []
    # A grant that is applied anew counts as a renewal, to be safe: it is no sign of life.
    told = granted(chronicle, "n2", reign(age_min=0.0), 101.0, 104.0)
    assert told == [("election", 0.25), ("lease", 4.0), ("grant", 0.0)]


def test_an_election_says_nothing_of_a_silence_that_nobody_remembers() -> None:
    tally = Tally(4, VOTE, {"n1": "d1", "n2": "d2"}, 0, {"n2": 0.0, "n1": 7.0})
    entry = first_entry(reign(age_min=0.0), tally, doubted=False, reborn=True)
    assert entry.phases == (Phase("election", 0.25),)


def test_an_owner_lost_under_its_leader_was_noticed_by_its_silence() -> None:
    led = reign()
    led.peers["n2"] = Progress(1, acked_at=200.1)
    told = granted(Chronicle(TIMING), "n2", led, 200.0, 203.5)
    silent_s = 0.1 + 2 * TIMING.election_s
    assert told == [
        ("detect", pytest.approx(silent_s, abs=1e-4)),
        ("lease", pytest.approx(LEASE_S - silent_s, abs=1e-4)),
        ("grant", 0.5),
    ]


def test_an_owner_that_answers_but_does_not_renew_is_noticed_when_its_lease_ends() -> None:
    led = reign()
    led.peers["n2"] = Progress(1, acked_at=203.0)
    assert granted(Chronicle(TIMING), "n2", led, 200.0, 203.0) == [("detect", 3.0), ("lease", 0.0), ("grant", 0.0)]


def test_waiting_for_an_order_is_a_phase_of_its_own() -> None:
    chronicle = Chronicle(TIMING)
    chronicle.applied(Entry(9, 1, 0, Move("main", 5, "n3", "failover")), 210.0)
    led = reign()
    led.peers["n2"] = Progress(1, acked_at=200.0)
    told = granted(chronicle, "n2", led, 200.0, 210.5)
    assert told[-2:] == [("order", 7.0), ("grant", 0.5)]
    assert sum(seconds for _, seconds in told) == pytest.approx(10.5)


def test_a_move_is_measured_step_by_step_and_forgotten_with_the_reign() -> None:
    chronicle = Chronicle(TIMING)
    chronicle.applied(Entry(9, 1, 0, Move("main", 5, "n3", "switchover")), 10.0)
    assert chronicle.reported(Release("main", 5, "moved"), 10.5) == Release("main", 5, "moved", 0.5)
    chronicle.applied(Entry(10, 1, 0, Release("main", 5, "moved")), 10.6)
    assert granted(chronicle, "", reign(), 0.0, 10.8) == [("grant", 0.2)]
    assert chronicle.reported(Started("main", 11), 11.0) == Started("main", 11, 0.2)
    assert chronicle.reported(Settled("main", 11), 11.0) == Settled("main", 11)
    chronicle.forget()
    assert chronicle.reported(Started("main", 11), 11.0) == Started("main", 11)


@pytest.mark.parametrize("end", [Abandon("main", 9, "n2 is lost"), None])
def test_a_move_that_came_to_nothing_began_no_stop(end: Abandon | None) -> None:
    chronicle = Chronicle(TIMING)
    chronicle.applied(Entry(9, 1, 0, Move("main", 5, "n3", "switchover")), 10.0, refused=end is None)
    if end is not None:
        chronicle.applied(Entry(10, 1, 0, end), 40.0)
    left = Release("main", 5, "leaving", 0.5)
    assert chronicle.reported(left, 3600.0) == left


def test_a_first_placement_has_nothing_before_it() -> None:
    assert granted(Chronicle(TIMING), "", reign(), 0.0, 10.0) == []


def test_moments_have_a_limit() -> None:
    chronicle = Chronicle(TIMING)
    for number in range(2 * MARKS_MAX):
        chronicle.applied(Entry(9, 1, 0, Move(f"w{number}", 5, "n3", "switchover")), 10.0)
    assert len(chronicle._at) == MARKS_MAX
    newest = Release(f"w{2 * MARKS_MAX - 1}", 5, "moved")
    assert chronicle.reported(newest, 10.5) == replace(newest, took_s=0.5)
    assert MARKS_MAX >= 3 * WORKLOADS_MAX, "a move, a release and a grant of each"


def test_the_moment_of_a_grant_is_kept_until_its_start_is_known() -> None:
    chronicle = Chronicle(TIMING)
    granted(chronicle, "", reign(), 0.0, 10.0)
    assert chronicle.reported(Started("main", 11), 11.0) == Started("main", 11, 1.0)
    chronicle.applied(Entry(12, 1, 0, Started("main", 11)), 11.0)
    assert chronicle._at == {}


@pytest.mark.parametrize(
    ("stage", "doubted", "reborn", "cause", "phases"),
    [
        (VOTE, False, False, "silence", (Phase("detect", 1.25), Phase("election", 0.25))),
        (VOTE, False, True, "restart", (Phase("detect", 1.25), Phase("election", 0.25))),
        (VOTE, True, False, "broken", (Phase("detect", 1.25), Phase("election", 0.25))),
        (TRANSFER, True, False, "transfer", (Phase("detect", 0.0), Phase("election", 0.25))),
    ],
)
def test_the_first_entry_tells_of_its_election(
    stage: str, doubted: bool, reborn: bool, cause: str, phases: tuple[Phase, ...]
) -> None:
    tally = Tally(4, stage, {"n1": "d1", "n2": "d2", "n3": "d3"}, 0, {"n2": 1.5, "n1": 1.5})
    led = reign()
    led.first_index = 9
    entry = first_entry(led, tally, doubted=doubted, reborn=reborn)
    assert (entry.leader, entry.cause, entry.votes, entry.phases) == ("n1", cause, ("n1", "n2"), phases)


def test_nothing_was_before_the_first_reign() -> None:
    led = reign()
    led.first_index = 2
    tally = Tally(4, VOTE, {"n1": "d1"}, 0, {"n1": 1.5})
    assert first_entry(led, tally, doubted=False, reborn=True).cause == "silence"


@pytest.mark.parametrize(
    ("earlier", "again"),
    [
        (Started("main", 5, 0.3), True),
        (Started("main", 6), False),
        (Release("main", 5, "moved"), False),
        (Settled("main", 5), False),
    ],
)
def test_a_report_is_a_repeat_whatever_was_measured(earlier: Started | Release | Settled, again: bool) -> None:
    assert repeats(Started("main", 5), earlier) is again
    assert repeats(Release("main", 5, "moved"), Release("main", 5, "moved", 0.4))
