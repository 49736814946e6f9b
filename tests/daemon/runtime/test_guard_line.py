"""The daemon's end of the line to the guard: what it writes is what the guard reads, what it hears become events."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from mltbd.config.leaving import guard_s
from mltbd.config.settings import Settings
from mltbd.core.events import Event, GuardSays, HookEnded, StopRequested
from mltbd.orders import DATAGRAM_BYTES_MAX, FD_VARIABLE, KEPT_CHARS_MAX, Arm, Hello, Keep, Start, Stop, channel, decode
from mltbd.runtime.environment import Environment
from mltbd.runtime.guard_line import REPORTS_PER_TURN, GuardGone, GuardLine
from mltbd.runtime.kept import packed
from mltbd.runtime.wiring import node_config
from tests.daemon.config.machines import SECRET, loaded, settings
from tests.waiting import until

SOCKET = "/run/mltb/n1.sock"
ENVIRON = {
    "PATH": "/usr/bin",
    "HOME": "/home/bot",
    "BOT_TOKEN": "not asked for",
    "CLUSTER_SECRET": SECRET,
    "CLUSTER_SECRET_FILE": "/etc/mltb/secret",
    "NOTIFY_SOCKET": "/run/systemd/notify",
    "MLTB_NODE_ID": "somebody else",
}
TOML = """
[workload.main]
command = ["python3", "-m", "bot"]
cwd = "/srv/bot"
env = { MODE = "ha", MLTB_TOKEN = "forged" }
inherit = ["PATH", "LANG"]
stop_timeout = 0.25
stop_signal = "SIGINT"
hooks = { pre_start = ["prepare", "it"], post_stop = ["tidy"], timeout = 45.0 }

[workload.plain]
command = ["true"]
"""


HOOKED: dict[str, Any] = {
    "is": "hooked", "workload": "main", "token": 7, "hook": "pre_start", "seconds": 0.5, "ok": False, "detail": "no",
}  # fmt: skip


class Line:
    """A GuardLine, its loop, and the guard's end in our hands."""

    def __init__(self, configured: Settings) -> None:
        self.loop = asyncio.new_event_loop()
        self.guard, theirs = channel()
        self.settings = configured
        environ = ENVIRON | {FD_VARIABLE: str(theirs.detach())}
        self.line = GuardLine(configured, Environment(configured, SOCKET, environ), environ)
        self.line.configuration = TOML.encode()
        self.events: list[Event] = []
        self.gone = 0

    def __enter__(self) -> Line:
        self.report(**{"is": "hello", "kill_path": "", "restarts": 0, "workloads": []})
        self.act(lambda: self.line.open(self.events.append, self._gone))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.act(self.line.close)
        self.loop.close()
        self.guard.close()

    def _gone(self) -> None:
        self.gone += 1

    def act(self, work: Callable[[], object]) -> None:
        """Call something inside the loop, and let the loop look at its sockets once."""

        async def inside() -> None:
            work()

        self.loop.run_until_complete(inside())

    def until(self, condition: Callable[[], object], what: str) -> None:
        def look() -> bool:
            self.act(lambda: None)
            return bool(condition())

        until(look, what=what)

    def orders(self) -> list[bytes]:
        """Every datagram that waits at the guard's end."""
        found = []
        while True:
            try:
                found.append(self.guard.recv(2 * DATAGRAM_BYTES_MAX))
            except BlockingIOError:
                return found

    def report(self, **body: Any) -> None:
        self.guard.send(json.dumps(body).encode())

    def until_heard(self, count: int) -> list[Event]:
        self.until(lambda: len(self.events) >= count, f"{count} events")
        return self.events


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    sets = ("CLUSTER_ENABLED=1", "CLUSTER_NODE_ID=n1", f"CLUSTER_SECRET={SECRET}", "HA_MIN_NODES=3")
    return settings(loaded(*sets, toml=TOML, folder=tmp_path))


@pytest.fixture
def line(configured: Settings) -> Iterator[Line]:
    with Line(configured) as line:
        yield line


def test_hello_comes_first_with_the_horizon_and_more_patience_than_the_daemon_has(line: Line) -> None:
    hello = line.orders()[0]
    hold_s, patience_s = line.settings.timing.hold_s, guard_s(line.settings.workloads)
    assert patience_s > node_config(line.settings, "c-1", "0.1.0").leave_s > 45.0, "a guard cuts nothing off"
    assert json.loads(hello) == {"do": "hello", "horizon": hold_s, "patience": patience_s}
    assert decode(hello) == Hello(hold_s, patience_s)


