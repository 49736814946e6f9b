"""What the nodes of a survey told of themselves, as far as it can be judged: one that tells nonsense is as one that
does not answer, and the others are judged all the same."""

from __future__ import annotations

from types import NoneType
from typing import Any

NUMBER = (int, float)
COUNT_MAX = 2**63
UNREADABLE = "what it tells of itself cannot be read"
EACH = "*"
"""Stands for every name there is."""
_SHAPE: dict[str, Any] = {
    "version": str,
    "heard": {EACH: {"state": str, "link": str, "rtt_ms": (*NUMBER, NoneType)}},
    "refused_by": [{"address": str, "node": (str, NoneType)}],
    "secret": {"uses": (str, NoneType), "also": (str, NoneType), "insecure": bool},
    "loop": {"worst_lag_seconds": NUMBER, "over_seconds": NUMBER},
    "disk": {"fdatasync_ms?": NUMBER, "free_percent?": NUMBER},
    "guard": {"kill_path": str, "daemon_restarts": int},
    "systemd": {"supervised": bool, "watchdog_seconds": (*NUMBER, NoneType)},
    "options": {"CLUSTER_LEASE_DURATION?": (*NUMBER, NoneType)},
    "counters": {"own_name": int, "wrong_cluster": int, "auth_denied": int, "misdelivered?": int},
    "counted?": {EACH: int},
    "protocol?": {"newest": int},
}
"""What is read of it. A name with `?` may be missing: a release before this one does not tell it."""


def readable(survey: dict[str, Any]) -> dict[str, Any]:
    """The survey, with None and the reason for the nodes whose facts have another shape."""
    strange = {node for node, told in survey["facts"].items() if told is not None and not _fits(told, _SHAPE)}
    facts = {node: None if node in strange else told for node, told in survey["facts"].items()}
    return survey | {"facts": facts, "silent": survey["silent"] | dict.fromkeys(strange, UNREADABLE)}


def _fits(told: object, shape: Any) -> bool:
    if isinstance(shape, list):
        return isinstance(told, list) and all(_fits(each, shape[0]) for each in told)
    if not isinstance(shape, dict):
        return isinstance(told, shape) and not (isinstance(told, int) and abs(told) >= COUNT_MAX)
    if not isinstance(told, dict):
        return False
    if EACH in shape:
        return all(_fits(each, shape[EACH]) for each in told.values())
    for name, part in shape.items():
        plain = name.removesuffix("?")
        if plain not in told:
            if plain == name:
                return False
        elif not _fits(told[plain], part):
            return False
    return True
