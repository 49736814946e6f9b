"""The versions of the protocol, as `status` and `doctor` show them: what each node speaks, and the cluster's level."""

from __future__ import annotations

from typing import Any

from mltb_transport.records import Record
from mltbd.core.level_rules import Speaks
from mltbd.core.node import Node


def cluster_view(node: Node, lead: dict[str, Any]) -> dict[str, Any]:
    """`waits`: what the next level waits for, as the leader says; None where there is none to wait for."""
    return {"level": node.levels.level or None, "waits": lead.get("level_waits") or None}


def member_view(record: Record) -> dict[str, int]:
    """The versions that this member speaks, as it says itself."""
    return {"oldest": record.oldest, "newest": record.newest}


def alerts(node: Node, records: list[Record]) -> list[tuple[str, str]]:
    """Who cannot take part, and why, as (kind, message)."""
    found = [("protocol", node.levels.stranger_words(sender)) for sender in sorted(node.levels.strangers)]
    level = node.levels.level
    for record in records:
        speaks = Speaks(record.oldest, record.newest)
        if level and not speaks.has(level):
            found.append(("protocol", f"{record.node} speaks protocol {speaks}, the cluster is at level {level}"))
    return found
