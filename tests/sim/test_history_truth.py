"""The history against what truly happened: who was lost, who noticed, and how long each step took."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from mltb_transport.history import Phase
from mltb_transport.messages import Command, Entry, Grant, Release
from mltbd.core import chronicle
from mltbd.core.chronicle import Chronicle
from mltbd.runtime.history_control import downtime_at_least_s, downtime_s
from mltbd.state.audit import MOVES, Audit, Event
from mltbd.state.machine import State
from tests.sim.clock import WALL_MS
from tests.sim.cluster import Cluster
from tests.sim.history import Applied, Down, Leads, Up
from tests.sim.machine import Machine
from tests.sim.recovery_scenario import go_alone
from tests.sim.scenario import run_seed
from tests.sim.stage import apart, around, healthy, leader, owner, until, voters

pytestmark = pytest.mark.sim

SEEDS = range(1, 1 + max(6, int(os.environ.get("MLTB_SIM_SEEDS", "200")) // 40))
NETWORK_S = 0.12
"""What no phase can know: journeys, disks, and the way from the guard's word to the leader's log."""
AWAY_S = 20.0
"""So long all machines are without power."""


def lose(cluster: Cluster, lost: Machine, how: str) -> float:
    """The owner is lost and somebody else runs the workload; the true downtime."""
    began = cluster.now
    if how == "machine":
        lost.crash_machine()
    elif how == "daemon":
        lost.restart_s = (60.0, 60.0)
        lost.crash_daemon()
    else:
        cluster.network.block(around(cluster, lost.name))
    return gap(cluster, lost, began)


def cut_power(cluster: Cluster, stays_away: Machine) -> None:
    """All are lost in one moment; much later all but one come back."""
    for machine in cluster.machines.values():
        machine.crash_machine()
    cluster.run_for(AWAY_S)
    for machine in cluster.machines.values():
        if machine is not stays_away:
            machine.power_on()


def gap(cluster: Cluster, lost: Machine, began: float) -> float:
    """Once another node runs what this one ran: for how long nobody did."""
    until(cluster, lambda: cluster.settled and owner(cluster) is not lost, "a new owner")
    down = next(h.at for h in cluster.history if isinstance(h, Down) and h.at >= began and h.node == lost.name)
    up = next(h.at for h in cluster.history if isinstance(h, Up) and h.at > down)
    cluster.run_for(1.0)
    return up - down


def check_bounds(event: Event, downtime: float) -> None:
    """What is told of a downtime holds: `at most` is never less than the truth, `at least` never more."""
    longest_s, shortest_s = downtime_s(event), downtime_at_least_s(event)
    assert shortest_s is not None, event
    assert longest_s is None or longest_s >= downtime - NETWORK_S, f"at most {longest_s} s told, {downtime} s down"
    assert shortest_s <= downtime + NETWORK_S, f"at least {shortest_s} s told, {downtime} s down"


def told(cluster: Cluster) -> Event:
    """The last change of place, as the leader's history tells it."""
    node = leader(cluster).node
    assert node is not None
    return [event for event in node.state.audit.events.values() if event.kind in MOVES][-1]


def seconds(event: Event, *names: str) -> float:
    return sum(phase.seconds for phase in event.phases if not names or phase.name in names)


def judge(seed: int, same: bool, how: str) -> None:
    """One loss, and everything the history says of it."""
    cluster = healthy(voters(3), seed)
    apart(cluster, same=same)
    lost, led = owner(cluster), leader(cluster)
    true_s = lose(cluster, lost, how)
    event, timing = told(cluster), cluster.shape.timing
    assert (event.kind, event.state, event.source, event.node) == ("failover", "done", lost.name, owner(cluster).name)
    assert event.by == leader(cluster).name
    assert event.choice
    assert ("election" in [phase.name for phase in event.phases]) == same == (led is lost)
    check_bounds(event, true_s)
    whole_s = downtime_s(event)
    assert whole_s is not None, "everybody lived on who knew"
    # The last sign of life is as old as a renewal; one that was cut off ran on for the rest of its lease.
    ran_on_s = timing.renew_s + (0.0 if how == "machine" else timing.hold_s + timing.kill_s)
    assert whole_s <= true_s + ran_on_s + NETWORK_S, f"{whole_s} s told, {true_s} s down"
    # Nobody passes a workload on before its lease is over.
    assert seconds(event, "detect", "election", "lease") >= timing.lease_s * 0.999 - 0.001


@pytest.mark.parametrize("how", ["machine", "daemon", "cut off"])
@pytest.mark.parametrize("same", [True, False], ids=["leader too", "owner alone"])
def test_a_loss_is_told_as_it_happened(how: str, same: bool) -> None:
    for seed in SEEDS:
        judge(seed, same, how)


