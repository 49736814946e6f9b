"""What a daemon's frames tell the caller's side: which calls they answer, and how."""

from __future__ import annotations

import json
from typing import Any

import msgpack

from mltb_transport.control import CallFailed
from mltb_transport.limits import BUNDLE_ANSWER_KIND, FRAME_BYTES_MAX, HEADER_FIELDS, ITEMS_MAX, RESPONSE_KIND

Key = int | tuple[str, int]
"""The number of a request; client and number of a command; nobody and the number of a read."""


def answers_in(frame: bytes) -> tuple[list[tuple[Key, Any]], str | None]:
    """What is answered by this frame, and how; nothing where it is not understood. And what it says of the leader."""
    fields = _unpacked(frame)
    if fields is None or len(fields) < HEADER_FIELDS or type(fields[6]) is not list:
        return [], None
    kind, body = fields[5], fields[6]
    if kind == RESPONSE_KIND and len(body) >= 3:
        number, ok, text = body[:3]
        known = type(number) is int and type(ok) is bool and type(text) is str
        return ([(number, (ok, text))] if known else []), None
    found: list[tuple[Key, Any]] = []
    if kind == BUNDLE_ANSWER_KIND and body and type(body[0]) is list:
        for packed in body[0]:
            outcome = _unpacked(packed) if type(packed) is bytes else None
            if outcome and len(outcome) > 2 and type(outcome[0]) is str and type(outcome[1]) is int:
                found.append(((outcome[0], outcome[1]), outcome[2:]))
    return found, str(body[1]) if kind == BUNDLE_ANSWER_KIND and len(body) > 1 else None


def _unpacked(packed: bytes) -> list[Any] | None:
    try:
        value = msgpack.unpackb(
            packed,
            raw=False,
            max_str_len=FRAME_BYTES_MAX,
            max_array_len=ITEMS_MAX,
            max_bin_len=FRAME_BYTES_MAX,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException):
        return None
    return value if type(value) is list else None


def result(answer: tuple[bool, str]) -> dict[str, Any]:
    """What a request is answered with. Raises CallFailed where it was refused."""
    ok, text = answer
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise not_understood()
    if ok:
        return body
    raise CallFailed(
        str(body.get("code", "failed")),
        str(body.get("message", "the daemon gave no reason")),
        str(body.get("hint", "")),
        body,
    )


def not_understood() -> CallFailed:
    """For an answer of a shape that no daemon of this version gives."""
    return CallFailed("failed", "the daemon's answer is not understood", "are `mltbctl` and `mltbd` of one version?")
