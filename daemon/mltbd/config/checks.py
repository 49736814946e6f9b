"""Checks as an operator writes them: `[[workload.NAME.check]]` and `[[check]]` become CheckSpecs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from mltbd.config.fields import absolute, command, seconds, text, whole
from mltbd.config.names import NAME, shown
from mltbd.config.parsing import check_host
from mltbd.config.problem import Problem, ValueProblem, error
from mltbd.config.suggest import did_you_mean

CHECKS_MAX = 32
FAILURES_MAX = 1000
INTERVAL_S = (0.1, 86400.0)
MAX_AGE_S = 30.0
BODY_CHARS_MAX = 1000
MIN_FREE_PERCENT = 5.0
KINDS: Mapping[str, tuple[str, ...]] = {
    "process": (),
    "tcp": ("address",),
    "http": ("url", "status", "body"),
    "command": ("command",),
    "heartbeat": ("max_age",),
    "disk": ("path", "min_free_percent"),
    "memory": ("min_free_percent",),
}
"""The keys of each kind beside those that every check has."""
WORKLOAD_KINDS = ("process", "tcp", "http", "command", "heartbeat")
NODE_KINDS = ("disk", "memory", "tcp", "http", "command")
KINDS_LATER = ("loop_lag", "redis", "mongodb", "postgresql")
_COMMON = ("kind", "name", "interval", "timeout", "failures", "successes", "grace")
_NEEDED = {"tcp": "address", "http": "url", "command": "command", "disk": "path"}
_EXAMPLES = {
    "address": '"127.0.0.1:8080"',
    "url": '"http://127.0.0.1:8080/"',
    "command": '["/usr/local/bin/is-well"]',
    "path": '"/"',
}


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One check, of a workload or (with an empty `workload`) of the node. 0 means: as the HEALTH_ options say."""

    name: str
    kind: str
    workload: str = ""
    interval_s: float = 0.0
    timeout_s: float = 0.0
    failures: int = 0
    """In a row, before it is UNHEALTHY."""
    successes: int = 1
    """In a row, before it is HEALTHY again."""
    grace_s: float = 0.0
    """After a start, failures count only once this is over or the check has passed once."""
    host: str = ""
    port: int = 0
    url: str = ""
    status: int = 200
    body: str = ""
    argv: tuple[str, ...] = ()
    max_age_s: float = MAX_AGE_S
    path: str = ""
    min_free_percent: float = MIN_FREE_PERCENT

    def resolved(self, interval_s: float, timeout_s: float, failures: int) -> CheckSpec:
        """With the defaults of the HEALTH_ options for what was not given."""
        return replace(
            self,
            interval_s=self.interval_s or interval_s,
            timeout_s=self.timeout_s or timeout_s,
            failures=self.failures or failures,
        )


def read_checks(
    raw: object, key: str, kinds: Collection[str], workload: str = ""
) -> tuple[tuple[CheckSpec, ...], list[Problem]]:
    """The checks of a list of tables. Two of one kind need names; the first is called like its kind."""
    if not isinstance(raw, list) or not all(isinstance(item, dict) for item in raw):
        return (), [error(key, "checks are tables", f"write `[[{key}]]` and below it `kind = ...`")]
    if len(raw) > CHECKS_MAX:
        return (), [error(key, f"{len(raw)} checks are more than {CHECKS_MAX}")]
    specs: dict[str, CheckSpec] = {}
    problems = []
    for table in raw:
        try:
            spec = _read_one(table, kinds, workload)
            if spec.name in specs:
                raise ValueProblem(f"two checks are called `{spec.name}`", "give each a `name` of its own")
            specs[spec.name] = spec
        except ValueProblem as bad:
            problems.append(error(key, bad.message, bad.hint))
    return tuple(specs.values()), problems


def _read_one(table: Mapping[str, object], kinds: Collection[str], workload: str) -> CheckSpec:
    kind = table.get("kind", "")
    if kind in KINDS_LATER:
        raise ValueProblem(f"this version has no checks of kind `{kind}`", "use a `command` that asks it")
    if not isinstance(kind, str) or kind not in kinds:
        hint = did_you_mean(str(kind), kinds) or f"use one of {', '.join(f'`{known}`' for known in kinds)}"
        raise ValueProblem(f"`{shown(str(kind))}` is no kind of check here", hint)
    known = (*_COMMON, *KINDS[kind])
    for extra in sorted(set(table) - set(known)):
        raise ValueProblem(f"`{shown(extra)}` is no key of a `{kind}` check", did_you_mean(extra, known))
    needed = _NEEDED.get(kind)
    if needed is not None and needed not in table:
        raise ValueProblem(f"a `{kind}` check needs `{needed}`", f"write `{needed} = {_EXAMPLES[needed]}`")
    found: dict[str, Any] = {"name": kind}
    if kind == "heartbeat":
        found["failures"] = 1  # `max_age` is patience enough.
    for part, value in table.items():
        if part != "kind":
            found |= _READERS[part](value)
    return CheckSpec(kind=kind, workload=workload, **found)


def _name(value: object) -> dict[str, Any]:
    name = text(value, "the name")
    if not NAME.fullmatch(name):
        raise ValueProblem(f"`{shown(name)}` is no name for a check", "use letters, digits and `._/-`")
    return {"name": name}


def _address(value: object) -> dict[str, Any]:
    address = text(value, "the address")
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueProblem(f"`{shown(address)}` is no `host:port`", f"write `address = {_EXAMPLES['address']}`")
    return {"host": check_host(host.removeprefix("[").removesuffix("]")), "port": int(port)}


def _url(value: object) -> dict[str, Any]:
    url = text(value, "the URL")
    hint = f"write `url = {_EXAMPLES['url']}`"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as bad:
        raise ValueProblem(f"`{shown(url)}` is no URL", hint) from bad
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueProblem(f"`{shown(url)}` is no URL of http or https", hint)
    if parts.username is not None or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueProblem("a URL here has no user, no blanks and nothing but ASCII", hint)
    check_host(parts.hostname, hint)
    return {"url": url}


def _status(value: object) -> dict[str, Any]:
    return {"status": whole(value, 100, 599)}


def _body(value: object) -> dict[str, Any]:
    wanted = text(value, "the text")
    if len(wanted) > BODY_CHARS_MAX:
        raise ValueProblem(f"the text is longer than {BODY_CHARS_MAX} characters")
    return {"body": wanted}


def _percent(value: object) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise ValueProblem(f"`{shown(str(value))}` is no percentage", "write a number from 0 to 100")
    return {"min_free_percent": float(value)}


_READERS: Mapping[str, Callable[[object], dict[str, Any]]] = {
    "name": _name,
    "interval": lambda value: {"interval_s": seconds(value, "interval", *INTERVAL_S)},
    "timeout": lambda value: {"timeout_s": seconds(value, "timeout", *INTERVAL_S)},
    "failures": lambda value: {"failures": whole(value, 1, FAILURES_MAX)},
    "successes": lambda value: {"successes": whole(value, 1, FAILURES_MAX)},
    "grace": lambda value: {"grace_s": seconds(value, "grace", 0, INTERVAL_S[1])},
    "address": _address,
    "url": _url,
    "status": _status,
    "body": _body,
    "command": lambda value: {"argv": command(value)},
    "max_age": lambda value: {"max_age_s": seconds(value, "max_age", *INTERVAL_S)},
    "path": lambda value: {"path": absolute(value, "the path", 'path = "/"')},
    "min_free_percent": _percent,
}
