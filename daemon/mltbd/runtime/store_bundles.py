"""Bundles: many packed commands in one frame, and their outcomes in as few as the batches of the log allow."""

from __future__ import annotations

from collections.abc import Callable

from mltb_transport.limits import FRAME_BYTES_MAX
from mltb_transport.store import (
    DELETE,
    EXTEND,
    INTERNAL,
    RELEASE,
    SET,
    Bundle,
    BundleAnswer,
    Command,
    Packed,
    packed_outcome,
    unpacked,
)
from mltbd.runtime.store_params import CLIENT_CHARS_MAX, SEQ_MAX, flaw_of_name, flaw_of_value
from mltbd.state.clients import Outcome

KINDS = (SET, DELETE, EXTEND, RELEASE)
ANSWER_BYTES_MAX = FRAME_BYTES_MAX // 4
Send = Callable[[BundleAnswer], object]
Key = tuple[str, int]


class Asker:
    """Whoever sent a bundle, and what it is to be told next."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.outcomes: list[bytes] = []
        self.size = 0

    def tell(self, outcome: bytes) -> None:
        self.outcomes.append(outcome)
        self.size += len(outcome)
        if self.size > ANSWER_BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        if self.outcomes:
            self.send(BundleAnswer(tuple(self.outcomes)))
            self.outcomes, self.size = [], 0


class Bundles:
    """Every command of a bundle has one outcome. A repeat goes to whoever repeated it."""

    def __init__(self) -> None:
        self._askers: dict[Key, Asker] = {}

    @property
    def waiting(self) -> int:
        """Commands without an outcome yet."""
        return len(self._askers)

    def take(self, bundle: Bundle, allowed: bool, room: int, send: Send) -> list[Packed]:
        """The commands to submit. What is wrong with others is told at once."""
        asker = Asker(send)
        taken: list[Packed] = []
        for body in bundle.commands:
            command = unpacked(body)
            if command is None:
                asker.tell(packed_outcome("", 0, ("error", "usage", "not a command")))
                continue
            if not allowed:
                wrong: Outcome | None = ("error", "auth", "a viewer's key may not change anything")
            elif len(taken) >= room:
                wrong = ("error", "overloaded", "too many requests wait here already")
            else:
                wrong = _wrong(command)
            if wrong is not None:
                asker.tell(packed_outcome(command.client, command.seq, wrong))
                continue
            one = Packed(command.client, command.seq, body)
            self._askers[one.client, one.seq] = asker
            taken.append(one)
        asker.flush()
        return taken

    def outcomes(self, done: tuple[tuple[str, int, Outcome], ...]) -> None:
        """These commands were applied."""
        told: dict[int, Asker] = {}
        for client, seq, outcome in done:
            asker = self._askers.pop((client, seq), None)
            if asker is not None:
                asker.tell(packed_outcome(client, seq, outcome))
                told[id(asker)] = asker
        for asker in told.values():
            asker.flush()

    def refusals(self, keys: tuple[Key, ...], code: str, message: str) -> None:
        """These have no outcome here."""
        if self._askers:
            self.outcomes(tuple((client, seq, ("error", code, message)) for client, seq in keys))


def _wrong(command: Command) -> Outcome | None:
    client, seq, kind, arguments = command
    if kind not in KINDS:
        flaw = "only set, delete, extend and release may come in a bundle"
    elif not client or len(client) > CLIENT_CHARS_MAX or client.startswith(INTERNAL) or not 1 <= seq <= SEQ_MAX:
        flaw = "not a client and its number"
    else:
        flaw = flaw_of_name(arguments[0]) or (flaw_of_value(arguments[1]) if kind == SET else "")
    return ("error", "usage", flaw) if flaw else None
