"""Real nodes wired by hand: messages arrive at once, disks and guards obey, time moves when told to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from mltb_transport.messages import Entry, Message
from mltbd.core.effects import (
    Arm,
    Contact,
    Effect,
    Leave,
    Publish,
    Reply,
    Save,
    Send,
    StartWorkload,
    StopWorkload,
)
from mltbd.core.events import Ask, Event, GuardSays, Received, Recovered, Saved, Tick
from mltbd.core.failover import Policy
from mltbd.core.founding import Founder
from mltbd.core.node import Node
from mltbd.core.node_config import NodeConfig
from tests.daemon.core.core_kit import THREE, TIMING, WALL, store
from tests.daemon.core.membership_kit import Dice

T = TypeVar("T")
STEPS_MAX = 20_000
"""Messages at one moment: more is a loop."""


class Wired:
    """Nodes n1, n2 ... that found cluster c1 together; `n1` is the founder. Faults are public sets."""

    def __init__(
        self,
        *names: str,
        roles: dict[str, str] | None = None,
        priorities: dict[str, int] | None = None,
        absent: tuple[str, ...] = (),
        **config: Any,
    ) -> None:
        self.now = 100.0
        self.names = names
        self.roles = roles or {}
        self.priorities = priorities or {}
        self.config = config
        self.nodes: dict[str, Node] = {}
        self.cut: set[tuple[str, str]] = set()
        """Pairs (from, to) between which nothing passes."""
        self.lost: tuple[type, ...] = ()
        """Messages of these kinds never arrive."""
        self.slow: set[str] = set()
        """Disks that do not answer."""
        self.stubborn: set[str] = set()
        """Guards whose workloads do not stop."""
        self.effects: list[tuple[float, str, Effect]] = []
        self.alive: dict[tuple[str, str], int] = {}
        """(node, workload) -> token of the processes there are. Never two of one workload."""
        self._armed: dict[tuple[str, str], float] = {}
        self._disks: dict[str, tuple[int, str, tuple[Entry, ...]]] = {}
        self._unsaved: dict[str, list[int]] = {}
        self._incarnations: dict[str, int] = {}
        self._queue: deque[tuple[str, Event]] = deque()
        for name in names:
            if name not in absent:
                self.begin(name, pump=False)
        self.pump()

    def begin(self, name: str, *guard: GuardSays, wiped: bool = False, pump: bool = True) -> Node:
        """The daemon of this machine starts, with what its disk holds; its guard speaks first."""
        if wiped:
            self._disks.pop(name, None)
        if not guard:
            self._power_off(name)
        self._incarnations[name] = incarnation = self._incarnations.get(name, 0) + 1
        term, vote, entries = self._disks.get(name, (0, "", ()))
        recovered = Recovered("wiped" if wiped else store(name), incarnation, term, vote, entries)
        node = self.nodes[name] = Node(self._config(name), recovered, Dice(len(name) + incarnation), self.now)
        self._unsaved[name] = []
        self._perform(name, node.start(self.now, WALL))
        for says in guard:
            self._queue.append((name, says))
        if pump:
            self.pump()
        return node

    def _config(self, name: str) -> NodeConfig:
        others = tuple(f"10.0.0.{other[1:]}:7946" for other in self.names if other != name)
        fields: dict[str, Any] = {
            "timing": TIMING,
            "priority": self.priorities.get(name, 100),
            "address": f"10.0.0.{name[1:]}",
            "role": self.roles.get(name, "voter"),
            "seeds": others,
            "founder": Founder(name == "n1", len(self.names), len(self.names)),
            "heartbeat_s": 1.0,
            "node_timeout_s": 3.0,
        }
        return NodeConfig(name, "c1", **(fields | self.config))

    # -- what the test does ------------------------------------------------------------------------------------

    def stop(self, *names: str) -> None:
        """These machines are gone."""
        for name in names:
            del self.nodes[name]
            self._power_off(name)

    def _power_off(self, name: str) -> None:
        self.alive = {place: token for place, token in self.alive.items() if place[0] != name}

    def isolate(self, name: str) -> None:
        for other in self.names:
            self.cut |= {(name, other), (other, name)}

    def feed(self, name: str, event: Event) -> None:
        self._queue.append((name, event))
        self.pump()

    def hear(self, name: str, sender: str, message: Message, incarnation: int = 1, cluster: str = "c1") -> list[Effect]:
        """One message for one node; what it would do about it, not done."""
        return self.nodes[name].handle(Received(sender, incarnation, cluster, message), self.now, WALL)

    def ask(self, name: str, request: int, verb: str, **more: Any) -> None:
        self.feed(name, Ask(request, verb, **more))

    def saved(self, name: str, most: int | None = None) -> None:
        """A slow disk answers what it was given up to now, or the first `most` of that."""
        waiting = self._unsaved[name][:most]
        del self._unsaved[name][: len(waiting)]
        for number in waiting:
            self._queue.append((name, Saved(number)))
        self.pump()

    def run(self, seconds: float) -> None:
        self.until(lambda: False, seconds)

    def until(self, done: Callable[[], bool], limit_s: float = 60.0) -> bool:
        """Let time pass until something is true; whether it came true."""
        end = self.now + limit_s
        while not done():
            at, name = min((node.next_deadline(), name) for name, node in self.nodes.items())
            if self._kill_at() <= min(at, end):
                self._kill()
                continue
            if at > end:
                self.now = end
                return done()
            self.now = max(self.now, at)
            self.feed(name, Tick())
        return True

    def _kill_at(self) -> float:
        return min((self._armed[place] for place in self.alive), default=float("inf"))

    def _kill(self) -> None:
        """A guard's deadline has come."""
        place = min(self.alive, key=lambda place: self._armed[place])
        self.now = max(self.now, self._armed[place])
        self.gone(place[0], cause="deadline")

    def gone(self, name: str, cause: str = "stopped", workload: str = "main") -> None:
        """The guard of this node reports the whole tree reaped."""
        token = self.alive.pop((name, workload))
        self.feed(name, GuardSays("gone", workload, token, cause=cause))

    def settled(self) -> Wired:
        """Founded, led, and the workload placed and running."""
        assert self.until(lambda: self.owner() != "" and self.nodes[self.leader()].state.placements.get("main").started)
        self.run(3.0)
        self.effects.clear()
        return self

    # -- what the test sees ------------------------------------------------------------------------------------

    def leader(self) -> str:
        """The leader in charge; empty when there is none."""
        return next((name for name, node in self.nodes.items() if node.placer.current), "")

    def owner(self) -> str:
        """Whom the leader takes for the owner of main."""
        return self.nodes[self.leader()].state.placements.get("main").owner if self.leader() else ""

    def token(self) -> int:
        return self.nodes[self.leader()].state.placements.get("main").token

    def running(self) -> list[str]:
        return sorted(name for name, _ in self.alive)

    def done(self, kind: type[T]) -> list[tuple[str, T]]:
        """The effects of this kind, with who asked for them."""
        return [(name, effect) for _, name, effect in self.effects if isinstance(effect, kind)]

    def replies(self, request: int) -> list[Reply]:
        return [reply for _, reply in self.done(Reply) if reply.request == request]

    def left(self, name: str) -> bool:
        return (name, Leave()) in self.done(Leave)

    # -- the wiring --------------------------------------------------------------------------------------------

    def pump(self) -> None:
        for _ in range(STEPS_MAX):
            if not self._queue:
                return
            name, event = self._queue.popleft()
            node = self.nodes.get(name)
            if node is not None:
                self._perform(name, node.handle(event, self.now, WALL))
        raise AssertionError(f"{STEPS_MAX} messages at one moment: {self._queue[0]}")

    def _perform(self, name: str, effects: list[Effect]) -> None:
        for effect in effects:
            self.effects.append((self.now, name, effect))
            match effect:
                case Save(number, term, vote, entries):
                    log = self._disks.get(name, (0, "", ()))[2]
                    kept = log[: entries[0].index - 1] + entries if entries else log
                    self._disks[name] = (term, vote, kept)
                    if name in self.slow:
                        self._unsaved[name].append(number)
                    else:
                        self._queue.append((name, Saved(number)))
                case Send(to, message):
                    self._pass(name, to, message)
                case Publish(message):
                    for other in self.names:
                        self._pass(name, other, message)
                case Contact(address, message):
                    self._pass(name, f"n{address.split(':')[0].split('.')[-1]}", message)
                case Arm(workload, _, deadline):
                    self._armed[name, workload] = deadline
                case StartWorkload(workload, token):
                    assert self.now < self._armed[name, workload], f"{name} starts {workload} without a lease"
                    assert not [node for node, other in self.alive if other == workload], f"{workload} runs already"
                    self.alive[name, workload] = token
                    self._queue.append((name, GuardSays("running", workload, token, pid=4711)))
                case StopWorkload(workload, token) if name not in self.stubborn:
                    if self.alive.pop((name, workload), 0):
                        self._queue.append((name, GuardSays("gone", workload, token, cause="stopped")))

    def _pass(self, source: str, target: str, message: Message) -> None:
        node = self.nodes.get(source)
        cut = (source, target) in self.cut or isinstance(message, self.lost)
        if target != source and not cut and node is not None:
            self._queue.append((target, Received(source, node.incarnation, node.cluster, message)))


ON_N3 = Policy(preferred={"main": ("n3", "n2", "n1")}, recovery_wait_s=5.0)


def apart(policy: Policy = ON_N3, **more: Any) -> Wired:
    """n1 leads, n3 owns main."""
    wired = Wired(*THREE, policy=policy, **more).settled()
    assert (wired.leader(), wired.owner()) == ("n1", "n3")
    return wired
