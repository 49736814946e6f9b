"""Packed commands and reads as the requests they stand for, and the answers of requests as outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mltb_transport.store import ACQUIRE, DELETE, EXTEND, RELEASE, SET, Bundle, unpacked, unpacked_read

Params = dict[str, Any]


def requests_in(bundle: Bundle) -> Iterator[tuple[str, Params, tuple[str, int]]]:
    """Method, parameters and key of each call in it."""
    for body in bundle.commands:
        command = unpacked(body)
        assert command is not None, "every command is understood"
        method, params = _params_of(command.kind, command.arguments)
        yield method, {**params, "client": command.client, "seq": command.seq}, (command.client, command.seq)
    for body in bundle.reads:
        read = unpacked_read(body)
        assert read is not None, "every read is understood"
        yield "state_get", {"key": read[1]}, ("", read[0])


def _params_of(kind: int, arguments: tuple[Any, ...]) -> tuple[str, Params]:
    match kind:
        case _ if kind in (SET, DELETE):
            key, *value, if_version, lock, token = arguments
            params: Params = {"key": key, **({"value": value[0]} if kind == SET else {})}
            if if_version >= 0:
                params["if_version"] = if_version
            if lock:
                params["token"] = {"lock": lock, "token": token}
            return "state_set" if kind == SET else "state_delete", params
        case _ if kind == ACQUIRE:
            name, ttl_ms, wait_ms, delay_ms, holder = arguments
            params = {"name": name, "wait": wait_ms / 1000, "holder": holder}
            given = (("ttl", ttl_ms), ("delay", delay_ms))
            return "lock_acquire", params | {key: value_ms / 1000 for key, value_ms in given if value_ms}
        case _ if kind == EXTEND:
            name, lock_id, ttl_ms = arguments
            return "lock_extend", {"name": name, "lock_id": lock_id, **({"ttl": ttl_ms / 1000} if ttl_ms else {})}
        case _ if kind == RELEASE:
            return "lock_release", {"name": arguments[0], "lock_id": arguments[1]}
    raise AssertionError(f"kind {kind} is not for clients")


def outcome_of(method: str, body: Params) -> tuple[Any, ...]:
    """The answer of a request as the outcome of a packed call."""
    if "conflict" in body:
        found = body["conflict"]
        return ("conflict", found["value"], found["version"], found["revision"]) if found else ("conflict",)
    match method:
        case "state_set":
            return "ok", body["version"], body["revision"]
        case "state_delete":
            return "ok", int(body["deleted"]), body["revision"]
        case "state_get":
            entry, now = body["entry"], body["revision"]
            return ("entry", now, entry["value"], entry["version"], entry["revision"]) if entry else ("none", now)
        case "lock_acquire":
            if body["acquired"]:
                times = (round(body[key] * 1000) for key in ("ttl_seconds", "extend_seconds"))
                return "ok", body["lock_id"], body["token"], *times
            return "held", body.get("holder") or ""
        case "lock_extend":
            return ("ok", body["token"], round(body["ttl_seconds"] * 1000)) if body["extended"] else ("lost",)
        case "lock_release":
            return ("ok",) if body["released"] else ("lost",)
    raise AssertionError(f"`{method}` does not come packed")