def test_the_leader_measures_a_move_from_the_wish_to_the_start() -> None:
    for seed in SEEDS:
        cluster = healthy(voters(3), seed)
        first = owner(cluster)
        target = next(m for m in cluster.machines.values() if m is not first)
        began = cluster.now
        cluster.ask(leader(cluster), "switchover", target.name)
        until(cluster, lambda: cluster.settled and owner(cluster) is target, "the switchover")  # noqa: B023
        took_s = cluster.now - began
        cluster.run_for(0.5)
        event = told(cluster)
        assert [phase.name for phase in event.phases] == ["stop", "grant", "start"]
        assert (event.kind, event.source, event.node, event.state) == ("switchover", first.name, target.name, "done")
        assert seconds(event) == pytest.approx(took_s, abs=NETWORK_S)


def power_cut(seed: int) -> None:
    """All are lost in one moment, and all but the owner come back much later: nobody who lives knows when it was."""
    cluster = healthy(voters(3), seed)
    apart(cluster, same=seed % 2 == 0)
    lost, began = owner(cluster), cluster.now
    cut_power(cluster, lost)
    true_s = gap(cluster, lost, began)
    assert true_s >= AWAY_S
    event = told(cluster)
    assert (event.kind, event.state, event.source) == ("failover", "done", lost.name)
    check_bounds(event, true_s)
    assert downtime_s(event) is None


def test_where_nobody_lives_who_knows_a_downtime_has_no_upper_bound() -> None:
    for seed in SEEDS:
        power_cut(seed)


def test_who_goes_on_alone_does_not_know_since_when_the_lost_owner_was_silent() -> None:
    for seed in SEEDS:
        cluster = healthy(voters(3), seed)
        lost, began = owner(cluster), cluster.now
        for machine in cluster.machines.values():
            machine.crash_machine()
        cluster.run_for(AWAY_S)
        go_alone(cluster, next(machine for machine in cluster.machines.values() if machine is not lost))
        true_s = gap(cluster, lost, began)
        check_bounds(told(cluster), true_s)
        assert downtime_s(told(cluster)) is None


def test_what_was_lost_under_an_earlier_leader_is_not_counted_from_the_end_of_that_leader() -> None:
    for seed in SEEDS:
        cluster = healthy(voters(5), seed)
        apart(cluster, same=False)
        lost, began = owner(cluster), cluster.now
        lost.crash_machine()
        cluster.run_for(cluster.shape.timing.lease_s * 0.8)
        leader(cluster).crash_machine()
        true_s = gap(cluster, lost, began)
        check_bounds(told(cluster), true_s)
        assert downtime_s(told(cluster)) is None


def test_a_machine_that_came_back_first_does_not_know_how_long_it_was_away() -> None:
    for seed in SEEDS:
        cluster = healthy(voters(3), seed)
        apart(cluster, same=False)
        lost, began = owner(cluster), cluster.now
        lost.crash_machine()
        cluster.run_for(0.5)
        lost.power_on()
        until(cluster, lambda: any(h.at > began for h in cluster.history if isinstance(h, Up)), "a start")  # noqa: B023
        true_s = next(h.at for h in cluster.history if isinstance(h, Up) and h.at > began) - began
        cluster.run_for(1.0)
        assert (told(cluster).kind, told(cluster).source) == ("placement", lost.name)
        check_bounds(told(cluster), true_s)
        assert downtime_s(told(cluster)) is None


def leave(seed: int, *, same: bool) -> None:
    """The owner's service is told to stop, and its workload takes its time."""
    cluster = healthy(voters(3, stop_timeout_s=1.0), seed)
    apart(cluster, same=same)
    left, began = owner(cluster), cluster.now
    left.ask_to_stop()
    until(cluster, lambda: cluster.settled and owner(cluster) is not left, "a new owner")
    # From the wish on: it may have ended its work at once, and its process much later.
    true_s = next(h.at for h in cluster.history if isinstance(h, Up) and h.at > began) - began
    cluster.run_for(1.0)
    event = told(cluster)
    assert (event.kind, event.state, event.source) == ("handover", "done", left.name)
    check_bounds(event, true_s)
    assert [phase.name for phase in event.phases] == ["stop", "grant", "start"]
    if not same:  # Else nobody measured the grant, and the wall clocks of two machines tell it.
        assert downtime_s(event) == pytest.approx(true_s, abs=NETWORK_S)


