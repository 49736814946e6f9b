"""A whole cluster in one thread and virtual time: a heap of what is to happen, and the machines it happens to."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mltbd.core.archive import Compaction
from mltbd.core.events import Ask
from mltbd.core.failover import Policy
from mltbd.core.founding import Founder
from mltbd.core.level_rules import Speaks
from mltbd.core.node_config import NodeConfig
from mltbd.core.timing import Timing
from mltbd.core.workload import Patience
from mltbd.state.copies import copy_name
from tests.sim.history import Asked, Closed, Fault, Healed, History
from tests.sim.machine import Machine
from tests.sim.network import Network

EVENTS_MAX = 2_000_000
LIFT_EVERY_S = 0.2
WORKLOAD = "main"
BY_HAND = "asked for"
"""The reason of everything an operator asks for here: moves without it were the leader's own idea."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a cluster is built. `roles` and `priorities` by node, in order; the first node founds."""

    roles: tuple[str, ...] = ("voter", "voter", "voter")
    priorities: tuple[int, ...] = (100, 100, 100)
    lease_s: float = 3.0
    stop_timeout_s: float = 1.0
    heartbeat_s: float = 5.0
    node_timeout_s: float = 15.0
    late: int = 0
    """How many of the last machines are bought, and switched on, only later."""
    policy: Policy = field(default_factory=lambda: Policy(max_attempts=1000))
    compaction: Compaction = field(default_factory=Compaction)
    patience: Patience = field(default_factory=lambda: Patience(3, 2.0))

    lease_enforced: bool = True
    everywhere: str = ""
    """A workload that is no singleton: each node runs a copy of its own."""
    undecided: tuple[str, ...] = ()
    """Nodes whose configuration calls that one a singleton."""
    boastful: bool = False
    """Every node says that it could run the copies of all others, too."""

    lease_shares: tuple[float, ...] = (1.0,)
    """How much of `lease_s` each node in turn is configured with: operators go from one to the next."""

    newest: tuple[int, ...] = ()
    """Up to which version of the protocol each node speaks at first; all end with the newest. Empty: of one build."""
    level_patience_s: float = 3600.0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"n{number}" for number in range(1, len(self.roles) + 1))

    def workloads(self, name: str) -> tuple[str, ...]:
        if not self.everywhere:
            return (WORKLOAD,)
        if name in self.undecided:
            return (WORKLOAD, self.everywhere)
        return (WORKLOAD, *(copy_name(self.everywhere, each) for each in (self.names if self.boastful else (name,))))

    @property
    def homes(self) -> tuple[str, ...]:
        """The nodes that are to run a copy."""
        if not self.everywhere or self.undecided:
            return ()
        return tuple(name for name, role in zip(self.names, self.roles, strict=True) if role != "witness")

    @property
    def timing(self) -> Timing:
        return Timing.derive(self.lease_s, self.stop_timeout_s)

    def timing_of(self, place: int) -> Timing:
        share = self.lease_shares[place % len(self.lease_shares)]
        return Timing.derive(self.lease_s * share, self.stop_timeout_s)

    def describe(self) -> str:
        nodes = (
            f"{name}({role} {priority})"
            for name, role, priority in zip(self.names, self.roles, self.priorities, strict=True)
        )
        shares = "" if set(self.lease_shares) == {1.0} else f", shares of it {self.lease_shares}"
        return f"{' '.join(nodes)}, {self.late} of them later, lease {self.lease_s:g} s{shares}"


