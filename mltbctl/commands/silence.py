"""Listening for `mltbctl recover`: nobody answers only where somebody who lives would have been heard.

Silence is a port that refuses us, and a machine that says nothing for long. All else is no silence: who takes a
connection may live, however slow or mute it is, and what this machine cannot ask (a name without an address, no route,
no descriptor left) it knows nothing about. Every address of a name is asked, and both ports: a firewall may close one.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from mltb_transport.addresses import spelled
from mltbctl.errors import CliError, MltbError

S = TypeVar("S")
T = TypeVar("T")
KNOCK_S = 5.0
"""The least that one attempt waits: the kernel has asked three times by then."""
PAUSE_S = 0.5
KNOCKS_AT_ONCE = 128
SILENT = (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EHOSTDOWN)
"""How a connection fails where nobody is, as far as can be told from here."""
_STRANGE, _GONE = "where that is no node of this cluster, ", "where that node is gone for good, "
FULL = (errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True, slots=True)
class Door:
    """One port of one address. `where`: as it was named."""

    address: str
    port: int
    where: str
    asks: bool
    """Whether it is a control port: who is there says its name."""


def listen(places: list[str], secret: str | None, lease_s: float, out: str) -> None:
    """Returns when nobody answered at these control ports and the gossip ports before them while a lease ran out.

    Raises CliError where somebody is, or may be. `out`: how to listen there no more.
    """
    over = threading.Event()
    doors = [door for found in _each(lambda place: _doors(place, out), places) for door in found]
    for refusal in _each(lambda door: _heard(door, secret, lease_s, out, over), doors):
        if refusal is not None:
            raise refusal


def _each(call: Callable[[S], T], items: list[S]) -> list[T]:
    """What it returns for each, in this order. In threads that nobody waits for: Ctrl-C ends the process at once."""
    asked: list[tuple[S, Future[T]]] = [(item, Future()) for item in items]
    left = deque(asked)

    def work() -> None:
        while True:
            try:
                item, told = left.popleft()
            except IndexError:
                return
            try:
                told.set_result(call(item))
            except Exception as error:
                told.set_exception(error)

    for _ in range(min(KNOCKS_AT_ONCE, len(items))):
        threading.Thread(target=work, name="mltb-knock", daemon=True).start()
    return [told.result() for _, told in asked]


def _doors(place: str, out: str) -> list[Door]:
    """The control port first: it tells a name."""
    host, _, text = place.rpartition(":")
    host, control = host.removeprefix("[").removesuffix("]"), int(text)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        words = f"`{host}` cannot be looked up, so whether somebody lives there is not known: {why.lower()}"
        raise _refused(words, f"mend that first, or name the node by its address; {_GONE}{out}") from None
    addresses = dict.fromkeys(str(each[4][0]) for each in found)
    ports = (control, True), (control - 1, False)
    return [Door(address, port, spelled(host, port), asks) for port, asks in ports for address in addresses]


def _heard(door: Door, secret: str | None, lease_s: float, out: str, over: threading.Event) -> CliError | None:
    """Why not to go on, the first time there is a reason while a lease runs out. `over`: another door had one."""
    end = time.monotonic() + lease_s
    while not over.is_set():
        refusal = _knock(door, secret, max(KNOCK_S, lease_s), out)
        if refusal is not None:
            over.set()
            return refusal
        left_s = end - time.monotonic()
        if left_s <= 0:
            break
        over.wait(min(left_s, PAUSE_S))
    return None


def _knock(door: Door, secret: str | None, knock_s: float, out: str) -> CliError | None:
    """Why not to go on: somebody is there, or may be. None: silence."""
    try:
        _connect(door, knock_s)
    except (OSError, OverflowError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if isinstance(error, TimeoutError) or number in SILENT:
            return None
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        first = "run it where more files may be open: `ulimit -n`" if number in FULL else "mend that first"
        return _refused(f"{door.where} could not be asked: {why.lower()}", f"{first}; {_GONE}{out}")
    return _who(door, secret, knock_s, out)


def _connect(door: Door, knock_s: float) -> None:
    """Raises OSError; OverflowError for a port that is none, which a look-up would wrap around."""
    with socket.socket(socket.AF_INET6 if ":" in door.address else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(knock_s)
        probe.connect((door.address, door.port))


def _who(door: Door, secret: str | None, knock_s: float, out: str) -> CliError:
    if not door.asks:
        return _refused(f"somebody at {door.where} takes connections, for gossip", _STRANGE + out)
    from mltbctl.client import Client

    try:
        with Client(spelled(door.address, door.port), secret=secret, timeout=knock_s) as client:
            name = client.ping()["node"]
    except MltbError as error:
        if error.code == "auth":
            words = f"somebody at {door.where} answers, with another secret"
        elif error.code in ("timeout", "unreachable"):
            words = f"somebody at {door.where} takes the connection, and does not answer"
        else:
            words = f"{door.where} could not be asked: {error.message}"
        return _refused(words, _STRANGE + out)
    return _refused(
        f"{name} at {door.where} answers: the majority may not be gone",
        "stop it for good, or mend what keeps the nodes apart: see `mltbctl doctor`",
    )


def _refused(words: str, hint: str) -> CliError:
    return CliError(f"{words}; nothing was changed", hint, code="refused")
