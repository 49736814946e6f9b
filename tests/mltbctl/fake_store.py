"""Locks and key-values in memory, with the API of a real daemon: what the SDK and the command line are tried against.

Honest where the SDK relies on it: versions, at-most-once by (client, seq), lines of waiters, time limits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mltbctl.clock import boottime
from tests.mltbctl.fake_daemon import FakeDaemon, Later, Refusal

SINCE = "2026-01-02T03:04:05Z"


@dataclass
class Grant:
    """A lock that is held, or somebody who waits for it."""

    lock_id: str
    holder: str
    ttl: float
    token: int = 0
    until: float = 0.0
    leaves: float = 0.0


@dataclass
class FakeStore:
    """One state for any number of fake daemons. `answers` is what a FakeDaemon serves."""

    revision: int = 0
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)
    lines: dict[str, list[Grant]] = field(default_factory=dict)
    replies: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    executed: int = 0
    compacted_below: int = 0
    ttl: float = 30.0
    """Of a lock that is acquired without one."""
    extend: float = 10.0
    """How often holders are told to extend; 0: not at all."""
    locks_shown_max: int = 1000
    quorate: bool | None = True
    daemons: list[FakeDaemon] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mutex = threading.RLock()

    def answers(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        once = {
            "state_set": self.set,
            "state_delete": self.delete,
            "lock_extend": self.lengthen,
            "lock_release": self.release,
        }
        reads = {
            "state_get": self.get,
            "state_list": self.list_keys,
            "state_watch": self.watch,
            "lock_show": self.show,
            "lock_list": self.list_locks,
        }
        return {
            **{name: self._once(call) for name, call in once.items()},
            **{name: self._locked(call) for name, call in reads.items()},
            "lock_acquire": self._locked(self.acquire),
            "is": lambda _: {"answer": self.quorate, "reason": ""},
        }

    def _locked(self, call: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def answer(params: dict[str, Any]) -> dict[str, Any]:
            with self.mutex:
                return call(params)

        return answer

    def _once(self, call: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def answer(params: dict[str, Any]) -> dict[str, Any]:
            with self.mutex:
                known = self._known(params)
                return known if known is not None else self._keep(params, call(params))

        return answer

    def _known(self, params: dict[str, Any]) -> dict[str, Any] | None:
        client, seq = params["client"], params["seq"]
        assert 0 < len(client) <= 64
        last, reply = self.replies.get(client, (0, {}))
        if seq == last:
            return reply
        if seq != last + 1:
            raise Refusal(code="forgotten", message=f"client {client} is not known at {seq}")
        return None

    def _keep(self, params: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        self.executed += 1
        self.replies[params["client"]] = (params["seq"], reply)
        return reply

    # -- key-values

    def _check_token(self, params: dict[str, Any]) -> None:
        if "token" in params:
            guard = params["token"]
            holder = self._holder(guard["lock"])
            if holder is None or holder.token != guard["token"]:
                raise Refusal(code="refused", message=f"`{guard['lock']}` is not held with token {guard['token']}")

    def _write(self, key: str, value: str | None) -> None:
        self.revision += 1
        version = self.entries.get(key, {}).get("version", 0) + 1
        kind = "delete" if value is None else "set"
        change = {"key": key, "value": value, "version": version, "revision": self.revision, "kind": kind}
        self.changes.append(change)
        if value is None:
            del self.entries[key]
        else:
            self.entries[key] = {name: change[name] for name in ("key", "value", "version", "revision")}

    def set(self, params: dict[str, Any]) -> dict[str, Any]:
        self._check_token(params)
        found = self.entries.get(params["key"])
        if "if_version" in params and params["if_version"] != (found["version"] if found else 0):
            return {"conflict": found, "revision": self.revision}
        self._write(params["key"], params["value"])
        return {name: self.entries[params["key"]][name] for name in ("key", "version", "revision")}

    def delete(self, params: dict[str, Any]) -> dict[str, Any]:
        self._check_token(params)
        found = self.entries.get(params["key"])
        if "if_version" in params and params["if_version"] != (found["version"] if found else 0):
            return {"conflict": found, "revision": self.revision}
        if found:
            self._write(params["key"], None)
        return {"deleted": found is not None, "revision": self.revision}

    def get(self, params: dict[str, Any]) -> dict[str, Any]:
        return {"entry": self.entries.get(params["key"]), "revision": self.revision, **_age(params)}

    def list_keys(self, params: dict[str, Any]) -> dict[str, Any]:
        after = params.get("after", "")
        keys = sorted(key for key in self.entries if key.startswith(params["prefix"]) and key > after)
        page = keys[: params.get("limit", 1000)]
        return {
            "entries": [self.entries[key] for key in page],
            "revision": self.revision,
            "more": len(keys) > len(page),
            **_age(params),
        }

    def watch(self, params: dict[str, Any]) -> dict[str, Any]:
        after = self.revision if params["after"] < 0 else params["after"]
        leaves = boottime() + params["wait"]

        def look() -> dict[str, Any] | None:
            with self.mutex:
                news = [c for c in self.changes if c["revision"] > after and c["key"].startswith(params["prefix"])]
                if not news and boottime() < leaves:
                    return None
                return {"changes": news, "revision": self.revision, "compacted": after < self.compacted_below}

        return _now_or_later(look)

    # -- locks

    def _line(self, name: str) -> list[Grant]:
        """Holder first, then who waits; those whose time is over have gone."""
        now = boottime()
        line = self.lines.setdefault(name, [])
        while line and line[0].token and now >= line[0].until:
            line.pop(0)
        line[:] = [grant for grant in line if grant.token or now < grant.leaves]
        if line and not line[0].token:
            self.revision += 1
            line[0].token, line[0].until = self.revision, now + line[0].ttl
        return line

    def _holder(self, name: str) -> Grant | None:
        line = self._line(name)
        return line[0] if line else None

    def acquire(self, params: dict[str, Any]) -> dict[str, Any]:
        name, lock_id = params["name"], f"{params['client']}-{params['seq']}"
        known = self._known(params)
        if known is not None and known:
            return known
        if known is not None:
            for waiter in self._line(name):
                if waiter.lock_id == lock_id:
                    waiter.leaves = min(waiter.leaves, boottime() + params["wait"])
        if known is None:
            self._keep(params, {})
            line = self._line(name)
            leaves = boottime() + params["wait"]
            ttl = params.get("ttl", self.ttl)
            line.append(Grant(lock_id, params["holder"], ttl, leaves=leaves if line else leaves + 9))

        def look() -> dict[str, Any] | None:
            with self.mutex:
                line = self._line(name)
                mine = [grant for grant in line if grant.lock_id == lock_id]
                if not mine:
                    holder = line[0].holder if line else ""
                    return self._answered(params, {"acquired": False, "holder": holder, "lock_id": lock_id})
                if not mine[0].token:
                    return None
                held = {"acquired": True, "lock_id": lock_id, "token": mine[0].token, "holder": mine[0].holder}
                return self._answered(params, {**held, "ttl_seconds": mine[0].ttl, "extend_seconds": self.extend})

        return _now_or_later(look)

    def _answered(self, params: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        self.replies[params["client"]] = (params["seq"], reply)
        return reply

    def lengthen(self, params: dict[str, Any]) -> dict[str, Any]:
        holder = self._holder(params["name"])
        if holder is None or holder.lock_id != params["lock_id"]:
            return {"extended": False, "token": 0, "ttl_seconds": 0}
        holder.ttl = max(holder.ttl, params.get("ttl", 0.0))
        holder.until = boottime() + holder.ttl
        return {"extended": True, "token": holder.token, "ttl_seconds": holder.ttl}

    def release(self, params: dict[str, Any]) -> dict[str, Any]:
        line = self._line(params["name"])
        before = len(line)
        line[:] = [grant for grant in line if grant.lock_id != params["lock_id"]]
        return {"released": len(line) < before}

    def show(self, params: dict[str, Any]) -> dict[str, Any]:
        line = self._line(params["name"])
        return {"lock": self._shown(params["name"], line) if line else None, **_age(params)}

    def list_locks(self, params: dict[str, Any]) -> dict[str, Any]:
        names = [name for name in sorted(self.lines) if name.startswith(params["prefix"]) and self._line(name)]
        names = [name for name in names if name > params.get("after", "")]
        shown = [self._shown(name, self.lines[name]) for name in names[: self.locks_shown_max]]
        return {"locks": shown, "more": len(names) > len(shown), **_age(params)}

    def _shown(self, name: str, line: list[Grant]) -> dict[str, Any]:
        held = line[0]
        return {
            "name": name,
            "holder": held.holder,
            "lock_id": held.lock_id,
            "token": held.token,
            "ttl_seconds": held.ttl,
            "remaining_seconds": held.until - boottime(),
            "since": SINCE,
            "waiting": len(line) - 1,
            "waiters": [{"holder": waiter.holder, "lock_id": waiter.lock_id} for waiter in line[1:]],
        }


def _age(params: dict[str, Any]) -> dict[str, Any]:
    return {"age_seconds": 0.25} if params.get("stale") else {}


def _now_or_later(look: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    body = look()
    if body is None:
        raise Later(look)
    return body
