"""The history against what truly happened: who was lost, who noticed, and how long each step took."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from mltb_transport.history import Phase
from mltb_transport.messages import Entry, Grant
from mltbd.core.chronicle import Chronicle
from mltbd.state.audit import MOVES, Audit, Event
from mltbd.state.machine import State
from tests.sim.cluster import Cluster
from tests.sim.history import Applied, Down, Leads, Up
from tests.sim.machine import Machine
from tests.sim.scenario import run_seed
from tests.sim.stage import apart, around, healthy, leader, owner, until, voters

pytestmark = pytest.mark.sim

SEEDS = range(1, 1 + max(6, int(os.environ.get("MLTB_SIM_SEEDS", "200")) // 40))
NETWORK_S = 0.12
"""What no phase can know: journeys, disks, and the way from the guard's word to the leader's log."""


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
    until(cluster, lambda: cluster.settled and owner(cluster) is not lost, "a new owner")
    down = next(h.at for h in cluster.history if isinstance(h, Down) and h.at >= began and h.node == lost.name)
    up = next(h.at for h in cluster.history if isinstance(h, Up) and h.at > down)
    cluster.run_for(1.0)
    return up - down


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
    downtime_s = lose(cluster, lost, how)
    event, timing = told(cluster), cluster.shape.timing
    assert (event.kind, event.state, event.source, event.node) == ("failover", "done", lost.name, owner(cluster).name)
    assert event.by == leader(cluster).name
    assert event.choice
    assert ("election" in [phase.name for phase in event.phases]) == same == (led is lost)
    whole_s = seconds(event)
    assert whole_s >= downtime_s - NETWORK_S, f"{whole_s} s told, {downtime_s} s down"
    # The last sign of life is as old as a renewal; one that was cut off ran on for the rest of its lease.
    ran_on_s = timing.renew_s + (0.0 if how == "machine" else timing.hold_s + timing.kill_s)
    assert whole_s <= downtime_s + ran_on_s + NETWORK_S, f"{whole_s} s told, {downtime_s} s down"
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


def test_a_wrong_owner_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Audit._keep
    monkeypatch.setattr(Audit, "_keep", lambda self, event, entry: keep(self, replace(event, source=event.node), entry))
    with pytest.raises(AssertionError):
        judge(1, True, "machine")
