"""`mltbctl explain`: the story of one event, or of the last that mattered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mltbctl.errors import CliError
from mltbctl.result import Result
from mltbctl.stories import facts, story

if TYPE_CHECKING:
    from mltbctl.client import Client

LAST = "last"


def explain(client: Client, which: str) -> Result:
    """`which`: the id of an event, or `last`."""
    if which != LAST and not (which.isascii() and which.isdigit() and 0 < int(which) < 2**63):
        raise CliError(f"`{which}` is neither an event's id nor `last`", "mltbctl events", code="usage")
    told = client.event(None if which == LAST else int(which))
    happened = told["event"] is not None
    data = {**told, "happened": happened, "facts": dict(facts(told)) if happened else {}}
    return Result(data, lambda style: story(told, style))