def test_what_it_runs_with_is_for_the_guard_to_keep(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    assert decode(line.orders()[1]) == Keep(packed(TOML.encode()))
    assert caplog.text == ""
    line.line.keep(random.Random(0).randbytes(KEPT_CHARS_MAX))
    assert [decode(order) for order in line.orders()] == [Keep("")], "nothing rather than what was before"
    assert "too large for the guard to keep" in caplog.text


def test_arm_and_stop_are_what_the_guard_reads(line: Line) -> None:
    line.orders()
    line.line.arm("main", 7, 1234.5)
    line.line.stop("main", 7)
    arm, stop = line.orders()
    assert json.loads(arm) == {"do": "arm", "workload": "main", "token": 7, "deadline": 1234.5}
    assert json.loads(stop) == {"do": "stop", "workload": "main", "token": 7}
    assert (decode(arm), decode(stop)) == (Arm("main", 7, 1234.5), Stop("main", 7))


def test_start_carries_the_whole_command_and_a_clean_environment(line: Line) -> None:
    line.orders()
    line.line.start("main", 7, 0.3)
    [order] = line.orders()
    assert json.loads(order) == {
        "do": "start",
        "workload": "main",
        "token": 7,
        "argv": ["python3", "-m", "bot"],
        "cwd": "/srv/bot",
        "env": {
            "PATH": "/usr/bin", "MODE": "ha",
            "MLTB_NODE_ID": "n1", "MLTB_WORKLOAD": "main", "MLTB_TOKEN": "7", "MLTB_SOCKET": SOCKET,
        },
        "stop_timeout": 0.25,
        "grace": min(0.25, line.settings.timing.grace_s),
        "stop_signal": 2,
        "hooks": {
            "pre_start": {"argv": ["prepare", "it"], "timeout": 45.0},
            "post_stop": {"argv": ["tidy"], "timeout": 45.0},
        },
    }  # fmt: skip
    assert SECRET not in order.decode()
    assert isinstance(decode(order), Start)


def test_what_is_not_asked_for_is_not_inherited(line: Line) -> None:
    line.orders()
    line.line.start("plain", 8, 0.3)
    [order] = map(json.loads, line.orders())
    assert set(order["env"]) == {"PATH", "HOME", "MLTB_NODE_ID", "MLTB_WORKLOAD", "MLTB_TOKEN", "MLTB_SOCKET"}
    assert (order["cwd"], order["stop_timeout"]) == (None, 1.0)
    assert order["grace"] <= line.settings.timing.grace_s


def test_the_channel_is_not_inherited_by_anybody(line: Line) -> None:
    assert not os.get_inheritable(line.line._socket.fileno())


@pytest.mark.parametrize(
    ("report", "event"),
    [
        (
            {"is": "running", "workload": "main", "token": 7, "pid": 99, "deadline": 5.5, "phase": "running"},
            GuardSays("running", "main", 7, pid=99, deadline=5.5),
        ),
        (
            {"is": "failed", "workload": "main", "token": 7, "error": "no such file"},
            GuardSays("failed", "main", 7, cause="no such file"),
        ),
        (
            {"is": "gone", "workload": "main", "token": 7, "cause": "exited", "status": -9},
            GuardSays("gone", "main", 7, cause="exited", status=-9),
        ),
        (
            HOOKED,
            HookEnded("main", 7, "pre_start", 0.5, ok=False, detail="no"),
        ),
        ({"is": "stop"}, StopRequested()),
    ],
)
def test_each_report_is_one_event(line: Line, report: dict[str, Any], event: Event) -> None:
    line.report(**report)
    assert line.until_heard(1) == [event]


def test_hello_tells_what_runs_already(line: Line) -> None:
    runs = [
        {"workload": w, "token": t, "pid": 10 * t, "deadline": 5.0, "phase": "running"}
        for w, t in (("main", 7), ("plain", 8))
    ]
    line.report(**{"is": "hello", "kill_path": "cgroup.kill", "restarts": 2, "workloads": runs})
    assert line.until_heard(2) == [
        GuardSays("running", "main", 7, pid=70, deadline=5.0), GuardSays("running", "plain", 8, pid=80, deadline=5.0),
    ]  # fmt: skip
    assert (line.line.kill_path, line.line.daemon_restarts) == ("cgroup.kill", 2)


def test_a_report_of_a_newer_guard_is_passed_over(line: Line) -> None:
    line.report(**{"is": "bored"})
    line.report(**{"is": "stop"})
    assert line.until_heard(1) == [StopRequested()]


def test_many_reports_are_read_in_order_over_several_turns(line: Line) -> None:
    count = 2 * REPORTS_PER_TURN + 1
    sent = 0
    while len(line.events) < count:
        while sent < count:
            try:
                line.report(**{"is": "gone", "workload": "main", "token": sent, "cause": "exited", "status": 0})
            except BlockingIOError:
                break
            sent += 1
        line.act(lambda: None)
    assert [event.token for event in line.events if isinstance(event, GuardSays)] == list(range(count))


def test_the_end_of_the_guard_is_told_once(line: Line) -> None:
    line.orders()
    line.report(**{"is": "stop"})
    line.guard.close()
    line.until(lambda: line.gone, "gone")
    assert line.events == [StopRequested()], "what it said before is heard"
    for _ in range(3):
        line.act(lambda: None)
    assert line.gone == 1


def test_a_guard_that_dies_with_orders_unread_is_gone_as_well(line: Line) -> None:
    line.guard.close()
    line.until(lambda: line.gone, "gone")


def test_a_dead_guard_takes_no_orders(line: Line) -> None:
    line.guard.close()
    with pytest.raises(GuardGone, match="does not take orders"):
        line.line.arm("main", 7, 1.0)


def test_a_guard_that_does_not_read_is_gone_and_never_waited_for(line: Line) -> None:
    def arm_for_ever() -> None:
        for _ in range(100_000):
            line.line.arm("main", 7, 1.0)

    with pytest.raises(GuardGone, match="does not take orders"):
        arm_for_ever()


def test_a_daemon_without_a_guard_says_how_to_start_it(configured: Settings) -> None:
    with pytest.raises(GuardGone, match=r"`MLTB_GUARD_FD` is not set.*use `mltbd run`"):
        GuardLine(configured, Environment(configured, SOCKET, {}), {})


def test_a_command_the_guard_would_drop_fails_instead_of_starting_for_ever(tmp_path: Path) -> None:
    toml = '[workload.main]\ncommand = ["true", "{}"]'.format('", "'.join(["x" * 8000] * 9))
    why = "more than 65536 bytes"
    configured = settings(loaded("CLUSTER_ENABLED=1", "HA_MIN_NODES=3", toml=toml, folder=tmp_path))
    [spec] = configured.workloads
    with Line(configured) as line:
        line.orders()

        def start() -> None:
            line.line.start(spec.name, 7, 0.3)
            assert line.events == [], "never from inside the order"

        line.act(start)
        [failed] = line.until_heard(1)
        assert line.orders() == []
    assert failed == GuardSays("failed", spec.name, 7, cause=f"the guard cannot be given this command: {why}")


def test_both_ends_are_of_one_kind() -> None:
    ours, theirs = channel()
    with ours, theirs:
        assert ours.type == theirs.type
        assert ours.family == socket.AF_UNIX


def test_what_runs_is_known_before_anything_else_can_be(configured: Settings) -> None:
    line = Line(configured)
    line.report(
        **{"is": "hello", "kill_path": "walk", "restarts": 1, "workloads": [run_of("main", 7)]},
    )
    events_at_return: list[Event] = []

    def open_and_look() -> None:
        line.line.open(line.events.append, line._gone)
        events_at_return.extend(line.events)

    line.act(open_and_look)
    assert events_at_return == [GuardSays("running", "main", 7, 4321, deadline=99.5)]
    line.__exit__(None, None, None)


def test_a_guard_that_is_gone_before_it_greets(configured: Settings) -> None:
    line = Line(configured)
    line.guard.close()
    with pytest.raises(GuardGone):
        line.act(lambda: line.line.open(line.events.append, line._gone))
    line.line._socket.close()
    line.loop.close()


def run_of(workload: str, token: int) -> dict[str, Any]:
    return {"workload": workload, "token": token, "pid": 4321, "deadline": 99.5, "phase": "running"}