@pytest.mark.parametrize("same", [True, False], ids=["leader too", "owner alone"])
def test_a_node_that_leaves_is_not_told_to_have_stopped_in_no_time(same: bool) -> None:
    for seed in SEEDS:
        leave(seed, same=same)


def test_a_move_that_was_interrupted_is_counted_from_the_wish_on() -> None:
    for seed in SEEDS:
        cluster = healthy(voters(3), seed)
        for machine in cluster.machines.values():
            machine.clock.step_wall(WALL_MS - machine.clock.wall(0.0))  # What no leader measured, they must tell.
        first = owner(cluster)
        target = next(m for m in cluster.machines.values() if m is not first)
        began = cluster.now
        cluster.ask(leader(cluster), "switchover", target.name)
        until(cluster, lambda: any(h.at > began for h in cluster.history if isinstance(h, Down)), "a stop")  # noqa: B023
        until(cluster, lambda: released(cluster, began), "the token's return")  # noqa: B023
        cut_power(cluster, target)
        until(cluster, lambda: cluster.settled, "an owner")  # noqa: B023
        true_s = next(h.at for h in cluster.history if isinstance(h, Up) and h.at > began) - began
        cluster.run_for(1.0)
        event = told(cluster)
        assert (event.kind, event.state) in (("rollback", "done"), ("failover", "done"))
        check_bounds(event, true_s)
        if event.kind == "rollback":  # Else the target was granted it just before the end, and never ran it.
            assert downtime_s(event) == pytest.approx(true_s, abs=NETWORK_S)


def released(cluster: Cluster, since: float) -> bool:
    """Whether a node has applied that the token was given back."""
    return any(
        isinstance(h, Applied) and h.at > since and isinstance(h.entry.command, Release)
        for h in reversed(cluster.history)
    )


def test_under_every_fault_at_once_the_history_names_the_true_owners() -> None:
    for seed in SEEDS:
        history = run_seed(seed).history
        entries = {h.entry.index: h.entry for h in history if isinstance(h, Applied)}
        ran = [h for h in history if isinstance(h, Up)]
        led = {h.term: h.node for h in history if isinstance(h, Leads)}
        for event in rebuilt(list(entries.values())):
            if event.kind == "election":
                assert led[event.term] == event.node, f"seed {seed}: {event}"
            if event.kind in MOVES and event.state == "done":
                assert [up.node for up in ran if up.token == event.token][:1] == [event.node], f"seed {seed}: {event}"
            if event.kind == "failover":
                before = event.token or event.id  # One that failed was never granted.
                grants = [e.command for e in entries.values() if isinstance(e.command, Grant) and e.index < before]
                owners = ["", *(grant.owner for grant in grants)]  # Nobody, before it was ever placed.
                assert owners[-1] == event.source, f"seed {seed}: {event}"


def rebuilt(entries: list[Entry]) -> list[Event]:
    """The history that follows from these entries, in a state of its own."""
    state = State()
    for entry in sorted(entries, key=lambda entry: entry.index):
        state.apply(entry)
    return list(state.audit.events.values())


# -- the tests above notice when the story is wrong --------------------------------------------------------------


def test_a_phase_left_out_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = Chronicle._loss

    def short(self: Chronicle, *facts: object) -> tuple[Phase, ...]:
        return tuple(phase for phase in loss(self, *facts) if phase.name != "lease")  # type: ignore[arg-type]

    monkeypatch.setattr(Chronicle, "_loss", short)
    with pytest.raises(AssertionError):
        judge(1, False, "machine")


def test_a_phase_told_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = Chronicle._loss
    monkeypatch.setattr(Chronicle, "_loss", lambda self, *facts: loss(self, *facts) * 2)
    with pytest.raises(AssertionError):
        judge(1, True, "machine")


def test_an_age_that_nobody_knows_taken_for_a_measurement_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chronicle, "_remembered", lambda _reign: True)
    with pytest.raises(AssertionError, match="at most"):
        power_cut(2)


def test_a_stop_told_shorter_than_it_was_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Chronicle.reported

    def short(self: Chronicle, command: Command, now: float) -> Command:
        command = told(self, command, now)
        return replace(command, took_s=0.001) if isinstance(command, Release) else command

    monkeypatch.setattr(Chronicle, "reported", short)
    with pytest.raises(AssertionError, match="at most"):
        test_a_node_that_leaves_is_not_told_to_have_stopped_in_no_time(same=False)


def test_a_wrong_owner_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Audit._keep
    monkeypatch.setattr(Audit, "_keep", lambda self, event, entry: keep(self, replace(event, source=event.node), entry))
    with pytest.raises(AssertionError):
        judge(1, True, "machine")
