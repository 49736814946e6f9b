"""Between a Bus and the daemon: messages to payloads and back, with each check that needs no core state."""

from __future__ import annotations

from collections.abc import Callable

from mltb_transport.bus import Route, Source
from mltb_transport.frames import (
    PROTOCOL,
    Frame,
    FrameError,
    UnknownKind,
    UnknownVersion,
    assembled,
    decode,
    packed_message,
    packed_origin,
)
from mltb_transport.gossip import News
from mltb_transport.messages import Heartbeat, Message, Sync
from mltb_transport.schema import UnknownCommand
from mltb_transport.store import Bundle
from mltb_transport.values import dataclass

FOREIGN_MAX = 16

GOSSIP_KINDS = (Heartbeat, News)
"""Nothing else is taken from the lossy, unordered path: no vote, no lease, no log."""
MEETING_KINDS = (Heartbeat, Sync)
"""Delivered from other clusters too, so that membership can refuse them by name."""

_COUNTER_OF: dict[type, str] = {
    UnknownKind: "unknown_kind",
    UnknownCommand: "unknown_kind",
    UnknownVersion: "unknown_version",
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """A frame that passed every check. `role` is the effective one: node, which `frame.sender` names; admin or viewer,
    of a control client."""

    frame: Frame
    role: str
    route: Route | None


class Outbound:
    """Seals this node's messages. `cluster` and `incarnation` may change while it runs."""

    def __init__(self, node: str, incarnation: int, cluster: str = "") -> None:
        self.cluster = cluster
        self._node = node
        self.incarnation = incarnation
        self._seq = 0
        self._origin: tuple[tuple[str, int], bytes] = (("", -1), b"")
        self._packed: tuple[Message | None, bytes] = (None, b"")

    def seal(self, message: Message, to: str = "") -> bytes:
        """The payload for one message, with a sequence number of its own. Raises FrameError.

        `to`: the node it is meant for, wherever the link that was made to it leads by now.
        """
        self._seq += 1
        origin = (self.cluster, self.incarnation)
        if origin != self._origin[0]:
            self._origin = (origin, packed_origin(PROTOCOL, self.cluster, self._node, self.incarnation))
        if message is not self._packed[0]:  # Else it goes to several.
            self._packed = (message, packed_message(message))
        return assembled(self._origin[1], self._seq, self._packed[1], to)


class Inbound:
    """Opens what arrives: decodes, checks role and cluster, counts everything it drops.

    Set `cluster` as soon as the node belongs to one. `on_unreadable` is told whenever a node turns out to speak a
    version of the protocol that this release does not read.
    """

    def __init__(self, node: str, counters: dict[str, int], cluster: str = "") -> None:
        self.cluster = cluster
        self.on_unreadable: Callable[[str, int], None] = lambda _sender, _version: None
        self._unreadable: dict[str, int] = {}
        self._node = node
        self._counters = counters

    def open(self, payload: bytes, source: Source) -> Delivery | None:
        """The frame and the role of its sender; None: dropped and counted."""
        try:
            frame = decode(payload)
        except FrameError as error:
            self._counters[_COUNTER_OF.get(type(error), "frame_error")] += 1
            if isinstance(error, UnknownVersion) and source.role in ("node", "open"):
                self._cannot_read(error.sender, error.version)
            return None
        if frame.to not in ("", self._node):
            # Its sender's link leads to us: we have the address of another now. A vote must not count here, nor an
            # answer be taken for one to a question of ours.
            self._counters["misdelivered"] += 1
            return None
        role = _effective_role(frame, source)
        if role is None:
            self._counters["wrong_role"] += 1
            return None
        if role != "node":  # A control client belongs to no cluster.
            return Delivery(frame, role, source.route)
        if self.cluster and frame.cluster and frame.cluster != self.cluster:
            self._counters["wrong_cluster"] += 1
            if not isinstance(frame.message, MEETING_KINDS):
                return None
        if frame.sender == self._node:  # Looks wrong, but is the core's to judge.
            self._counters["own_name"] += 1
        if self._unreadable:
            self._unreadable.pop(frame.sender, None)
        return Delivery(frame, role, source.route)

    def _cannot_read(self, sender: str, version: int) -> None:
        """Told once, until it changes."""
        if not sender or self._unreadable.get(sender) == version:
            return
        if sender in self._unreadable or len(self._unreadable) < FOREIGN_MAX:
            self._unreadable[sender] = version
            self.on_unreadable(sender, version)


def _effective_role(frame: Frame, source: Source) -> str | None:
    """In which role this frame is taken; None when its sender may not send it by this path."""
    message, has_node_key = frame.message, source.role in ("node", "open")
    if source.path == "gossip":
        return "node" if has_node_key and isinstance(message, GOSSIP_KINDS) else None
    if not frame.sender:  # A control client.
        return "admin" if has_node_key else source.role
    # Who has another key may ask, never speak as a node: what a node asks is done without a look at the role, for it
    # passes on what it has looked at itself. A bundle is never passed on.
    return "node" if has_node_key and not isinstance(message, Bundle) else None
