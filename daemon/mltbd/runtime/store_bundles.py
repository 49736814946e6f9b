"""Bundles: many packed commands and reads in one frame, their outcomes in as few as the batches of the log allow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from mltb_transport.bus import Route
from mltb_transport.limits import FRAME_BYTES_MAX, ITEMS_MAX
from mltb_transport.store import (
    ACQUIRE,
    DELETE,
    EXTEND,
    INTERNAL,
    RELEASE,
    SET,
    Bundle,
    Command,
    Packed,
    packed,
    packed_outcome,
    unpacked,
    unpacked_read,
)
from mltbd.runtime.shield import Done
from mltbd.runtime.store_params import CLIENT_BYTES_MAX, SEQ_MAX, Offer, flaw_of_command, flaw_of_name, flaw_of_text
from mltbd.state.clients import Outcome

KINDS = (SET, DELETE, ACQUIRE, EXTEND, RELEASE)
ANSWER_BYTES_MAX = FRAME_BYTES_MAX // 4
Tell = Callable[[Outcome], None]
Key = tuple[str, int]


class Acquire(NamedTuple):
    """An acquire of a bundle: whoever waits for locks tells it as it tells a request."""

    command: Packed
    name: str
    wait_s: float
    answer: Done


class Read(NamedTuple):
    """A read of a bundle: `tell` hears the entry, `answer` why there is none."""

    key: str
    tell: Tell
    answer: Done


class Taken(NamedTuple):
    """What of a bundle is to be done. `commands`: their outcomes are for `Bundles.outcomes`."""

    commands: list[Packed]
    acquires: list[Acquire]
    reads: list[Read]


class Bundles:
    """Every command and read of a bundle has one outcome. A repeat goes to whoever repeated it.

    What is told is on its way after the next `flush`: to each connection in one frame, of whichever bundle it is.
    """

    def __init__(self, send: Callable[[Route, tuple[bytes, ...]], object]) -> None:
        self._send = send
        self._askers: dict[Key, Route] = {}
        self._told: dict[Route, list[bytes]] = {}
        self._told_bytes = 0

    @property
    def waiting(self) -> int:
        """Commands that these outcomes are for, and that have none yet."""
        return len(self._askers)

    def take(self, bundle: Bundle, allowed: bool, room: int, route: Route, offer: Offer) -> Taken:
        """What to do. What is wrong with the rest is told at once."""
        tell = partial(self._tell, route)
        taken = Taken([], [], [])
        for body in bundle.commands:
            command, body = _completed(body, offer)
            if command is None or not _is_client(command):  # Whose it says it is may be longer than an answer.
                tell("", 0, ("error", "usage", "not a command of a client and its number"))
                continue
            client, seq, kind, arguments = command
            if not allowed:
                wrong: Outcome | None = ("error", "auth", "a viewer's key may not change anything")
            elif room <= 0:
                wrong = _OVERLOADED
            else:
                wrong = _wrong(command, offer)
            if wrong is not None:
                tell(client, seq, wrong)
                continue
            room -= 1
            one = Packed(client, seq, body)
            if kind == ACQUIRE:
                done = partial(_tell_acquired, partial(tell, client, seq))
                taken.acquires.append(Acquire(one, arguments[0], arguments[2] / 1000, done))
            else:
                self._askers[one.key] = route
                taken.commands.append(one)
        for body in bundle.reads:
            room -= _take_read(tell, body, room, taken.reads, offer)
        self.flush()
        return taken

    def outcomes(self, done: tuple[tuple[str, int, Outcome], ...]) -> None:
        """These commands were applied."""
        for client, seq, outcome in done:
            asker = self._askers.pop((client, seq), None)
            if asker is not None:
                self._tell(asker, client, seq, outcome)

    def refusals(self, keys: tuple[Key, ...], code: str, message: str) -> None:
        """These have no outcome here."""
        if self._askers:
            self.outcomes(tuple((client, seq, ("error", code, message)) for client, seq in keys))

    def flush(self) -> None:
        """Send all that was told."""
        if self._told:
            told, self._told, self._told_bytes = self._told, {}, 0
            for route, outcomes in told.items():
                self._send(route, tuple(outcomes))

    def _tell(self, route: Route, client: str, seq: int, outcome: Outcome) -> None:
        one = packed_outcome(client, seq, outcome)
        told = self._told.setdefault(route, [])
        told.append(one)
        self._told_bytes += len(one)
        if self._told_bytes > ANSWER_BYTES_MAX or len(told) == ITEMS_MAX:
            self.flush()


_OVERLOADED: Outcome = ("error", "overloaded", "too many requests wait here already")


def _completed(body: bytes, offer: Offer) -> tuple[Command | None, bytes]:
    """A command, and how it goes into the log: an acquire without a time gets that of this node."""
    command = unpacked(body)
    if command is None or command[2] != ACQUIRE or command[3][1]:
        return command, body
    client, seq, kind, (name, _, *others) = command
    body = packed(client, seq, kind, name, round(offer.ttl_s * 1000), *others).body
    return unpacked(body), body


def _take_read(
    tell: Callable[[str, int, Outcome], None], body: bytes, room: int, reads: list[Read], offer: Offer
) -> bool:
    """Whether it is one to be done."""
    found = unpacked_read(body)
    number, key = found or (0, "")
    flaw = flaw_of_name(key) if found else "not a read"
    wrong = _refused("off", offer.why_off("state")) or _refused("usage", flaw) or (None if room > 0 else _OVERLOADED)
    if wrong is not None:
        tell("", number, wrong)
        return False
    mine = partial(tell, "", number)
    reads.append(Read(key, mine, partial(_tell_error, mine)))
    return True


def _tell_error(tell: Tell, _: bool, body: dict[str, Any]) -> None:
    tell(("error", body["code"], body["message"]))


def _tell_acquired(tell: Tell, ok: bool, body: dict[str, Any]) -> None:
    if not ok:
        _tell_error(tell, ok, body)
    elif body["acquired"]:
        times = (round(body[key] * 1000) for key in ("ttl_seconds", "extend_seconds"))
        tell(("ok", body["lock_id"], body["token"], *times))
    else:
        tell(("held", body["holder"] or ""))


def _wrong(command: Command, offer: Offer) -> Outcome | None:
    if command.kind not in KINDS:
        return _refused("usage", "only set, delete, acquire, extend and release may come in a bundle")
    why = offer.why_off("state" if command.kind in (SET, DELETE) else "lock")
    return _refused("off", why) or _refused("usage", flaw_of_command(command.kind, command.arguments))


def _is_client(command: Command) -> bool:
    client = command.client
    named = client and not client.startswith(INTERNAL) and not flaw_of_text(client, "client", CLIENT_BYTES_MAX)
    return bool(named) and 1 <= command.seq <= SEQ_MAX


def _refused(code: str, why: str) -> Outcome | None:
    return ("error", code, why) if why else None
