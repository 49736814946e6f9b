"""Who may connect: the ZAP 1.0 handler of one bus. It answers every request and never stops."""

from __future__ import annotations

import zmq
from zmq.utils import z85

from mltb_transport.keys import Keyring
from mltb_transport.sockets import Drain, drop_unsent

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
GOSSIP_DOMAIN = "gossip"
CONTROL_DOMAIN = "control"

_VERSION = b"1.0"


def allowed_keys(*keyrings: Keyring) -> dict[str, dict[bytes, str]]:
    """Domain -> raw public key -> role. Gossip is for nodes, the control port for every role."""
    raw: dict[bytes, str] = {}
    for keyring in keyrings:
        roles = {"node": keyring.node, "admin": keyring.admin, "viewer": keyring.viewer}
        raw |= {z85.decode(pair.public): role for role, pair in roles.items()}
    return {
        GOSSIP_DOMAIN: {key: role for key, role in raw.items() if role == "node"},
        CONTROL_DOMAIN: raw,
    }


class Gatekeeper:
    """Answers libzmq's question, once per handshake, whether a public key may use a socket."""

    def __init__(self, allowed: dict[str, dict[bytes, str]], counters: dict[str, int]) -> None:
        self._allowed = allowed
        self.counters = counters

    def open(self, context: zmq.Context[zmq.Socket[bytes]]) -> Drain:
        """Bind; before any socket with a ZAP domain does."""
        router = context.socket(zmq.ROUTER)
        router.linger = 0
        router.bind(ZAP_ENDPOINT)

        def handle(parts: list[bytes]) -> None:
            if b"" not in parts[:-1]:
                self.counters["zap_error"] += 1  # No envelope: there is nowhere to answer to.
                return
            end = parts.index(b"") + 1
            if drop_unsent(router, [*parts[:end], *self.answer(parts[end:])]):
                self.counters["zap_error"] += 1

        return Drain(router, handle)

    def answer(self, request: list[bytes]) -> list[bytes]:
        """The reply frames to one request's frames. Total: 200 with the role as user id, else 400 or 500."""
        request_id = request[1] if len(request) > 1 else b""
        if len(request) < 6 or request[0] != _VERSION:
            self.counters["zap_error"] += 1
            return _reply(request_id, b"500", b"malformed request")
        domain = request[2].decode("utf-8", "replace")
        mechanism, credentials = request[5], request[6:]
        if mechanism != b"CURVE" or len(credentials) != 1:
            self.counters["auth_denied"] += 1
            return _reply(request_id, b"400", b"CURVE is needed")
        role = self._allowed.get(domain, {}).get(credentials[0])
        if role is None:
            self.counters["auth_denied"] += 1
            return _reply(request_id, b"400", b"unknown key")
        return _reply(request_id, b"200", b"OK", role.encode())


def _reply(request_id: bytes, status: bytes, text: bytes, user: bytes = b"") -> list[bytes]:
    return [_VERSION, request_id, status, text, user, b""]
