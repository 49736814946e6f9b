"""The shell around one Node: feeds it events and the time, performs its effects in order, wakes it when it asks."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from mltb_transport.bus import Bus, Route
from mltb_transport.frames import FrameError
from mltb_transport.messages import Message
from mltb_transport.wire import Outbound
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
from mltbd.core.events import Event, Lost, Saved, Strain, Tick
from mltbd.core.node import Node
from mltbd.runtime.acknowledged import Acknowledged
from mltbd.runtime.clock import boottime, wall_ms

log = logging.getLogger("mltbd")

STRAIN_S = 0.05
"""A timer later than this is worth telling the node."""
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Disk(Protocol):
    """Where Saves go; `done` may be called from another thread."""

    def submit(self, save: Save, done: Callable[[], None]) -> None: ...


class Orders(Protocol):
    """What the driver asks of the guard."""

    def arm(self, workload: str, token: int, deadline: float) -> None: ...
    def start(self, workload: str, token: int, grace_s: float) -> None: ...
    def stop(self, workload: str, token: int) -> None: ...


class Driver:
    """One loop owns the node: every method runs in it. `on_reply` and `on_leave` belong to the control plane."""

    def __init__(
        self,
        node: Node,
        bus: Bus,
        disk: Disk,
        guard: Orders,
        on_reply: Callable[[Reply | Outcomes | Refusals], None],
        on_leave: Callable[[], None],
    ) -> None:
        self.node = node
        self._bus = bus
        self._disk = disk
        self._guard = guard
        self._on_reply = on_reply
        self._on_leave = on_leave
        self._loop = asyncio.get_running_loop()
        self._addresses: dict[str, tuple[str, int]] = {}
        self.on_link: Callable[[Iterable[tuple[str, int]]], None] = lambda _: None
        """Told where the members are whenever that changed."""
        self._acknowledged = Acknowledged(lambda number: self.handle(Saved(number)))
        self._outbound = Outbound(node.me, node.incarnation)
        self._wake_at = float("inf")
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.on_handled: Callable[[float], None] = _nothing
        """Told the time after each event that the node has handled: proof that it decides."""
        self.on_halt: Callable[[str], None] = _nothing
        """Told why this build must not take part: the process has to end."""

    def start(self) -> None:
        self._perform(self.node.start(boottime(), wall_ms()))
        self._schedule()

    def close(self) -> None:
        """No more events reach the node."""
        self._closed = True
        self._acknowledged.close()
        if self._timer is not None:
            self._timer.cancel()

    def handle(self, event: Event) -> None:
        """Give the node one event. The time is read here, after whatever brought the event has arrived."""
        if self._closed:
            return
        if isinstance(event, Saved):
            released = self.node.released(event.save)
            self._perform(released)
            if released:
                # What was sent leaves by libzmq's thread, which may stand in line for this very core.
                os.sched_yield()
        now = boottime()
        self._perform(self.node.handle(event, now, wall_ms()))
        self._schedule()
        self.on_handled(now)

    def lost(self, address: str, port: int) -> None:
        """The bus lost its connection to whoever lives there."""
        for node in [node for node, where in self._addresses.items() if where == (address, port)]:
            self.handle(Lost(node))

    def send(self, to: str, message: Message) -> bool:
        """To a member; False when it is not linked, its queue is full, or no frame can hold this."""
        where = self._addresses.get(to)
        return where is not None and self._carry(partial(self._bus.send, *where), message, to)

    def reply(self, route: Route, message: Message) -> bool:
        """To a control client; False when it is gone, or no frame can hold this."""
        return self._carry(partial(self._bus.reply, route), message)

    def _carry(self, carrier: Callable[[bytes], bool], message: Message, to: str = "") -> bool:
        """A message of this node, for one node or for all. Numbers grow over all this incarnation sends.

        What others made too large for a frame is lost, as anything may be on its way: nobody ends for it.
        """
        own = self.node.identity.own
        self._outbound.cluster, self._outbound.incarnation = own.cluster, own.incarnation
        try:
            payload = self._outbound.seal(message, to)
        except FrameError as error:
            self._bus.counters["oversized"] += 1
            log.error("a %s is not sent: %s", type(message).__name__, error)
            return False
        return carrier(payload)

    def _schedule(self) -> None:
        due = self.node.next_deadline()
        if due >= self._wake_at:
            return  # Woken too early, we look again: cheaper than a new timer for each message.
        if self._timer is not None:
            self._timer.cancel()
        self._wake_at = due
        self._timer = self._loop.call_later(max(0.0, due - boottime()), self._wake)

    def _wake(self) -> None:
        now = boottime()
        late_s = now - self._wake_at
        self._wake_at, self._timer = float("inf"), None
        if late_s > STRAIN_S:
            self.handle(Strain(late_s))
        if now >= self.node.next_deadline():
            self.handle(Tick())
        else:
            self._schedule()

    def _perform(self, effects: list[Effect]) -> None:
        saves = []
        for effect in effects:
            match effect:
                case Send(to, message):
                    self.send(to, message)
                case Save():
                    saves.append(effect)
                case Publish(message):
                    self._carry(self._bus.publish, message)
                case Arm(workload, token, deadline):
                    self._guard.arm(workload, token, deadline)
                case StartWorkload(workload, token, grace_s):
                    self._guard.start(workload, token, grace_s)
                case StopWorkload(workload, token):
                    self._guard.stop(workload, token)
                case Link(node, address, port, fresh):
                    self._link(node, address, port, fresh)
                case Unlink(node):
                    self._unlink(node)
                case Contact(address, message):
                    host, _, port_text = address.rpartition(":")
                    self._bus.link(host, int(port_text))
                    self._carry(partial(self._bus.send, host, int(port_text)), message)
                case Reply() | Outcomes() | Refusals():
                    self._on_reply(effect)
                case Note(level, text):
                    log.log(LEVELS[level], text, extra={"term": self.node.consensus.term})
                case Leave():
                    self._on_leave()
                case Halt(why):
                    self.on_halt(why)
        # Last: the writer's thread wants the interpreter at once, and whoever is sent something works meanwhile.
        for save in saves:
            self._disk.submit(save, partial(self._acknowledged.say, save.save))

    def _link(self, node: str, address: str, port: int, fresh: bool) -> None:
        before = self._addresses.get(node)
        self._addresses[node] = (address, port)
        self.on_link(self._addresses.values())
        # Somebody else may live there by now: nodes exchange addresses where DHCP gives them out.
        self._let_go(before)
        if fresh:
            self._bus.relink(address, port)
        else:
            self._bus.link(address, port)

    def _unlink(self, node: str) -> None:
        self._let_go(self._addresses.pop(node, None))

    def _let_go(self, where: tuple[str, int] | None) -> None:
        if where is not None and where not in self._addresses.values() and where not in self._seeds():
            self._bus.unlink(*where)

    def _seeds(self) -> set[tuple[str, int]]:
        pairs = (seed.rpartition(":") for seed in self.node.config.seeds)
        return {(host, int(port)) for host, _, port in pairs}


def _nothing(_told: object) -> None:
    """Nobody listens."""
