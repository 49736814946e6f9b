"""The daemon's end of the line to the guard: orders out, reports in. The protocol stands in guard's orders.py."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import socket
from collections.abc import Callable, Mapping
from typing import Any

from mltbd.config import leaving
from mltbd.config.settings import Settings
from mltbd.core.events import Event, GuardSays, HookEnded, StopRequested
from mltbd.orders import DATAGRAM_BYTES_MAX, FD_VARIABLE, STOP_SIGNALS, OrderError, decode, encode
from mltbd.runtime.environment import Environment
from mltbd.runtime.kept import packed

REPORTS_PER_TURN = 64
HELLO_S = 5.0
log = logging.getLogger("mltbd")


class GuardGone(Exception):
    """The guard has died, or stopped listening: nothing may run any more."""


class GuardLine:
    """Speaks to the guard that started this daemon. `on_gone` is called when the guard has died."""

    def __init__(self, settings: Settings, environment: Environment, environ: Mapping[str, str]) -> None:
        if FD_VARIABLE not in environ:
            raise GuardGone(f"`{FD_VARIABLE}` is not set: a daemon is started by its guard, use `mltbd run`")
        self._socket = socket.socket(fileno=int(environ[FD_VARIABLE]))
        self._socket.setblocking(False)
        os.set_inheritable(self._socket.fileno(), False)
        self._specs = {workload.name: workload for workload in settings.workloads}
        self._settings = settings
        self._environment = environment
        self._on_event: Callable[[Event], None] | None = None
        self._on_gone: Callable[[], None] | None = None
        self.kill_path = ""
        self.supervised = False
        """A service manager wants to be told how we are."""
        self.on_reload: Callable[[], None] = _nothing
        self.configuration = b""
        """The content of the file this daemon runs with."""
        self.daemon_restarts = 0

    def open(self, on_event: Callable[[Event], None], on_gone: Callable[[], None]) -> None:
        """Introduce ourselves, hear what runs already, then deliver what the guard reports to `on_event`.

        What runs is known when this returns, before any message of another node can be: else a token could be given
        back while its workload lives. Raises GuardGone when the guard does not greet.
        """
        self._on_event, self._on_gone = on_event, on_gone
        patience_s = leaving.guard_s(self._settings.workloads)
        self._tell({"do": "hello", "horizon": self._settings.timing.hold_s, "patience": patience_s})
        for event in self._hello():
            self._deliver(event)
        self.keep(self.configuration)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def _hello(self) -> list[Event]:
        """The guard greets each daemon as it starts it, so this waits for nothing but a guard that is stopped."""
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        datagram = self._socket.recv(DATAGRAM_BYTES_MAX) if poller.poll(HELLO_S * 1000) else b""
        report = json.loads(datagram) if datagram else {}
        if report.get("is") != "hello":
            raise GuardGone(f"the guard did not greet within {HELLO_S:g} s")
        return self._events(report)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()

    def keep(self, content: bytes) -> None:
        """The next daemon begins with a file of this content."""
        configuration = packed(content)
        if not configuration:
            log.warning("the configuration is too large for the guard to keep: a daemon after a crash reads it anew")
        self._tell({"do": "keep", "configuration": configuration})

    def arm(self, workload: str, token: int, deadline: float) -> None:
        self._tell({"do": "arm", "workload": workload, "token": token, "deadline": deadline})

    def start(self, workload: str, token: int, grace_s: float) -> None:
        spec = self._specs[workload]
        env = self._environment.of_workload(spec, token)
        order = {
            "do": "start",
            "workload": workload,
            "token": token,
            "argv": list(spec.argv),
            "cwd": spec.cwd,
            "env": env,
            "stop_timeout": spec.stop_timeout_s,
            "grace": min(spec.stop_timeout_s, grace_s),
            "stop_signal": STOP_SIGNALS[spec.stop_signal],
            "hooks": {name: {"argv": list(argv), "timeout": spec.hook_timeout_s} for name, argv in spec.hooks},
        }
        try:
            decode(encode(order))
        except OrderError as error:
            # The guard would drop it without a word, and the workload would seem to start for ever.
            failed = GuardSays("failed", workload, token, cause=f"the guard cannot be given this command: {error}")
            asyncio.get_running_loop().call_soon(self._deliver, failed)
            return
        self._tell(order)

    def stop(self, workload: str, token: int) -> None:
        self._tell({"do": "stop", "workload": workload, "token": token})

    def tell(self, lines: list[str]) -> None:
        """To the service manager; the guard passes it on."""
        if self.supervised:
            self._tell({"do": "tell", "lines": lines})

    def _tell(self, order: dict[str, Any]) -> None:
        try:
            self._socket.send(encode(order))
        except (BlockingIOError, OSError) as error:
            # It reads within milliseconds or is stopped for good. Unarmed, it ends what runs at the deadline.
            raise GuardGone(f"the guard does not take orders: {error}") from error

    def _read(self) -> None:
        for _ in range(REPORTS_PER_TURN):
            try:
                datagram = self._socket.recv(DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:
                datagram = b""
            if not datagram:
                self._gone()
                return
            for event in self._events(json.loads(datagram)):
                self._deliver(event)

    def _gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        if self._on_gone is not None:
            self._on_gone()

    def _deliver(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def _events(self, report: dict[str, Any]) -> list[Event]:
        """The guard is ours: what it says is well-formed, or it is our bug."""
        match report["is"]:
            case "hello":
                self.kill_path, self.daemon_restarts = report["kill_path"], report["restarts"]
                self.supervised = report.get("supervised", False)
                return [_running(run) for run in report["workloads"]]
            case "running":
                return [_running(report)]
            case "failed":
                return [GuardSays("failed", report["workload"], report["token"], cause=report["error"])]
            case "gone":
                workload, token = report["workload"], report["token"]
                return [GuardSays("gone", workload, token, cause=report["cause"], status=report["status"])]
            case "hooked":
                return [_hooked(report)]
            case "stop":
                return [StopRequested()]
            case "reload":
                self.on_reload()
        return []


def _nothing() -> None:
    """Until somebody cares."""


def _running(run: dict[str, Any]) -> GuardSays:
    phase = run.get("phase", "running")  # A guard outlives the daemons it starts: it may be of an earlier release.
    return GuardSays(phase, run["workload"], run["token"], run["pid"], deadline=run["deadline"])


def _hooked(report: dict[str, Any]) -> HookEnded:
    return HookEnded(
        report["workload"], report["token"], report["hook"], report["seconds"], report["ok"], report["detail"]
    )
