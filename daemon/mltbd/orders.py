"""What daemon and guard tell each other: one JSON object a datagram, read totally, with a limit on everything."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
from dataclasses import dataclass, field
from typing import Any

from mltbd.processes import LINUX

FD_VARIABLE = "MLTB_GUARD_FD"
"""Names the daemon's end of the channel in its environment."""
EXIT_CLEAN, EXIT_FAILED, EXIT_CONFIG, EXIT_FATAL, EXIT_ORPHAN, EXIT_ANEW = range(6)
"""How the daemon ends, and the guard after it. After ANEW and ORPHAN the guard starts another daemon."""
DATAGRAM_BYTES_MAX = 64 * 1024
KEPT_CHARS_MAX = 32 * 1024
"""A greeting has room for as many, beside 64 workloads."""
NAME_CHARS_MAX = 255
ARGV_MAX = 256
STOP_SIGNALS = {
    name: int(getattr(signal, name)) for name in ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2")
}
"""What may ask a workload to stop. SIGKILL follows in any case."""
HOOKS = ("pre_start", "post_start", "pre_stop", "post_stop")
ENV_MAX = 1024
TOKEN_MAX = 2**63 - 1
HORIZON_S_MAX = 300.0
"""No lease is longer, so no daemon may ask for more."""
TIMEOUT_S_MAX = 3600.0
WITHHELD = frozenset(
    {"CLUSTER_SECRET", "CLUSTER_SECRET_SECOND", "CLUSTER_SECRET_FILE", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"}
    | {"WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", FD_VARIABLE}
)
"""Never passed on to a workload, whatever the daemon sends: the cluster's secret, and what systemd and the guard mean
for mltbd alone."""
NEWS = frozenset({"READY", "STATUS", "WATCHDOG", "RELOADING", "MONOTONIC_USEC"})
"""What a daemon may tell the service manager. Who the main process is, for one, is not its to say."""
NEWS_LINES_MAX = 8
NEWS_CHARS_MAX = 256


class OrderError(ValueError):
    """A datagram that is no order. It is counted and ignored."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first order of each daemon. Deadlines further than `horizon_s` ahead are refused from then on."""

    horizon_s: float
    patience_s: float


@dataclass(frozen=True, slots=True)
class Keep:
    """What each daemon after this one is greeted with: the configuration to begin with. Not for the guard to read."""

    configuration: str


@dataclass(frozen=True, slots=True)
class Arm:
    """Let (workload, token) run until `deadline`."""

    workload: str
    token: int
    deadline: float


@dataclass(frozen=True, slots=True)
class Hook:
    """A command that runs beside the workload, in its tree: before it starts, after, before it stops, after."""

    argv: tuple[str, ...]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Start:
    """Run this command as (workload, token)."""

    workload: str
    token: int
    argv: tuple[str, ...]
    cwd: str | None
    env: dict[str, str]
    stop_timeout_s: float
    grace_s: float
    hooks: dict[str, Hook] = field(default_factory=dict)
    """By name, see HOOKS."""
    stop_signal: int = signal.SIGTERM
    """What a planned stop begins with, and the last seconds of a lease."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End (workload, token) in a planned way."""

    workload: str
    token: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Pass these lines on to the service manager."""

    lines: tuple[str, ...]


Order = Hello | Keep | Arm | Start | Stop | Tell


def channel() -> tuple[socket.socket, socket.socket]:
    """The guard's end, which never blocks, and the daemon's."""
    # macOS has no SEQPACKET on local sockets; the end of the daemon is then known from its exit alone.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET if LINUX else socket.SOCK_DGRAM)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * DATAGRAM_BYTES_MAX)
    ours.setblocking(False)
    return ours, theirs


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def decode(datagram: bytes) -> Order:
    """The order in this datagram; OrderError for anything else, never another exception."""
    if len(datagram) > DATAGRAM_BYTES_MAX:
        raise OrderError(f"more than {DATAGRAM_BYTES_MAX} bytes")
    try:
        body = json.loads(datagram)
    except (ValueError, RecursionError) as error:
        raise OrderError("not JSON") from error
    if not isinstance(body, dict):
        raise OrderError("not an object")
    match body.get("do"):
        case "hello":
            return Hello(_seconds(body, "horizon", HORIZON_S_MAX), _seconds(body, "patience", TIMEOUT_S_MAX))
        case "keep":
            return Keep(_kept(body))
        case "arm":
            return Arm(_name(body), _token(body), _seconds(body, "deadline", math.inf))
        case "start":
            return _start(body)
        case "stop":
            return Stop(_name(body), _token(body))
        case "tell":
            return _tell(body)
        case _:
            raise OrderError("an unknown order")


def _start(body: dict[str, Any]) -> Start:
    env, cwd, hooks = body.get("env"), body.get("cwd"), body.get("hooks", {})
    if not isinstance(env, dict) or len(env) > ENV_MAX:
        raise OrderError(f"`env` must be an object of at most {ENV_MAX} texts")
    names = {_text(name, "env"): _text(value, "env") for name, value in env.items()}
    if any(not name or "=" in name for name in names):
        raise OrderError("`env` has a name that is empty or has a `=`")
    return Start(
        _name(body),
        _token(body),
        _argv(body),
        None if cwd is None else _text(cwd, "cwd"),
        {name: value for name, value in names.items() if name not in WITHHELD},
        _seconds(body, "stop_timeout", TIMEOUT_S_MAX),
        _seconds(body, "grace", HORIZON_S_MAX),
        _hooks(hooks),
        _signal(body.get("stop_signal", int(signal.SIGTERM))),
    )


def _signal(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value not in STOP_SIGNALS.values():
        raise OrderError(f"`stop_signal` must be the number of {', '.join(STOP_SIGNALS)}")
    return value


def _argv(body: dict[str, Any]) -> tuple[str, ...]:
    argv = body.get("argv")
    if not isinstance(argv, list) or not 0 < len(argv) <= ARGV_MAX:
        raise OrderError(f"`argv` must be a list of 1 to {ARGV_MAX} texts")
    return tuple(_text(word, "argv") for word in argv)


def _hooks(body: Any) -> dict[str, Hook]:
    if not isinstance(body, dict) or not set(body) <= set(HOOKS):
        raise OrderError(f"`hooks` must be an object of {', '.join(HOOKS)}")
    if not all(isinstance(hook, dict) for hook in body.values()):
        raise OrderError("each of `hooks` must be an object")
    return {name: Hook(_argv(hook), _seconds(hook, "timeout", TIMEOUT_S_MAX)) for name, hook in body.items()}


def _tell(body: dict[str, Any]) -> Tell:
    lines = body.get("lines")
    if not isinstance(lines, list) or not 0 < len(lines) <= NEWS_LINES_MAX:
        raise OrderError(f"`lines` must be a list of 1 to {NEWS_LINES_MAX} texts")
    texts = tuple(_text(line, "lines") for line in lines)
    for text in texts:
        name, equals, _ = text.partition("=")
        if name not in NEWS or not equals or "\n" in text or len(text) > NEWS_CHARS_MAX:
            raise OrderError("`lines` has one that is not for the service manager")
    return Tell(texts)


def _kept(body: dict[str, Any]) -> str:
    text = _text(body.get("configuration"), "configuration")
    if len(text) > KEPT_CHARS_MAX:
        raise OrderError(f"`configuration` must have at most {KEPT_CHARS_MAX} characters")
    return text


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise OrderError(f"`{field}` must be text without a zero byte")
    try:
        os.fsencode(value)
    except UnicodeEncodeError as error:
        raise OrderError(f"`{field}` cannot be encoded") from error
    return value


def _name(body: dict[str, Any]) -> str:
    name = _text(body.get("workload"), "workload")
    if not 0 < len(name) <= NAME_CHARS_MAX:
        raise OrderError(f"`workload` must have 1 to {NAME_CHARS_MAX} characters")
    return name


def _token(body: dict[str, Any]) -> int:
    token = body.get("token")
    if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token <= TOKEN_MAX:
        raise OrderError("`token` must be a whole number from 0")
    return token


def _seconds(body: dict[str, Any], field: str, at_most: float) -> float:
    value = body.get(field)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise OrderError(f"`{field}` must be a number")
    # Compared before the conversion, which a very long whole number would not survive.
    if not 0 <= value <= min(at_most, 1e15):
        raise OrderError(f"`{field}` must be from 0 to {at_most:g}")
    return float(value)
