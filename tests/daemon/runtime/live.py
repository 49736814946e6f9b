"""Daemons without processes: the real driver, control plane and node of each, on one event loop and in real time."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from types import TracebackType
from typing import Any, TypeVar

from mltb_transport.bus import Source
from mltb_transport.frames import PROTOCOL, Frame, decode
from mltb_transport.messages import Request, Response
from mltb_transport.wire import Inbound
from mltbd.core.events import GuardSays
from mltbd.core.founding import Founder
from mltbd.core.health import Rule
from mltbd.core.node import Node
from mltbd.core.node_config import NodeConfig
from mltbd.core.timing import Timing
from mltbd.runtime.clock import boottime
from mltbd.runtime.control import Control
from mltbd.runtime.daemon import dispatch
from mltbd.runtime.doctor import CheckUp
from mltbd.runtime.driver import Driver
from tests.daemon.config.machines import loaded
from tests.daemon.runtime.in_memory import MemoryDisk, MemoryGuard, Plain
from tests.transport.frame_kit import encode
from tests.transport.memory_bus import Address, MemoryBus, MemoryHub
from tests.waiting import holds, until

T = TypeVar("T")
PORT = 7946
TURN_S = 0.004
PATIENCE_S = 40.0
LEASE_S = 1.5
LOADED = loaded("CLUSTER_ENABLED=1")


class Papers:
    """What a guard tells of itself."""

    kill_path = "walk"
    daemon_restarts = 0
    supervised = False


def void(_: object) -> None:
    """For callbacks whose result nobody wants."""


class LiveNode:
    """One daemon: everything but the sockets, the disk and the guard is real."""

    def __init__(self, hub: MemoryHub, config: NodeConfig, forward_s: float, operation_s: float = 30.0) -> None:
        loop = asyncio.get_running_loop()
        self.name = config.node
        self.address: Address = (config.address, config.port)
        self.disk = MemoryDisk(f"disk-{config.node}")
        self.guard = MemoryGuard(lambda says: void(loop.call_soon(self._says, says)), boottime)
        self.bus = MemoryBus(hub, *self.address)
        self.node = Node(config, self.disk.recover(), Plain(), boottime())
        self.control = Control(self.bus, forward_s, operation_s)
        self.left = False
        self.driver = Driver(self.node, self.bus, self.disk, self.guard, self.control.reply, self._leave)
        self.control.attach(self.driver)
        self.reloads = 0
        self.check_up = CheckUp(LOADED, Papers(), Path(gettempdir()), {}, self._reload)
        self.check_up.open(self.driver, self.control, self.bus)
        self._inbound = Inbound(self.name, self.bus.counters)
        self.bus.open(self._frame, self.driver.lost)
        self.driver.start()

    def close(self) -> None:
        self.check_up.close()
        self.driver.close()
        self.bus.close()

    def _reload(self) -> None:
        self.reloads += 1

    def _leave(self) -> None:
        self.left = True

    def _says(self, says: GuardSays) -> None:
        self.driver.handle(says)

    def _frame(self, payload: bytes, source: Source) -> None:
        self._inbound.cluster = self.node.cluster
        delivery = self._inbound.open(payload, source)
        if delivery is not None:
            dispatch(delivery, self.driver, self.control)


class Live:
    """Nodes n1, n2 ...; n1 founds. Leaving the block closes them; what failed inside the loop fails the test."""

    def __init__(
        self, size: int = 1, forward_s: float = 5.0, rules: tuple[Rule, ...] = (), operation_s: float = 30.0
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._failed)
        self.failures: list[dict[str, Any]] = []
        self.hub = MemoryHub(self.loop.call_soon)
        self.nodes: dict[str, LiveNode] = {}
        self._numbers = itertools.count(1)
        names = [f"n{number}" for number in range(1, size + 1)]
        for rank, name in enumerate(names):
            config = NodeConfig(
                node=name,
                cluster_id="c-1",
                timing=Timing.derive(LEASE_S),
                address=f"{name}.test",
                port=PORT,
                priority=100 - 10 * rank,
                founder=Founder(name == "n1", size, size),
                seeds=tuple(f"{other}.test:{PORT}" for other in names if other != name),
                heartbeat_s=0.5,
                node_timeout_s=3.0,
                version="0.1.0",
                checks=rules,
            )
            self.nodes[name] = self.act(partial(LiveNode, self.hub, config, forward_s, operation_s))

    def __enter__(self) -> Live:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes.values():
            self.act(node.close)
        self.loop.close()
        assert kind is not None or not self.failures, self.failures

    def __getitem__(self, name: str) -> LiveNode:
        return self.nodes[name]

    def act(self, work: Callable[[], T]) -> T:
        """Call something that wants to be called inside the loop."""

        async def inside() -> T:
            return work()

        return self.loop.run_until_complete(inside())

    def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Let the loop run until the condition holds."""
        until(lambda: self._turn() or bool(condition()), PATIENCE_S, what or str(self.failures))

    def holds(self, condition: Callable[[], object], for_s: float) -> None:
        """Let the loop run for a while; the condition is to hold all the time."""
        holds(lambda: self._turn() or bool(condition()), for_s)

    def formed(self) -> Live:
        """n1 leads and runs `main`, and every node knows."""
        places = [node.node.state.placements for node in self.nodes.values()]
        self.until(lambda: all(p.get("main").owner == "n1" and p.get("main").started for p in places), "placed")
        self.until(lambda: all(node.node.consensus.leader == "n1" for node in self.nodes.values()), "led")
        return self

    def post(self, name: str, method: str, params: object = None, role: str = "admin", raw: str = "") -> str:
        """Send a request as a client of its own; the client's name, by which `answers` finds what came back."""
        number = next(self._numbers)
        request = Request(number, method, raw or json.dumps(params or {}))
        client = f"client-{number}"
        payload = encode(Frame(PROTOCOL, "", "", 0, number, request))
        assert self.hub.ask(self.nodes[name].address, payload, role, client)
        return client

    def answers(self, client: str) -> list[tuple[bool, dict[str, Any]]]:
        """What this client has got since it last looked."""
        found = []
        for payload in self.hub.replies(client):
            response = decode(payload).message
            assert isinstance(response, Response)
            assert client == f"client-{response.id}"
            found.append((response.ok, json.loads(response.body)))
        return found

    def answered(self, client: str) -> tuple[bool, dict[str, Any]]:
        """The one answer this client gets, once it has come."""
        got: list[tuple[bool, dict[str, Any]]] = []

        def look() -> bool:
            got.extend(self.answers(client))
            return bool(got)

        self.until(look, f"an answer for {client}")
        assert len(got) == 1
        return got[0]

    def call(self, name: str, method: str, params: object = None, **how: Any) -> tuple[bool, dict[str, Any]]:
        """Ask one node, and wait for its answer."""
        return self.answered(self.post(name, method, params, **how))

    def ask(self, name: str, method: str, params: object = None, **how: Any) -> dict[str, Any]:
        """The result of a call that succeeds."""
        ok, body = self.call(name, method, params, **how)
        assert ok, body
        return body

    def refused(self, name: str, method: str, params: object = None, **how: Any) -> dict[str, Any]:
        """The error of a call that fails; every one has a code, words and a hint."""
        ok, body = self.call(name, method, params, **how)
        assert not ok, body
        assert {"code", "message", "hint"} <= body.keys()
        assert all(body[key] for key in ("code", "message"))
        return body

    def _turn(self) -> bool:
        """Run the loop for a moment; never true."""
        self.loop.call_later(TURN_S, self.loop.stop)
        self.loop.run_forever()
        return False

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(context)
