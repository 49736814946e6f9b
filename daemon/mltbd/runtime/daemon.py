"""The daemon process: opens the journal, the bus and the line to the guard, and joins them to one Node."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import logging
import resource
import secrets
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mltb_transport.bus import BindError, Source
from mltb_transport.keys import Keyring
from mltb_transport.messages import Request, Response
from mltb_transport.sockets import TransportUnusable
from mltb_transport.store import Bundle
from mltb_transport.wire import Delivery, Inbound
from mltb_transport.zmq_bus import BusConfig, ZmqBus
from mltbd.config.settings import Settings
from mltbd.core.events import Received, Unreadable
from mltbd.core.level_rules import NotSpoken
from mltbd.core.log import InvariantViolation
from mltbd.core.node import Node
from mltbd.core.snapshots import SnapshotError
from mltbd.orders import EXIT_ANEW, EXIT_CLEAN, EXIT_CONFIG, EXIT_FATAL, EXIT_ORPHAN
from mltbd.processes import mark_of
from mltbd.runtime import logs
from mltbd.runtime.ballast import BALLAST_BYTES
from mltbd.runtime.checks import Checks
from mltbd.runtime.clock import boottime
from mltbd.runtime.control import Control
from mltbd.runtime.disk_room import DiskRoom
from mltbd.runtime.doctor import CheckUp
from mltbd.runtime.driver import Driver
from mltbd.runtime.entropy import SeededEntropy
from mltbd.runtime.environment import Environment
from mltbd.runtime.founding_mark import marked
from mltbd.runtime.guard_line import GuardGone, GuardLine
from mltbd.runtime.journal import Journal
from mltbd.runtime.journal_errors import JournalError, NewerJournal
from mltbd.runtime.met import Met
from mltbd.runtime.notify import Notifier
from mltbd.runtime.reload import Origin, Reloader
from mltbd.runtime.route import Route
from mltbd.runtime.unjoined import Unjoined
from mltbd.runtime.wiring import node_config, offer

GC_THRESHOLD = 20_000
FILES = 65_536
SWITCH_S = 0.0002
"""How long the loop may keep the interpreter while the journal's thread wants it: Python's 5 ms are longer than a write
to disk, and everything acknowledged waits for that."""
log = logging.getLogger("mltbd")


def run(
    settings: Settings,
    state_dir: Path,
    socket_path: Path,
    version: str,
    environ: Mapping[str, str],
    origin: Origin,
) -> int:
    """Run until told to leave. Returns the exit code that the guard understands. `origin`: for SIGHUP."""
    logs.set_up(settings)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A stop is the guard's to order, also where a supervisor signals every process of the service at once.
        # A handler, not SIG_IGN, which the commands of checks would inherit.
        signal.signal(number, lambda *_: None)
    sys.setswitchinterval(SWITCH_S)
    _allow_many_files()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_open(settings, state_dir, socket_path, version, environ, origin))
    except (JournalError, SnapshotError, GuardGone, NotSpoken, TransportUnusable) as error:
        log.error("%s", _said(error))
        return EXIT_CONFIG if isinstance(error, NewerJournal | NotSpoken | TransportUnusable) else EXIT_FATAL


def _said(error: Exception) -> str:
    """What is wrong, and what a person should do about it."""
    if isinstance(error, SnapshotError):
        return f"the state directory holds a snapshot for another release: {error} (hint: install the newer mltbd)"
    if isinstance(error, OSError) and error.filename:
        return f"cannot use `{error.filename}`: {(error.strerror or str(error)).lower()}"
    return f"{error} (hint: {error.hint})" if isinstance(error, JournalError | BindError) and error.hint else str(error)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed (the extra `fast`), else asyncio's own."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return loop_factory


async def _open(
    settings: Settings,
    state_dir: Path,
    socket_path: Path,
    version: str,
    environ: Mapping[str, str],
    origin: Origin,
) -> int:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(Unjoined())
    environment = Environment(settings, str(socket_path), environ)
    guard = GuardLine(settings, environment, environ)
    ending = Ending(loop)
    room = DiskRoom(loop, state_dir)
    journal, recovered = Journal.open(state_dir, settings.node_id, ending.disk_failed, room.say, BALLAST_BYTES)
    try:
        checks = Checks(settings, environment, mark_of(str(state_dir)))
        seed = secrets.randbits(64)
        log.info(
            "starts: incarnation %d, seed %d, log up to entry %d", recovered.incarnation, seed, recovered.last_index
        )
        met = Met(state_dir, lambda work: threading.Thread(target=work, name="mltb-met", daemon=True).start())
        route = Route(settings, origin.loaded.effective["CLUSTER_ADVERTISE_ADDRESS"], met.places, state_dir)
        settings = await route.settle()
        config = node_config(settings, str(uuid.uuid4()), version)
        founder = marked(state_dir, config.founder, begun=recovered.last_index > 0)
        seeds = met.seeds(config.seeds, f"{config.address}:{config.port}")
        config = replace(config, founder=founder, seeds=seeds)
        node = Node(config, recovered, SeededEntropy(seed), boottime())
        del recovered  # The node lets go of entries, in time.
        ending.leaves = lambda: node.owner.leaving
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        notifier = Notifier(guard.tell, node, environ)
        guard.configuration = origin.loaded.content
        reloader = Reloader(origin, guard.keep, lambda: ending.say(EXIT_ANEW))
        guard.on_reload = lambda: _reload(notifier, reloader)
        check_up = CheckUp(origin.loaded, guard, state_dir, environ, guard.on_reload)
        route.watch(lambda: ending.say(EXIT_ANEW))
        with contextlib.closing(route):
            return await _serve(
                settings, node, journal, guard, checks, socket_path, ending, notifier, room, check_up, met
            )
    finally:
        journal.close()


def _reload(notifier: Notifier, reloader: Reloader) -> None:
    notifier.reloading()
    reloader.reload()
    notifier.ready()


class Ending:
    """The exit code of this process, as soon as somebody knows it. The first word stands."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.code: asyncio.Future[int] = loop.create_future()
        self.leaves: Callable[[], bool] = lambda: False
        """Whether this node is leaving: then its guard starts no other daemon, and stops what was not handed over."""
        loop.set_exception_handler(self._failed)

    def say(self, code: int) -> None:
        if code == EXIT_ANEW and self.leaves():
            log.info("this node is leaving: no daemon starts anew")
        elif not self.code.done():
            self.code.set_result(code)

    def halt(self, why: str) -> None:
        """This build must not take part; to start it again would help nobody."""
        log.error("%s", why)
        self.say(EXIT_CONFIG)

    def disk_failed(self, error: JournalError) -> None:
        """Called in the writer's thread: nothing is acknowledged any more."""
        log.error("%s", _said(error))
        self._loop.call_soon_threadsafe(self.say, EXIT_FATAL)

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Our own bug, or a guard that is gone: stop everything rather than go on half-broken."""
        error = context.get("exception")
        log.error("%s", context.get("message"), exc_info=error)
        self.say(EXIT_FATAL if isinstance(error, InvariantViolation | JournalError) else EXIT_ORPHAN)


async def _serve(
    settings: Settings,
    node: Node,
    journal: Journal,
    guard: GuardLine,
    checks: Checks,
    socket_path: Path,
    ending: Ending,
    notifier: Notifier,
    room: DiskRoom,
    check_up: CheckUp,
    met: Met,
) -> int:
    bus = ZmqBus(
        BusConfig(
            settings.address,
            settings.port,
            Keyring.from_secret(settings.secret) if settings.secret else None,
            str(socket_path),
            insecure=settings.insecure,
            other_keys=Keyring.from_secret(settings.other_secret) if settings.other_secret else None,
        )
    )
    control = Control(bus, forward_s=settings.network_timeout_s, operation_s=settings.operation_timeout_s)
    control.store.offer = offer(settings)
    driver = Driver(node, bus, journal, guard, control.reply, lambda: ending.say(EXIT_CLEAN))
    driver.on_link, driver.on_halt = met.keep, ending.halt
    control.attach(driver, checks)
    bus.on_turn = control.store.turn_over
    inbound = Inbound(node.me, bus.counters)
    inbound.on_unreadable = lambda sender, version: driver.handle(Unreadable(sender, version))

    def on_frame(payload: bytes, source: Source) -> None:
        inbound.cluster = node.identity.own.cluster
        delivery = inbound.open(payload, source)
        if delivery is not None:
            dispatch(delivery, driver, control)

    try:
        bus.open(on_frame, driver.lost)
    except (BindError, OSError) as error:
        log.error("%s", _said(error))
        bus.close()
        return EXIT_FATAL
    try:
        guard.open(driver.handle, lambda: ending.say(EXIT_ORPHAN))
        driver.on_handled = notifier.handled
        check_up.open(driver, control, bus)
        driver.start()
        checks.start(node, driver.handle)
        room.attach(driver.handle)
        notifier.ready()
        return await ending.code
    except GuardGone as error:
        log.error("%s", error)
        return EXIT_ORPHAN
    finally:
        check_up.close()
        checks.close()
        driver.close()
        guard.close()
        bus.close()


def dispatch(delivery: Delivery, driver: Driver, control: Control) -> None:
    """To whom a frame is meant: calls and their answers to the control plane, all else to the node."""
    frame = delivery.frame
    message = frame.message
    if isinstance(message, Request):
        if delivery.role == "node":
            control.from_peer(message, frame.sender)
        elif delivery.route is not None:
            control.from_client(message, delivery.role, delivery.route)
    elif isinstance(message, Bundle):
        if delivery.route is not None:
            control.bundle(message, delivery.role, delivery.route)
    elif isinstance(message, Response):
        control.response(message)
    else:
        driver.handle(Received(frame.sender, frame.incarnation, frame.cluster, message))


def _allow_many_files() -> None:
    """As many descriptors as we may have: libzmq aborts where it can accept no local connection, and a stranger who
    opens a thousand of them would leave it none of the usual 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
