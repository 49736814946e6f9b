"""One simulated machine: its clock, disk and guard, and the daemon (a real Node) that runs, hangs, dies and returns."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from mltbd.core.effects import (
    Arm,
    Contact,
    Effect,
    Halt,
    Leave,
    Link,
    Note,
    Outcomes,
    Publish,
    Refusals,
    Reply,
    Save,
    Send,
    StartWorkload,
    StopWorkload,
    Unlink,
)
from mltbd.core.events import Event, GuardSays, HookEnded, Lost, Received, Saved, StopRequested, Strain, Tick
from mltbd.core.level_rules import NotSpoken
from mltbd.core.log import InvariantViolation
from mltbd.core.node import Node
from mltbd.core.node_config import NodeConfig
from tests.sim.clock import Clock
from tests.sim.disk import Disk
from tests.sim.guard import Guard
from tests.sim.history import (
    Broke,
    Ended,
    History,
    Noted,
    Refused,
    Replied,
)
from tests.sim.network import Network
from tests.sim.observer import Observer
from tests.sim.wrong import refuse_own_fault

BACKLOG_MAX = 2000
RESTART_S = (0.2, 0.6)
NOTICE_S = (0.0005, 0.02)
NOTICE_SHARE = 0.9
"""How many of the others see the connection break when a daemon dies and its kernel lives on."""
LATE_TIMER_S = 0.001
STRAIN_S = 0.05
TICKS_AT_ONCE_MAX = 50
GUARD_PATIENCE_S = 12.0


class Machine:
    """`power_on` boots it. Faults are its other public methods; all may be called at any time."""

    def __init__(
        self,
        config: NodeConfig,
        stop_timeout_s: float,
        dice: random.Random,
        at: Callable[..., None],
        real: Callable[[], float],
        network: Network,
        history: History,
    ) -> None:
        self.name = config.node
        self.config = config
        self.dice = dice
        self._at = at
        self._real = real
        self._network = network
        self._history = history
        self.clock = Clock(dice)
        self.disk = Disk(f"disk-{config.node}", dice, at, real)
        self.guard = Guard(config.node, config.timing, stop_timeout_s, self.clock, dice, at, real, history)
        self.node: Node | None = None
        self.on = False
        """The guard runs and keeps a daemon."""
        self.on_off: Callable[[Machine], None] = lambda _machine: None
        """Called when the service has ended as asked."""
        self.on_store: Callable[[Machine, Effect], None] = lambda _machine, _effect: None
        """Called with what the daemon says to clients of locks and state."""
        self.restart_s = RESTART_S
        """How long it takes from the death of a daemon until the next one begins."""
        self.paused = False
        self.linked: set[str] = set()
        self.handled = 0
        self._backlog: deque[Event] = deque()
        self._epoch = 0
        self._service = 0
        self._wake_at = float("inf")
        self._idle_ticks = 0
        self._last_tick_at = -1.0
        self._observer = Observer(config.node, real, history)

    # -- life and death --------------------------------------------------------------------------------------

    def power_on(self) -> None:
        """The machine boots, or its service is started."""
        if not self.on:
            self.on = True
            self._service += 1
            self.guard.leases.clear()
            self._start_daemon(self._service)

    def _start_daemon(self, service: int) -> None:
        if not self.on or service != self._service or self.node is not None:
            return
        self._epoch += 1
        epoch = self._epoch
        recovered = self.disk.recover()
        self.linked = set()
        self._wake_at = float("inf")
        self._observer.began(recovered, self.config.speaks)
        self._network.restarted(self.name)
        entropy = random.Random(self.dice.getrandbits(48))
        self.guard.tell = lambda says: self._if_alive(epoch, says)
        try:
            self.node = Node(self.config, recovered, entropy, self.clock.local(self._real()))
            self._observer.follow(self.node)
            self._perform(self.node.start(self.clock.local(self._real()), self.clock.wall(self._real())))
        except NotSpoken as error:
            self._halts(str(error))
            return
        except (InvariantViolation, ValueError, KeyError, AttributeError, IndexError, TypeError) as error:
            self._broken(error)
            return
        for says in self.guard.hello():
            self.feed(says)
        self._schedule()

    def _if_alive(self, epoch: int, says: GuardSays | HookEnded) -> None:
        if epoch == self._epoch:
            self.feed(says)

    def _end_daemon(self, how: str) -> None:
        if self.node is None:
            return
        self._history.append(Ended(self._real(), self.name, how))
        self._observer.look(self.node)  # Its last event may be what ends it.
        self._observer.deposed()
        self.node = None
        self.paused = False
        self._backlog.clear()
        self._epoch += 1
        self.disk.crash()

    def crash_daemon(self) -> None:
        """SIGKILL to the daemon; the guard starts another one."""
        if self.node is not None:
            self._end_daemon("crash")
            self._hang_up()
            self._at(self._real() + self.dice.uniform(*self.restart_s), self._start_daemon, self._service)

    def _hang_up(self) -> None:
        """The kernel closes the connections of a dead daemon: whoever is not cut off sees it."""
        for name, host in self._network.hosts.items():
            reached = (self.name, name) not in self._network.blocked and self.dice.random() < NOTICE_SHARE
            if name != self.name and reached:
                self._at(self._real() + self.dice.uniform(*NOTICE_S), host.hangs_up, self.name)

    def hangs_up(self, name: str) -> None:
        """The connection to this one broke, or so it seems."""
        if name in self.linked:
            self.feed(Lost(name))

    def crash_machine(self) -> None:
        """Power loss. Or the guard dies and takes its children along: for the others it is the same."""
        self._end_daemon("machine")
        self.guard.dies()
        self.on = False

    def wipe(self) -> None:
        """While it is off, its disk is replaced by an empty one."""
        self.disk.wipe()

    def pause(self) -> None:
        """SIGSTOP to the daemon alone."""
        if self.node is not None:
            self.paused = True

    def resume(self) -> None:
        if not self.paused or self.node is None:
            return
        self.paused = False
        epoch = self._epoch
        if self.dice.random() < 0.5:
            self._wake(self._wake_at)
        while self._backlog and epoch == self._epoch and not self.paused:
            self.feed(self._backlog.popleft())
        if epoch == self._epoch:
            self._wake(self._wake_at)

    def ask_to_stop(self) -> None:
        """SIGTERM to the guard."""
        if not self.on:
            return
        if self.node is None:
            self._guard_ends()
            return
        self.feed(StopRequested())
        self._at(self._real() + GUARD_PATIENCE_S, self._patience_over, self._service, self._epoch)

    def _patience_over(self, service: int, epoch: int) -> None:
        if self.on and service == self._service and epoch == self._epoch:
            self._guard_ends()

    def _guard_ends(self) -> None:
        """The guard stops what runs and ends with it."""
        self._end_daemon("left")
        self._hang_up()
        self.on = False
        self.guard.stop_all()
        self.on_off(self)

    @property
    def at_rest(self) -> bool:
        """Off, with nothing left of its workloads: it may be started again."""
        return not self.on and not self.guard.runs

    # -- events ----------------------------------------------------------------------------------------------

    def arrives(self, event: Received) -> None:
        if self.node is not None:
            self.feed(event)

    def feed(self, event: Event) -> None:
        """To the daemon, once it runs."""
        if self.node is None:
            return
        if self.paused:
            if len(self._backlog) < BACKLOG_MAX:
                self._backlog.append(event)
            return
        real = self._real()
        self._handle(event, self.clock.local(real), real)

    def _handle(self, event: Event, now: float, real: float) -> None:
        node = self.node
        if node is None:
            return
        self.handled += 1
        try:
            effects = node.released(event.save) if isinstance(event, Saved) else []
            effects += node.handle(event, now, self.clock.wall(real))
        except (InvariantViolation, ValueError, KeyError, AttributeError, IndexError, TypeError) as error:
            self._broken(error)
            return
        if effects:
            self._perform(effects)
        if self.node is not None:
            self._observer.look(self.node)
        self._schedule()

    def _broken(self, error: Exception) -> None:
        refuse_own_fault(error)
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace is not None else "?"
        self._history.append(Broke(self._real(), self.name, f"{type(error).__name__}: {error} ({where})"))
        self._end_daemon("broken")
        self.on = False
        self.guard.stop_all()

    def _halts(self, why: str) -> None:
        """Its build must not take part: the guard stops all and does not start it again."""
        self._history.append(Refused(self._real(), self.name, why))
        self._guard_ends()

    def _schedule(self) -> None:
        if self.node is None:
            return
        due = self.clock.real(self.node.next_deadline())
        if due < self._wake_at:
            self._wake_at = max(due, self._real())
            self._at(self._wake_at + self.dice.random() * LATE_TIMER_S, self._wake, self._wake_at)

    def _wake(self, wake_at: float) -> None:
        if self.node is None or self.paused or wake_at != self._wake_at:
            return
        real = self._real()
        late_s = real - self._wake_at
        self._wake_at = float("inf")
        now = self.clock.local(real)
        if late_s > STRAIN_S:
            self._handle(Strain(late_s), now, real)
        if self.node is not None and now >= self.node.next_deadline():
            self._count_tick(real)
            self._handle(Tick(), now, real)
        else:
            self._schedule()

    def _count_tick(self, real: float) -> None:
        """A node that asks for the past again and again would burn a processor."""
        self._idle_ticks = self._idle_ticks + 1 if real < self._last_tick_at + 2 * LATE_TIMER_S else 0
        self._last_tick_at = real
        if self._idle_ticks > TICKS_AT_ONCE_MAX:
            self._idle_ticks = 0
            self._history.append(Broke(real, self.name, "its next deadline stays in the past: a busy loop"))

    # -- effects ---------------------------------------------------------------------------------------------

    def _perform(self, effects: list[Effect]) -> None:
        node = self.node
        if node is None:
            return
        epoch = self._epoch
        for effect in effects:
            match effect:
                case Send(to, message):
                    self._network.send(self.name, to, node.incarnation, node.cluster, message)
                    self._observer.listen(node, self.disk.store, to, message)
                case Save():
                    self.disk.submit(effect, lambda number: self._saved(epoch, number))
                case Publish(message):
                    self._network.publish(self.name, node.incarnation, node.cluster, message)
                case Contact(address, message):
                    target = address.partition(":")[0]
                    self._network.contact(self.name, target, node.incarnation, node.cluster, message)
                case Link(name, _, _, fresh):
                    self.linked.add(name)
                    self._network.link(self.name, name, fresh)
                case Unlink(name):
                    self.linked.discard(name)
                    self._network.unlink(self.name, name)
                case Arm():
                    self.guard.arm(effect)
                case StartWorkload():
                    self.guard.start(effect)
                case StopWorkload():
                    self.guard.stop(effect)
                case Note(level, text):
                    if text.startswith("cannot take over the snapshot"):
                        # All are of one release here: what one of them made the others can read.
                        self._history.append(Broke(self._real(), self.name, text))
                    if level != "debug":
                        self._history.append(Noted(self._real(), self.name, text))
                case Outcomes() | Refusals():
                    self.on_store(self, effect)
                case Reply():
                    self._replied(effect)
                    self.on_store(self, effect)
                case Leave():
                    self._guard_ends()
                    return
                case Halt(why):
                    self._halts(why)
                    return

    def _saved(self, epoch: int, number: int) -> None:
        if epoch == self._epoch:
            self.feed(Saved(number))

    def _replied(self, reply: Reply) -> None:
        operation = int(reply.result.get("operation") or 0)
        target = str(reply.result.get("to") or "")
        self._history.append(Replied(self._real(), self.name, reply.request, reply.code, operation, target))

    # -- what an observer sees -------------------------------------------------------------------------------

    @property
    def leads(self) -> bool:
        return self._observer.leads

    def hold_still(self) -> None:
        """Write down the log as it is now."""
        if self.node is not None:
            self._observer.hold_still(self.node)

    def reconfigure(self, **changes: object) -> None:
        """What the next daemon here will be told."""
        self.config = replace(self.config, **changes)  # type: ignore[arg-type]
