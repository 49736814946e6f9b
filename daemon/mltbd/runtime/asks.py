"""From a request of the control plane to an Ask: parameters checked, nothing decided."""

from __future__ import annotations

from typing import Any

from mltbd.core.events import Ask

NAME_CHARS_MAX = 255
REASON_CHARS_MAX = 500
INDEX_MAX = 2**63 - 1
SECONDS_MAX = 1e9
ASKS = {
    "failover": "failover",
    "switchover": "switchover",
    "failback": "failback",
    "failback_cancel": "cancel_failback",
    "pause": "pause",
    "resume": "resume",
    "drain": "drain",
    "undrain": "undrain",
    "node_remove": "remove_node",
    "node_promote": "promote_node",
    "node_admit": "admit_node",
}
"""Methods that only the leader answers, and the verb of each."""


class BadRequest(Exception):
    """Parameters that are not what the method takes. `hint`: a command that shows what could be meant."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def help_of(method: str) -> str:
    """The command that tells how a method is called."""
    group, _, verb = method.partition("_")
    command = (
        f"{group} {verb}" if group in ("lock", "state") else method if method in ("is", "health", "simulate") else ""
    )
    return f"mltbctl {command} --help" if command else "mltbctl --help"


def ask_of(number: int, method: str, params: dict[str, Any]) -> Ask:
    """The Ask of this number. Raises BadRequest."""
    return Ask(
        number,
        ASKS[method],
        workload=text(params, "workload") or "main",
        target=text(params, "to") or text(params, "node"),
        reason=text(params, "reason", REASON_CHARS_MAX),
        dry_run=_flag(params, "dry_run"),
        operator=text(params, "operator") or "an operator",
        at=_index(params, "at"),
        seconds=_seconds(params, "seconds"),
        force=_flag(params, "force"),
    )


def text(params: dict[str, Any], key: str, chars_max: int = NAME_CHARS_MAX) -> str:
    """A text of one line; empty when it is not given. Raises BadRequest."""
    value = params.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > chars_max:
        raise BadRequest(f"`{key}` is a text of up to {chars_max} characters")
    if not value.isprintable():
        raise BadRequest(f"`{key}` is text of one line, without control characters")
    return value


def _flag(params: dict[str, Any], key: str) -> bool:
    value = params.get(key, False)
    if not isinstance(value, bool):
        raise BadRequest(f"`{key}` is true or false")
    return value


def _index(params: dict[str, Any], key: str) -> int:
    value = params.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= INDEX_MAX:
        raise BadRequest(f"`{key}` is an index of the log")
    return value


def _seconds(params: dict[str, Any], key: str) -> float:
    value = params.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= SECONDS_MAX:
        raise BadRequest(f"`{key}` is a number of seconds")
    return float(value)