class Cluster:
    """`run` lets virtual time pass. Same shape and same seed: same history, to the last digit."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape = shape
        self.dice = random.Random(seed)
        self.history: History = []
        self.now = 0.0
        self.events = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0
        self._requests = 0
        self.network = Network(random.Random(self.dice.getrandbits(48)), self.at, self.real, self.history)
        self.machines = {name: self._machine(name, place) for place, name in enumerate(shape.names)}
        self.network.hosts.update(self.machines)

    def _machine(self, name: str, place: int) -> Machine:
        shape = self.shape
        first = len(shape.roles) - shape.late
        voting = sum(role != "observer" for role in shape.roles[:first])
        config = NodeConfig(
            node=name,
            cluster_id=f"cluster-of-{name}",
            timing=shape.timing_of(place),
            address=name,
            role=shape.roles[place],
            priority=shape.priorities[place],
            founder=Founder(place == 0, voting, first),
            seeds=tuple(f"{other}:7946" for other in shape.names if other != name),
            heartbeat_s=shape.heartbeat_s,
            node_timeout_s=shape.node_timeout_s,
            policy=shape.policy,
            patience=shape.patience,
            compaction=shape.compaction,
            workloads=shape.workloads(name),
            lease_enforced=shape.lease_enforced,
            speaks=Speaks(1, shape.newest[place]) if shape.newest else Speaks(),
            level_patience_s=shape.level_patience_s,
        )
        dice = random.Random(self.dice.getrandbits(48))
        return Machine(config, shape.stop_timeout_s, dice, self.at, self.real, self.network, self.history)

    # -- time ------------------------------------------------------------------------------------------------

    def real(self) -> float:
        return self.now

    def at(self, when: float, call: Callable[..., None], *args: Any) -> None:
        """Have `call(*args)` happen at this moment; among equals, first come, first served."""
        self._number += 1
        heapq.heappush(self._heap, (max(when, self.now), self._number, call, args))

    def run(self, until: float, stop: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass up to `until`, or until `stop` says so after some event. Whether `stop` did."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, call, args = heapq.heappop(heap)
            self.events += 1
            if self.events > EVENTS_MAX:
                raise AssertionError(f"more than {EVENTS_MAX} events by {self.now:.3f} s")
            call(*args)
            if stop():
                return True
        self.now = until
        return False

    def run_for(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> bool:
        return self.run(self.now + seconds, stop)

    # -- what an observer sees -------------------------------------------------------------------------------

    @property
    def leader(self) -> Machine | None:
        """Whoever leads the highest term."""
        leading = [machine for machine in self.machines.values() if machine.leads and machine.node is not None]
        return max(leading, key=_term, default=None)

    @property
    def owners(self) -> list[Machine]:
        """Where the workload lives now."""
        return [machine for machine in self.machines.values() if WORKLOAD in machine.guard.runs]

    @property
    def settled(self) -> bool:
        """One leader, one live workload, nobody on the way out of it."""
        owners = self.owners
        return (
            self._copied and self.leader is not None and len(owners) == 1 and not owners[0].guard.runs[WORKLOAD].cause
        )

    @property
    def _copied(self) -> bool:
        runs = ((self.machines[home].guard.runs, copy_name(self.shape.everywhere, home)) for home in self.shape.homes)
        return all(copy in here and not here[copy].cause for here, copy in runs)

    # -- what is done to it ----------------------------------------------------------------------------------

    def fault(self, text: str) -> None:
        self.history.append(Fault(self.now, text))

    def power_on(self, within_s: float = 0.3) -> None:
        """All machines that are there from the beginning boot, each at its own moment."""
        for machine in list(self.machines.values())[: len(self.machines) - self.shape.late]:
            self.at(self.now + self.dice.uniform(0, within_s), machine.power_on)

    def ask(self, machine: Machine, verb: str, target: str = "", **rest: Any) -> int:
        """An operator's request to the daemon of this machine; `rest`: more of an Ask. Returns its number."""
        self._requests += 1
        workload = rest.pop("workload", WORKLOAD)
        ask = Ask(self._requests, verb, workload, target, BY_HAND, operator="somebody", **rest)
        self.history.append(Asked(self.now, machine.name, ask.request, f"{verb} {target}".rstrip()))
        machine.feed(ask)
        return ask.request

    def heal(self) -> None:
        """Everything well and everything up from now on."""
        self.network.heal()
        for machine in self.machines.values():
            machine.disk.slow = machine.disk.hangs = False
            machine.guard.fails_until = float("-inf")
            machine.resume()
            machine.on_off = self.start_again  # Who leaves now, of an earlier request, comes back at once.
            if self.shape.newest and machine.config.speaks.newest < max(self.shape.newest):
                self.exchange(machine, Speaks(1, max(self.shape.newest)))
            self.start_again(machine)
        self.history.append(Healed(self.now))

    def exchange(self, machine: Machine, speaks: Speaks) -> None:
        """Another build in place of this one, and its daemon begins anew."""
        machine.reconfigure(speaks=speaks)
        if machine.on:
            machine.crash_daemon()
        elif machine.disk.incarnation:  # Else it was never switched on.
            self.start_again(machine)

    def lift(self) -> None:
        """Somebody resumes and undrains all, and looks until it is done."""
        leader = self.leader
        controls = leader.node.state.controls if leader is not None and leader.node is not None else None
        if leader is not None and controls is not None:
            if controls.paused is not None:
                self.ask(leader, "resume")
            for node in sorted(controls.drained):
                self.ask(leader, "undrain", node)
        self.at(self.now + LIFT_EVERY_S, self.lift)

    def start_again(self, machine: Machine) -> None:
        """As systemd does: once the last service is over."""
        if machine.on:
            return
        if machine.at_rest:
            machine.power_on()
        else:
            self.at(self.now + 0.05, self.start_again, machine)

    def close(self) -> None:
        """Write down how it all stands at the end."""
        for machine in self.machines.values():
            machine.hold_still()
        self.history.append(Closed(self.now))


def _term(machine: Machine) -> int:
    return machine.node.consensus.term if machine.node is not None else 0
