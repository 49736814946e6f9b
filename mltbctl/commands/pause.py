"""`mltbctl pause` and `resume`: no automatic moves, for a time or until told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mltbctl.errors import CliError
from mltbctl.operation import check_reason
from mltbctl.result import Result
from mltbctl.words import duration

if TYPE_CHECKING:
    from mltbctl.client import Client

PAUSE_MAX_S = 30 * 86_400.0
_TIME = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def pause(client: Client, for_: str, reason: str) -> Result:
    """No automatic moves for `for_`; empty: until resumed."""
    check_reason(reason)
    seconds = seconds_of(for_) if for_ else 0.0
    answer = client.pause(seconds, reason=reason)
    how_long = f"for {duration(seconds)}" if seconds else "until `mltbctl resume`"
    data = {"paused": True, "for_seconds": seconds or None, "reason": reason or None, "at": answer["at"]}
    return Result(data, f"paused {how_long}: nothing moves by itself")


def resume(client: Client) -> Result:
    """Automatic moves again."""
    answer = client.resume()
    text = "resumed: automatic moves are on" if answer["changed"] else answer["message"]
    return Result({"paused": False, "changed": answer["changed"], "at": answer["at"]}, text)


def seconds_of(text: str) -> float:
    """`90`, `45s`, `30m`, `2h`, `1d` in seconds. CliError for anything else, for nothing, and for too long."""
    match = _TIME.fullmatch(text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= PAUSE_MAX_S:
        raise CliError(
            f"`--for {text}` is no time between 1 s and {PAUSE_MAX_S / 86_400:.0f} days",
            "write it as `90`, `30m`, `2h` or `1d`",
            code="usage",
        )
    return seconds
