"""A daemon's control socket and nothing behind it: a real ROUTER that answers from a table."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq

from mltb_transport.frames import PROTOCOL, Frame, decode
from mltb_transport.keys import Keyring
from mltb_transport.messages import Request, Response
from mltb_transport.store import Bundle, BundleAnswer, packed_outcome
from tests.mltbctl.fake_bundles import outcome_of, requests_in
from tests.transport.frame_kit import encode
from tests.transport.nodes import free_port

Answer = Callable[[dict[str, Any]], dict[str, Any]]
Send = Callable[[bool, dict[str, Any]], None]


class Refusal(Exception):
    """Raised by an answer: the error body to send."""

    def __init__(self, **body: Any) -> None:
        super().__init__(body.get("message", ""))
        self.body = {"code": "failed", "message": "", "hint": "", **body}


class Silence(Exception):
    """Raised by an answer: send nothing at all."""


class Later(Exception):
    """Raised by an answer: look again and again until `look` has one."""

    def __init__(self, look: Callable[[], dict[str, Any] | None]) -> None:
        super().__init__()
        self.look = look


LOOK_MS = 3


@dataclass
class FakeDaemon:
    """Serves `answers` (method -> function of params) on `path`, and on a TCP port when `secret` is given.

    `calls` holds every call served, in order, packed or not, `operators` who each said to be, `bundles` how many calls
    each frame of packed ones held. A `ping` that is none of `answers` is answered and not counted. Connections
    that it is spoken to by while it `hangs` are `deaf` from then on: it takes everything and says nothing.
    """

    path: Path
    answers: dict[str, Answer]
    secret: str = ""
    port: int = 0
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    operators: list[str] = field(default_factory=list)
    bundles: list[int] = field(default_factory=list)
    leader: str = ""
    hangs: bool = False
    deaf: set[bytes] = field(default_factory=set)

    def __enter__(self) -> FakeDaemon:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._socket.bind(f"ipc://{self.path}")
        self._sockets = [self._socket, *([self._bind_tcp()] if self.secret else [])]
        self._stop_in, self._stop_out = self._pair()
        self._thread = threading.Thread(target=self._serve, name="fake-daemon")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_in.send(b"")
        self._thread.join()
        for socket in (*self._sockets, self._stop_in, self._stop_out):
            socket.close()
        self._context.term()
        self.path.unlink(missing_ok=True)

    def _bind_tcp(self) -> zmq.Socket[bytes]:
        server = Keyring.from_secret(self.secret).server
        socket = self._context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, server.secret)
        self.port = free_port() + 1  # As of a real node: the one before it is for gossip, and free.
        socket.bind(f"tcp://127.0.0.1:{self.port}")
        return socket

    def _pair(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        ends = self._context.socket(zmq.PAIR), self._context.socket(zmq.PAIR)
        ends[0].bind("inproc://stop")
        ends[1].connect("inproc://stop")
        return ends

    def _serve(self) -> None:
        poller = zmq.Poller()
        for socket in (*self._sockets, self._stop_out):
            poller.register(socket, zmq.POLLIN)
        self._waiting: list[tuple[Send, Later]] = []
        while True:
            ready = dict(poller.poll(LOOK_MS if self._waiting else None))
            if self._stop_out in ready:
                return
            for waiting in list(self._waiting):
                send, later = waiting
                body = later.look()
                if body is not None:
                    self._waiting.remove(waiting)
                    send(True, body)
            for socket in self._sockets:
                if socket in ready:
                    self._answer(socket)

    def _answer(self, socket: zmq.Socket[bytes]) -> None:
        route, payload = socket.recv_multipart()
        message = decode(payload).message
        if self.hangs:
            self.deaf.add(route)
        if route in self.deaf:
            return
        if isinstance(message, Request):
            send = partial(self._respond, socket, route, message.id)
            self._serve_one(message.method, json.loads(message.params), send)
        elif isinstance(message, Bundle):
            self.bundles.append(len(message.commands) + len(message.reads))
            for method, params, key in requests_in(message):
                self._serve_one(method, params, partial(self._tell, socket, route, method, key))

    def _serve_one(self, method: str, params: dict[str, Any], send: Send) -> None:
        if method == "ping" and method not in self.answers:
            send(True, {})
            return
        self.operators.append(params.pop("operator", ""))
        self.calls.append((method, params))
        try:
            ok, body = True, self.answers[method](params)
        except Refusal as refusal:
            ok, body = False, refusal.body
        except Silence:
            return
        except Later as later:
            self._waiting.append((send, later))
            return
        send(ok, body)

    def _respond(self, socket: zmq.Socket[bytes], route: bytes, number: int, ok: bool, body: dict[str, Any]) -> None:
        response = Response(number, ok, json.dumps(body))
        socket.send_multipart([route, encode(Frame(PROTOCOL, "", "n1", 1, 1, response))])

    def _tell(
        self, socket: zmq.Socket[bytes], route: bytes, method: str, key: tuple[str, int], ok: bool, body: dict[str, Any]
    ) -> None:
        outcome = outcome_of(method, body) if ok else ("error", body["code"], body["message"])
        answer = BundleAnswer((packed_outcome(*key, outcome),), self.leader)
        socket.send_multipart([route, encode(Frame(PROTOCOL, "", "n1", 1, 1, answer))])
