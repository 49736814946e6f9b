"""What names look like: node ids, and the names of workloads and clusters."""

from __future__ import annotations

import re

from mltbd.config.problem import ValueProblem

SHOWN_CHARS_MAX = 64
NODE_ID_CHARS_MAX = 63

NAME = re.compile(r"[A-Za-z0-9._/-]{1,255}")
NODE_ID = re.compile(r"[a-z0-9-]{1,63}")


def shown(text: str) -> str:
    """The text, cut to what fits in a message."""
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}..."


def node_id_from(text: str) -> str:
    """The node id nearest to a host's name; `node` when nothing of it is left."""
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")[:NODE_ID_CHARS_MAX].strip("-") or "node"


def check_node_id(text: str) -> str:
    """The node id, when it is one. Raises ValueProblem."""
    if NODE_ID.fullmatch(text):
        return text
    raise ValueProblem(
        f"`{shown(text)}` is no node id: 1 to {NODE_ID_CHARS_MAX} of a-z, 0-9 and `-` are",
        f"use `{node_id_from(text)}`" if text else "",
    )
