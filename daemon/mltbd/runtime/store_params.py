"""Requests about locks and state: parameters to commands, and outcomes and state to answers. Nothing here waits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from mltb_transport import store
from mltb_transport.limits import LOCK_DELAY_S, LOCK_TTL_S, LOCK_WAIT_S, TEXT_CHARS_MAX, VALUE_BYTES_MAX
from mltb_transport.store import ACQUIRE, DELETE, EXTEND, INTERNAL, RELEASE, SET, Packed, packed
from mltbd.runtime.instants import instant
from mltbd.state.keyvalues import Change, KeyValue
from mltbd.state.locks import Lock
from mltbd.state.store import ANY_VERSION

CLIENT_BYTES_MAX = 64
SEQ_MAX = 2**53
HOLDER_BYTES_MAX = 255
LEVELS_MAX = 100
"""Of lists and objects within each other in a value: whoever reads it, from however deep a stack, must be able to."""
LIMIT_MAX = 1000
ANSWER_CHARS_MAX = TEXT_CHARS_MAX // 2
"""Of the rows of one answer, as they are spelled in it. The largest single one is a value: thrice its bytes."""
IN_LINE_CHARS_MAX = 4096
"""Of those who wait for one lock, where many are listed."""
_NAME = re.compile(r"[A-Za-z0-9._/-]{1,255}")
_PREFIX = re.compile(r"[A-Za-z0-9._/-]{0,255}")

Params = dict[str, Any]


class BadStoreRequest(Exception):
    """Parameters that are not what the method takes."""


class Offer(NamedTuple):
    """What the clients of this node get. `off`: what they are refused, `state` or `lock`."""

    off: frozenset[str] = frozenset()
    ttl_s: float = 30.0
    """Of a lock that is acquired without saying for how long."""
    extend_s: float = 10.0
    """A holder that extends its lock by itself does so at least as often; 0: it does not."""

    def why_off(self, kind: str) -> str:
        """Why clients may not call what is of this kind, `state` or `lock`; empty when they may."""
        option = f"DISTRIBUTED_{'STATE' if kind == 'state' else 'LOCKS'}_ENABLED"
        return f"`{option}` is off on this node" if kind in self.off else ""


def name(params: Params, key: str) -> str:
    """A key or the name of a lock."""
    value = params.get(key)
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise BadStoreRequest(f"`{key}` is 1 to 255 of A-Z a-z 0-9 . _ / -")
    return value


def prefix(params: Params, key: str = "prefix") -> str:
    """The beginning of a name; empty for all."""
    value = params.get(key) or ""
    if not isinstance(value, str) or not _PREFIX.fullmatch(value):
        raise BadStoreRequest(f"`{key}` is up to 255 of A-Z a-z 0-9 . _ / -")
    return value


def number(params: Params, key: str, low: int, high: int, default: int | None = None) -> int:
    """A whole number."""
    value = params.get(key, default)
    if value is None and default is not None:
        value = default
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadStoreRequest(f"`{key}` is a whole number from {low} to {high}")
    return value


def seconds(params: Params, key: str, low: float, high: float, default: float | None = None) -> float:
    """A duration."""
    value = params.get(key)
    if value is None:
        value = default
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise BadStoreRequest(f"`{key}` is a number of seconds from {low:g} to {high:g}")
    return float(value)


def flag(params: Params, key: str) -> bool:
    """True or false; false where it is not given."""
    value = params.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise BadStoreRequest(f"`{key}` is true or false")
    return value


def text(params: Params, key: str, bytes_max: int, default: str | None = None) -> str:
    """One printable line."""
    value = params.get(key)
    if value is None:
        value = default
    flaw = flaw_of_text(value, key, bytes_max) if isinstance(value, str) else f"`{key}` is a text"
    if flaw:
        raise BadStoreRequest(flaw)
    return str(value)


def flaw_of_text(value: str, what: str, bytes_max: int) -> str:
    """Why this is not one printable line, of so many bytes in UTF-8; empty when it is. (No surrogate is printable.)"""
    fits = len(value) <= bytes_max and value.isprintable() and len(value.encode()) <= bytes_max
    return "" if fits else f"`{what}` is one line of text of up to {bytes_max} bytes"


def _client(params: Params) -> tuple[str, int]:
    client = text(params, "client", CLIENT_BYTES_MAX)
    if not client or client.startswith(INTERNAL):
        raise BadStoreRequest(f"`client` is a text that does not begin with `{INTERNAL}`")
    return client, number(params, "seq", 1, SEQ_MAX)


def _token(params: Params) -> tuple[str, int]:
    token = params.get("token")
    if token is None:
        return "", 0
    if not isinstance(token, dict):
        raise BadStoreRequest("`token` is {lock, token}")
    return name(token, "lock"), number(token, "token", 1, SEQ_MAX)


def _if_version(params: Params) -> int:
    return ANY_VERSION if params.get("if_version") is None else number(params, "if_version", 0, SEQ_MAX)


def _value(params: Params) -> str:
    value = params.get("value")
    if not isinstance(value, str):
        raise BadStoreRequest("`value` is JSON as a text")
    flaw = flaw_of_value(value)
    if flaw:
        raise BadStoreRequest(flaw)
    return value


def _no_json(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_parsed = json.JSONDecoder(parse_constant=_no_json).decode


def flaw_of_value(value: str) -> str:
    """Why this text is no value; empty when it is one."""
    try:
        length = len(value) if value.isascii() else len(value.encode())
        deep = _is_deep(value, _parsed(value))
    except ValueError:
        return "`value` is not JSON"
    except RecursionError:
        deep = True
    if deep:
        return f"`value` is nested deeper than {LEVELS_MAX} levels"
    return f"`value` is longer than {VALUE_BYTES_MAX // 1024} KiB" if length > VALUE_BYTES_MAX else ""


def _is_deep(value: str, parsed: Any) -> bool:
    if value.count("[") + value.count("{") <= LEVELS_MAX:
        return False  # As nearly all are.
    nested = [parsed]
    for _ in range(LEVELS_MAX + 1):
        nested = [each for each in nested if isinstance(each, list | dict)]
        if not nested:
            return False
        nested = [item for each in nested for item in (each.values() if isinstance(each, dict) else each)]
    return True


def flaw_of_name(value: str) -> str:
    """Why this text is neither a key nor the name of a lock; empty when it is."""
    return "" if _NAME.fullmatch(value) else "a name is 1 to 255 of A-Z a-z 0-9 . _ / -"


def flaw_of_command(kind: int, arguments: tuple[Any, ...]) -> str:
    """Why these are no arguments of a packed command; empty when they are: the same rules as for a request."""
    flaw = flaw_of_name(arguments[0])
    if flaw:
        return flaw
    match kind:
        case store.SET:
            _, value, _, lock, _ = arguments
            return (flaw_of_name(lock) if lock else "") or flaw_of_value(value)
        case store.DELETE:
            _, _, lock, _ = arguments
            return flaw_of_name(lock) if lock else ""
        case store.ACQUIRE:
            _, ttl_ms, wait_ms, delay_ms, holder = arguments
            return (
                flaw_of_text(holder, "holder", HOLDER_BYTES_MAX)
                or _flaw_of_ms("ttl", ttl_ms, *LOCK_TTL_S)
                or _flaw_of_ms("wait", wait_ms, *LOCK_WAIT_S)
                or _flaw_of_ms("delay", delay_ms, *LOCK_DELAY_S)
            )
        case store.EXTEND:
            _, lock_id, ttl_ms = arguments
            return flaw_of_name(lock_id) or (_flaw_of_ms("ttl", ttl_ms, *LOCK_TTL_S) if ttl_ms else "")
        case store.RELEASE:
            return flaw_of_name(arguments[1])
    return ""


def _flaw_of_ms(what: str, value: int, low_s: float, high_s: float) -> str:
    if low_s * 1000 <= value <= high_s * 1000:
        return ""
    return f"`{what}` is a number of seconds from {low_s:g} to {high_s:g}"


def _ms(value: float) -> int:
    return max(0, round(value * 1000))


def command(method: str, params: Params, offer: Offer) -> Packed:
    """The command of a request that changes something. Raises BadStoreRequest."""
    client, seq = _client(params)
    match method:
        case "state_set":
            return packed(client, seq, SET, name(params, "key"), _value(params), _if_version(params), *_token(params))
        case "state_delete":
            return packed(client, seq, DELETE, name(params, "key"), _if_version(params), *_token(params))
        case "lock_acquire":
            ttl_s = seconds(params, "ttl", *LOCK_TTL_S, offer.ttl_s)
            wait_s = seconds(params, "wait", *LOCK_WAIT_S, 0.0)
            delay_s = seconds(params, "delay", *LOCK_DELAY_S, 0.0)
            holder = text(params, "holder", HOLDER_BYTES_MAX, client)
            return packed(client, seq, ACQUIRE, name(params, "name"), _ms(ttl_s), _ms(wait_s), _ms(delay_s), holder)
        case "lock_extend":
            ttl_ms = _ms(seconds(params, "ttl", *LOCK_TTL_S)) if params.get("ttl") is not None else 0
            return packed(client, seq, EXTEND, name(params, "name"), name(params, "lock_id"), ttl_ms)
        case "lock_release":
            return packed(client, seq, RELEASE, name(params, "name"), name(params, "lock_id"))
    raise BadStoreRequest("no such method")


# -- answers -------------------------------------------------------------------------------------------------------


def entry_view(entry: KeyValue) -> dict[str, Any]:
    """A key as `state_get` shows it."""
    return entry._asdict()


def change_view(change: Change) -> dict[str, Any]:
    """A change as `state_watch` shows it."""
    kind = "set" if change.value is not None else "delete"
    return {"key": change.key, "value": change.value, "version": change.version, "revision": change.revision,
            "kind": kind}  # fmt: skip


def fitting(rows: Iterable[dict[str, Any]], chars_max: int = ANSWER_CHARS_MAX) -> tuple[list[dict[str, Any]], bool]:
    """As many of them as may go into one answer, the first one in any case; and whether any was left out."""
    kept: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        size += len(json.dumps(row)) + 1
        if kept and size > chars_max:
            return kept, True
        kept.append(row)
    return kept, False


def lock_view(lock: Lock, remaining_s: float | None, chars_max: int) -> dict[str, Any]:
    """A lock as `lock_show` shows it; a closed one has no holder. Of a long line its beginning is shown."""
    line = ({"holder": waiter.holder, "lock_id": waiter.lock_id} for waiter in lock.waiters.values())
    return {
        "name": lock.name,
        "holder": lock.holder or None,
        "lock_id": lock.lock_id or None,
        "token": lock.token if lock.held else None,
        "ttl_seconds": lock.ttl_ms / 1000,
        "remaining_seconds": None if remaining_s is None or not lock.held else round(remaining_s, 3),
        "since": instant(lock.since),
        "waiting": len(lock.waiters),
        "waiters": fitting(line, chars_max)[0],
    }


def conflict_view(key: str, outcome: tuple[Any, ...]) -> dict[str, Any]:
    """A set or delete that met another version."""
    if len(outcome) == 1:
        return {"conflict": None}
    _, value, version, revision = outcome
    return {"conflict": {"key": key, "value": value, "version": version, "revision": revision}}


def acquired_view(lock: Lock, offer: Offer) -> dict[str, Any]:
    """Who holds the lock now has acquired it."""
    return {"acquired": True, "lock_id": lock.lock_id, "token": lock.token, "ttl_seconds": lock.ttl_ms / 1000,
            "extend_seconds": offer.extend_s, "holder": lock.holder}  # fmt: skip
