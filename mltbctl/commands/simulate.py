"""`mltbctl simulate`: what would happen, played through by the daemon's own core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mltbctl.result import Result
from mltbctl.tables import wrapped

if TYPE_CHECKING:
    from mltbctl.client import Client
    from mltbctl.result import Style

VERBS = ("kill", "stop", "split", "cut")
CALL_S = 40.0
"""Several whole clusters are played through; on a busy machine that takes a while."""
LABEL = 10


def simulate(client: Client, fault: str) -> Result:
    """The answer of the daemon that was asked."""
    told = client.simulate(fault)
    return Result(told, lambda style: _text(told, style))


def _text(told: dict[str, Any], style: Style) -> str:
    head = f"{style.bold(told['fault'])}   played through {told['runs']} times from the present position"
    lines = [head]
    for line in told["lines"]:
        label, _, words = line.partition(": ")
        lines += wrapped(words, style, label.ljust(LABEL - 1) + " ", LABEL)
    return "\n".join(lines)
