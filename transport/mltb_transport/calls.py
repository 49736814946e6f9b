"""Calls of the caller's side: what to send for each, and what comes of it."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgpack

from mltb_transport.answers import Key
from mltb_transport.control import CallFailed, ControlError
from mltb_transport.limits import BUNDLE_KIND, PROTOCOL, REQUEST_KIND, TEXT_CHARS_MAX


class Call:
    """One call: what to send, and what came of it. `tell` is called when that is known, from any thread."""

    __slots__ = ("answer", "body", "done", "gate", "key", "leads", "patience", "sent", "stays", "tell", "trouble")

    def __init__(self, key: Key, body: bytes) -> None:
        self.key = key
        self.body = body
        self.done = False
        self.sent = False
        self.stays = False
        """Whether it is waited for even where the connection has gone silent: for it may not be repeated."""
        self.patience = 1.0
        """How many times as long as others it bears a silence."""
        self.answer: Any = None
        """Of a request (ok, JSON text); else an outcome as a list, see store.BundleAnswer."""
        self.trouble: ControlError | None = None
        self.leads = False
        self.gate: threading.Lock | None = None
        self.tell: Callable[[], object] | None = None


def request(method: str, params: dict[str, Any]) -> Call:
    """A call that is a request of its own. The key is its number."""
    text = json.dumps(params, separators=(",", ":"))
    if len(text) > TEXT_CHARS_MAX:
        raise CallFailed("usage", f"the parameters of `{method}` are longer than {TEXT_CHARS_MAX} characters")
    number = next(_numbers)
    return Call(number, msgpack.packb([PROTOCOL, "", "", 0, number, REQUEST_KIND, [number, method, text]]))


def command(client: str, seq: int, body: bytes) -> Call:
    """A packed command, for a bundle."""
    return Call((client, seq), body)


def read(key: str) -> Call:
    """A linearizable read, for a bundle."""
    number = next(_numbers)
    return Call(("", number), msgpack.packb([number, key]))


def bundle(commands: Sequence[Call], reads: Sequence[Call]) -> bytes:
    """The frame that carries them."""
    fields = [[call.body for call in commands], [call.body for call in reads]]
    packed: bytes = msgpack.packb([PROTOCOL, "", "", 0, next(_numbers), BUNDLE_KIND, fields])
    return packed


_numbers = itertools.count(1)
