"""The voters that nobody has met since this node started: it knows them from the log alone, gossip does not."""

from __future__ import annotations

from typing import Any

from mltbd.core.node import Node
from mltbd.core.peers import UNREACHABLE
from mltbd.runtime.control_views import drained_view


def unmet(node: Node) -> list[str]:
    """Their names."""
    return [name for name in node.consensus.voters if node.membership.record(name) is None]


def unmet_view(node: Node, name: str) -> dict[str, Any]:
    """As `views.member_view`: what only such a voter itself could say is None."""
    nothing = ("address", "port", "role", "priority", "incarnation", "last_seen_seconds", "rtt_ms", "applied_index")
    return {
        "id": name,
        **dict.fromkeys((*nothing, "lag", "version", "protocol")),
        "state": UNREACHABLE,
        "health": "UNKNOWN",
        "answers": False,
        "voter": True,
        "troubles": [],
        "drained": drained_view(node, name),
    }
