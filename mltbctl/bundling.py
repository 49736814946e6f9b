"""Locks and state by the short way: calls as commands and reads of a bundle, and outcomes as the answers of a request.

What the daemon could not tell apart is refused here: a version below 0 would mean `any`, an empty lock `none`.
"""

from __future__ import annotations

from typing import Any

from mltb_transport.answers import not_understood
from mltb_transport.control import CallFailed
from mltb_transport.limits import COMMAND_BYTES_MAX, VALUE_BYTES_MAX
from mltb_transport.store_kinds import ACQUIRE, ARGUMENTS, DELETE, EXTEND, HINTS, RELEASE, SET, packed_body

ANY_VERSION = -1

Params = dict[str, Any]
Command = tuple[int, tuple[Any, ...]]


def command_of(method: str, params: Params) -> Command:
    """Kind and arguments of what changes something. CallFailed for what no command can say."""
    try:
        kind, arguments = _PACKED[method](params)
    except (OverflowError, TypeError, ValueError) as error:
        raise _usage(method, str(error)) from error
    for argument, wanted in zip(arguments, ARGUMENTS[kind], strict=True):
        if type(argument) is not wanted:
            raise _usage(method, f"`{argument!r:.40}` is not {'a text' if wanted is str else 'a whole number'}")
    return kind, arguments


def body_of(method: str, command: Command, client: str, seq: int) -> bytes:
    """The command as it travels."""
    kind, arguments = command
    try:
        body = packed_body(client, seq, kind, *arguments)
    except UnicodeEncodeError as error:
        raise _usage(method, "what is not UTF-8 text cannot be sent") from error
    except (OverflowError, ValueError) as error:
        raise _usage(method, f"it cannot be sent: {error}") from error
    if len(body) > COMMAND_BYTES_MAX:
        raise _usage(method, f"`value` is longer than {VALUE_BYTES_MAX // 1024} KiB")
    return body


def answer_of(method: str, params: Params, outcome: list[Any]) -> dict[str, Any]:
    """The outcome in the words of a request's answer. CallFailed when it is a refusal."""
    if outcome[0] == "error":
        _, code, message = outcome[:3] if len(outcome) > 2 else ("", "failed", "the daemon gave no reason")
        raise CallFailed(str(code), str(message), _hint(str(code), method, params))
    try:
        answer = _ANSWERS[method](params, outcome)
    except (IndexError, TypeError, ValueError):
        answer = None
    if answer is None:
        raise not_understood()
    return answer


def _usage(method: str, why: str) -> CallFailed:
    return CallFailed("usage", why, _hint("usage", method, {}))


def _hint(code: str, method: str, params: Params) -> str:
    if code == "usage":
        return f"mltbctl {method.replace('_', ' ', 1)} --help"
    if code == "refused" and params.get("token") is not None:
        return f"mltbctl lock show {params['token']['lock']}"
    if code == "refused" and "key" in params:
        return f"mltbctl state get {params['key']}"
    return HINTS.get(code, "mltbctl status")


# -- there -----------------------------------------------------------------------------------------------------------


def _guard(params: Params) -> tuple[Any, Any]:
    token = params.get("token")
    if token is None:
        return "", 0
    if not token["lock"]:
        raise ValueError("`token` names no lock")
    return token["lock"], token["token"]


def _version(params: Params, key: str = "if_version") -> Any:
    version = params.get(key)
    if version is None:
        return ANY_VERSION
    if version < 0:
        raise ValueError("a version is not below 0")
    return version


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _ttl(params: Params) -> int:
    """0: not given. What rounds to it is the daemon's to refuse."""
    ttl = params.get("ttl")
    return 0 if ttl is None else _ms(ttl) or 1


def _set(params: Params) -> Command:
    return SET, (params["key"], params["value"], _version(params), *_guard(params))


def _delete(params: Params) -> Command:
    return DELETE, (params["key"], _version(params), *_guard(params))


def _acquire(params: Params) -> Command:
    return ACQUIRE, (
        params["name"], _ttl(params), _ms(params["wait"]), _ms(params.get("delay", 0.0)), params["holder"]
    )  # fmt: skip


def _extend(params: Params) -> Command:
    return EXTEND, (params["name"], params["lock_id"], _ttl(params))


def _release(params: Params) -> Command:
    return RELEASE, (params["name"], params["lock_id"])


_PACKED = {
    "state_set": _set,
    "state_delete": _delete,
    "lock_acquire": _acquire,
    "lock_extend": _extend,
    "lock_release": _release,
}


# -- and back --------------------------------------------------------------------------------------------------------


def _was_set(params: Params, outcome: list[Any]) -> dict[str, Any] | None:
    if outcome[0] == "ok":
        return {"key": params["key"], "version": outcome[1], "revision": outcome[2]}
    return _conflict(params, outcome)


def _was_deleted(params: Params, outcome: list[Any]) -> dict[str, Any] | None:
    if outcome[0] == "ok":
        return {"deleted": bool(outcome[1]), "revision": outcome[2]}
    return _conflict(params, outcome)


def _conflict(params: Params, outcome: list[Any]) -> dict[str, Any] | None:
    if outcome[0] != "conflict":
        return None
    if len(outcome) == 1:
        return {"conflict": None}
    _, value, version, revision = outcome
    return {"conflict": {"key": params["key"], "value": value, "version": version, "revision": revision}}


def _was_acquired(params: Params, outcome: list[Any]) -> dict[str, Any] | None:
    if outcome[0] == "ok":
        _, lock_id, token, ttl_ms, extend_ms = outcome
        return {"acquired": True, "lock_id": lock_id, "token": token, "ttl_seconds": ttl_ms / 1000,
                "extend_seconds": extend_ms / 1000, "holder": params["holder"]}  # fmt: skip
    return {"acquired": False, "holder": outcome[1] or None} if outcome[0] == "held" else None


def _was_extended(_: Params, outcome: list[Any]) -> dict[str, Any] | None:
    if outcome[0] == "ok":
        return {"extended": True, "token": outcome[1], "ttl_seconds": outcome[2] / 1000}
    return {"extended": False, "token": None, "ttl_seconds": None} if outcome[0] == "lost" else None


def _was_released(_: Params, outcome: list[Any]) -> dict[str, Any] | None:
    return {"released": outcome[0] == "ok"} if outcome[0] in ("ok", "lost") else None


def _was_read(params: Params, outcome: list[Any]) -> dict[str, Any] | None:
    if outcome[0] == "none":
        return {"entry": None, "revision": outcome[1]}
    if outcome[0] != "entry":
        return None
    _, now, value, version, revision = outcome
    return {"entry": {"key": params["key"], "value": value, "version": version, "revision": revision}, "revision": now}


_ANSWERS = {
    "state_set": _was_set,
    "state_delete": _was_deleted,
    "state_get": _was_read,
    "lock_acquire": _was_acquired,
    "lock_extend": _was_extended,
    "lock_release": _was_released,
}
