"""The Bus: all that the daemon may assume of a network, and where a frame came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from mltb_transport.limits import FRAME_BYTES_MAX
from mltb_transport.values import dataclass

LINKS_MAX = 1024
"""Peers and seeds one bus keeps connections to."""

UP, DOWN, REFUSED = "up", "down", "refused"
"""What is known of a link: it stands; it does not; the peer takes connections and ends them for their keys."""

COUNTERS = (
    "received",  # payloads handed to the daemon
    "sent",  # payloads taken by a connection: not proof of arrival
    "oversized",  # messages beyond the limits of a frame that we refused to send
    "send_dropped",  # the peer was not connected, or its queue was full
    "send_unlinked",  # no link to that address
    "links_refused",  # above LINKS_MAX, or no descriptor left
    "reply_dropped",  # the control client is gone, or does not read
    "envelope_error",  # not one payload behind one route
    "auth_denied",  # the key was not on the list of the socket
    "handshake_failed",  # no key, the wrong server key, or no ZeroMQ at all
    "peer_refused",  # a peer ended a connection of ours during the handshake: it has another secret
    "connections_lost",  # an established connection to a peer broke
    "zap_error",  # a malformed authentication request
    "resolve_failed",  # a host name without an address
    "frame_error",  # not a frame
    "unknown_kind",  # a frame of a newer release
    "unknown_version",  # the same, and the whole protocol
    "wrong_role",  # a kind that this key, or this socket, may not send
    "wrong_cluster",  # a frame of another cluster
    "misdelivered",  # a frame meant for another node: its name or address leads to us
    "own_name",  # a frame in our own name: an echo, or a second node of the same id
)


class BindError(Exception):
    """A socket could not be opened. Names the address; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InsecureBind(BindError):
    """A bind beyond loopback without keys."""


class Route(NamedTuple):
    """The way back to one control client; good until it disconnects."""

    socket: str
    peer: bytes


@dataclass(frozen=True, slots=True)
class Source:
    """Which socket a payload came by, and which role its sender proved.

    `path`: gossip; request (the port peers and remote clients share); local (the ipc socket).
    `role`: node, admin or viewer as proved by the key; admin on the local socket, which the file mode guards;
    open where the cluster runs without a secret.
    """

    path: str
    role: str
    route: Route | None = None


OnFrame = Callable[[bytes, Source], None]
OnLost = Callable[[str, int], None]
"""The address and port of a link whose connection broke: its process died, or the network did. A hint, no proof."""


class Bus(Protocol):
    """Carries payloads between nodes, and between a node and its control clients.

    What may be assumed: a payload that arrives is the one that was sent, whole, of FRAME_BYTES_MAX at most,
    and `Source.role` is proved. Nothing else: any payload may be lost, delayed, reordered or repeated, `send`
    returning True included. There is no echo: a node hears itself only if it links to its own address.

    Every method returns at once and is called from the one thread that runs the loop; `on_frame` is called
    there, never from inside another method.
    """

    counters: dict[str, int]
    """What was carried and what was dropped, by the reasons in COUNTERS. Only grows."""

    def open(self, on_frame: OnFrame, on_lost: OnLost | None = None) -> None:
        """Bind, then deliver. Raises BindError; nothing stays open in that case."""

    def link(self, address: str, port: int) -> None:
        """Keep connections to the node at this address (gossip `port`, and `port` + 1). Again: no effect."""

    def relink(self, address: str, port: int) -> None:
        """Drop the connections and whatever waits in them, and connect anew at once: the peer restarted."""

    def unlink(self, address: str, port: int) -> None:
        """Drop the connections. Without a link: no effect."""

    def send(self, address: str, port: int, payload: bytes) -> bool:
        """To the linked node; False: dropped. Normal right after `link`, while nothing is connected yet."""

    def publish(self, payload: bytes) -> bool:
        """To every node that linked to us; False: dropped."""

    def reply(self, route: Route, payload: bytes) -> bool:
        """To the control client that asked by this route; False: it is gone."""

    def connections(self) -> dict[tuple[str, int], str]:
        """Every link by its address: UP, DOWN or REFUSED."""

    def close(self) -> None:
        """Give what was just sent a moment to leave, then close everything. Again: no effect."""


def new_counters() -> dict[str, int]:
    """Every counter at zero."""
    return dict.fromkeys(COUNTERS, 0)


def fits(payload: bytes, counters: dict[str, int]) -> bool:
    """Whether a payload may be sent; counts when not."""
    if len(payload) <= FRAME_BYTES_MAX:
        return True
    counters["oversized"] += 1
    return False
