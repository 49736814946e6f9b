"""A cluster in one thread and virtual time: real Nodes, a network that can be torn, disks and guards that obey."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mltb_transport.messages import Message
from mltbd.core.effects import Arm, Contact, Effect, Leave, Publish, Save, Send, StartWorkload, StopWorkload
from mltbd.core.events import Event, GuardSays, Lost, Received, Recovered, Saved, StopRequested, Tick
from mltbd.core.founding import Founder
from mltbd.core.node import Node
from mltbd.core.voting import LEADER
from mltbd.whatif.position import STOP_S, Mate, Position

EVENTS_MAX = 400_000
"""Of one world: a cluster of seven needs a tenth of that."""
TRAVEL_S = (0.0003, 0.003)
DISK_S = (0.0005, 0.005)
TELL_S = (0.0005, 0.005)
KILL_SHARE = 0.2
"""Of `kill_s`: how long a tree usually takes to die once it is killed."""
PORT = 7946


class WorldError(Exception):
    """This world does not come to an end within its limits."""


@dataclass(slots=True)
class Run:
    """One process tree under one token."""

    token: int
    deadline: float
    ending: bool = False


@dataclass(frozen=True, slots=True)
class Lived:
    """A workload began to run on some node, or ended there."""

    at: float
    workload: str
    up: bool


class World:
    """`run` lets virtual time pass. Same position and same seed: same story."""

    def __init__(self, position: Position, seed: int) -> None:
        self.position = position
        self.dice = random.Random(seed)
        self.now = 0.0
        self.lives: list[Lived] = []
        self.blocked: set[tuple[str, str]] = set()
        self.events = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0
        self.boxes = {mate.node: Box(self, mate) for mate in position.mates if mate.up}

    def at(self, when: float, call: Callable[..., None], *args: Any) -> None:
        self._number += 1
        heapq.heappush(self._heap, (max(when, self.now), self._number, call, args))

    def soon(self, span_s: tuple[float, float], call: Callable[..., None], *args: Any) -> None:
        self.at(self.now + self.dice.uniform(*span_s), call, *args)

    def run_for(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> bool:
        """Whether `stop` came true in time."""
        until = self.now + seconds
        while self._heap and self._heap[0][0] <= until:
            self.now, _, call, args = heapq.heappop(self._heap)
            self.events += 1
            if self.events > EVENTS_MAX:
                raise WorldError(f"more than {EVENTS_MAX} events by {self.now:.1f} s")
            call(*args)
            if stop():
                return True
        self.now = until
        return stop()

    def carry(self, source: Box, target: str, message: Message) -> None:
        node = source.node
        box = self.boxes.get(target)
        if node is not None and box is not None and box is not source:
            event = Received(source.name, node.incarnation, node.cluster, message)
            self.soon(TRAVEL_S, self._arrive, box, event)

    def _arrive(self, box: Box, event: Received) -> None:
        if (event.sender, box.name) not in self.blocked:
            box.feed(event)

    # -- what an observer sees -------------------------------------------------------------------------------

    @property
    def leader(self) -> Node | None:
        """The leader in charge with the youngest term and a quorum behind it."""
        leading = [node for node in self.nodes if node.consensus.role == LEADER and node.placer.current]
        return max(leading, key=lambda node: node.consensus.term, default=None)

    @property
    def nodes(self) -> list[Node]:
        return [box.node for box in self.boxes.values() if box.node is not None]

    def owners(self) -> dict[str, str]:
        """workload -> where it runs."""
        return {name: box.name for box in self.boxes.values() for name, run in box.runs.items() if not run.ending}


class Box:
    """One machine: its daemon, its disk, its guard and what that runs."""

    def __init__(self, world: World, mate: Mate) -> None:
        self.name = mate.node
        self.node: Node | None = None
        self.runs: dict[str, Run] = {}
        self._world = world
        self._mate = mate
        self._armed: dict[str, tuple[int, float]] = {}
        self._wake_at = float("inf")
        self._told_at = 0.0
        world.soon((0.0, 0.05), self._boot)

    def _boot(self) -> None:
        world, mate, position = self._world, self._mate, self._world.position
        workloads = dict.fromkeys((*mate.ready, *(name for name, _ in mate.runs)))
        config = replace(
            position.config, node=mate.node, role=mate.role, priority=mate.priority, address=mate.node, port=PORT,
            workloads=tuple(workloads), checks=(), founder=Founder(False, 1, 1), lease_enforced=mate.lease_enforced,
            seeds=tuple(f"{name}:{PORT}" for name in position.names if name != mate.node),
        )  # fmt: skip
        recovered = Recovered(mate.store, 2**31, position.term, "", (), position.snapshot)
        self.node = Node(config, recovered, random.Random(world.dice.getrandbits(48)), world.now)
        hold_until = world.now + config.timing.hold_s
        for workload, token in mate.runs:
            self._begin(workload, Run(token, hold_until))
        for workload, run in list(self.runs.items()):  # The guard greets first.
            self.feed(GuardSays("running", workload, run.token, 1, deadline=run.deadline))
        self._perform(self.node.start(world.now, 0))
        self._schedule()

    # -- faults ----------------------------------------------------------------------------------------------

    def power_off(self) -> None:
        self.node = None
        for workload in list(self.runs):
            self._ended(workload)

    def ask_to_stop(self) -> None:
        self.feed(StopRequested())

    def nudge(self) -> None:
        """Have the effects performed of what was asked of the node directly."""
        self.feed(Tick())

    def _leave(self) -> None:
        self.node = None
        for other in self._world.boxes.values():
            if (self.name, other.name) not in self._world.blocked:
                self._world.soon(TRAVEL_S, other.feed, Lost(self.name))

    # -- the daemon ------------------------------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        if self.node is None:
            return
        self._perform(self.node.handle(event, self._world.now, int(self._world.now * 1000)))
        self._schedule()

    def _schedule(self) -> None:
        if self.node is None:
            return
        due = max(self.node.next_deadline(), self._world.now)
        if due < self._wake_at:
            self._wake_at = due
            self._world.at(due, self._wake, due)

    def _wake(self, wake_at: float) -> None:
        if self.node is None or wake_at != self._wake_at:
            return
        self._wake_at = float("inf")
        if self._world.now >= self.node.next_deadline():
            self.feed(Tick())
        else:
            self._schedule()

    def _perform(self, effects: list[Effect]) -> None:
        world = self._world
        for effect in effects:
            match effect:
                case Send(to, message):
                    world.carry(self, to, message)
                case Publish(message):
                    for name in world.boxes:
                        world.carry(self, name, message)
                case Contact(address, message):
                    world.carry(self, address.rpartition(":")[0], message)
                case Save(save=number):
                    world.soon(DISK_S, self.feed, Saved(number))
                case Arm(workload, token, deadline):
                    self._arm(workload, token, deadline)
                case StartWorkload(workload, token, _):
                    world.soon(TELL_S, self._start, workload, token)
                case StopWorkload(workload, token):
                    self._stop(workload, token)
                case Leave():
                    self._leave()

    # -- the guard -------------------------------------------------------------------------------------------

    def _arm(self, workload: str, token: int, deadline: float) -> None:
        self._armed[workload] = (token, deadline)
        run = self.runs.get(workload)
        if run is not None and run.token == token:
            run.deadline = max(run.deadline, deadline)

    def _start(self, workload: str, token: int) -> None:
        armed, deadline = self._armed.get(workload, (0, 0.0))
        if self.node is None:
            return
        if armed != token or workload in self.runs or self._world.now >= deadline:
            self._tell(GuardSays("failed", workload, token, cause="cannot be started"))
            return
        self._begin(workload, Run(token, deadline))
        self._tell(GuardSays("running", workload, token, 1, deadline=deadline))

    def _begin(self, workload: str, run: Run) -> None:
        self.runs[workload] = run
        self._world.lives.append(Lived(self._world.now, workload, True))
        self._world.at(run.deadline, self._deadline, workload, run)

    def _deadline(self, workload: str, run: Run) -> None:
        if self.runs.get(workload) is not run:
            return
        if self._world.now < run.deadline:
            self._world.at(run.deadline, self._deadline, workload, run)
            return
        run.ending = True
        timing = self._world.position.config.timing
        self._world.soon((0.0, KILL_SHARE * timing.kill_s), self._gone, workload, run, "deadline")

    def _stop(self, workload: str, token: int) -> None:
        run = self.runs.get(workload)
        if run is None or run.token != token or run.ending:
            return
        run.ending = True
        seen = self._world.position.stops_s
        took_s = self._world.dice.choice(seen) if seen else self._world.dice.uniform(*STOP_S)
        self._world.at(self._world.now + took_s, self._gone, workload, run, "stopped")

    def _gone(self, workload: str, run: Run, cause: str) -> None:
        if self.runs.get(workload) is run:
            self._ended(workload)
            self._tell(GuardSays("gone", workload, run.token, cause=cause))

    def _ended(self, workload: str) -> None:
        del self.runs[workload]
        self._world.lives.append(Lived(self._world.now, workload, False))

    def _tell(self, says: GuardSays) -> None:
        # One channel: reports never overtake each other.
        self._told_at = max(self._told_at, self._world.now + self._world.dice.uniform(*TELL_S))
        self._world.at(self._told_at, self.feed, says)
