"""The processes a node may be asked to run: `[workload.NAME]` tables of the TOML become WorkloadSpecs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mltbd.config.checks import WORKLOAD_KINDS, CheckSpec, read_checks
from mltbd.config.fields import absolute, command, seconds, text, texts
from mltbd.config.names import NAME, NODE_ID_CHARS_MAX, check_node_id, shown
from mltbd.config.problem import Problem, ValueProblem, error
from mltbd.config.suggest import did_you_mean
from mltbd.orders import HOOKS, NAME_CHARS_MAX, STOP_SIGNALS, WITHHELD
from mltbd.state.copies import copy_name

WORKLOADS_MAX = 16
VARIABLES_MAX = 256
PREFERRED_MAX = 64
STOP_TIMEOUT_MAX_S = 300.0
STOP_TIMEOUT_S = 1.0
HOOK_TIMEOUT_S = 10.0
HOOK_TIMEOUT_MAX_S = 300.0
COPY_NAME_CHARS_MAX = NAME_CHARS_MAX - NODE_ID_CHARS_MAX - 1

INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
"""What a workload sees of the daemon's environment unless `inherit` says otherwise."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_KEYS = ("command", "cwd", "env", "inherit", "singleton", "stop_timeout", "preferred", "check", "hooks", "stop_signal")


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """One process: a singleton on at most one node, any other once on each. `argv` is never seen by a shell."""

    name: str
    argv: tuple[str, ...]
    cwd: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    inherit: tuple[str, ...] = INHERITED
    stop_timeout_s: float = STOP_TIMEOUT_S
    """From SIGTERM to SIGKILL of a planned stop."""
    preferred: tuple[str, ...] = ()
    """Node ids, best first; then the others by priority."""
    stop_timeout_given: bool = False
    checks: tuple[CheckSpec, ...] = ()
    hooks: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Commands by name, in the order in which they run."""
    hook_timeout_s: float = HOOK_TIMEOUT_S
    stop_signal: str = "SIGTERM"
    singleton: bool = True

    @property
    def longest_stop_s(self) -> float:
        """A planned stop. `pre_stop` takes of the stop timeout, `post_stop` comes after it."""
        return self.stop_timeout_s + ("post_stop" in dict(self.hooks)) * self.hook_timeout_s

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """All variables of the process but those the daemon adds (MLTB_NODE_ID and the like)."""
        inherited = {name: environ[name] for name in self.inherit if name in environ and name not in WITHHELD}
        return inherited | dict(self.env)


def read_workloads(raw: object, lines: Mapping[str, str]) -> tuple[tuple[WorkloadSpec, ...], list[Problem]]:
    """The workloads of a `workload` table, sorted by name. `lines` maps dotted keys to `path:line`."""
    if not isinstance(raw, dict):
        return (), [error("workload", "workloads are tables", "write `[workload.main]`", lines.get("workload", ""))]
    if len(raw) > WORKLOADS_MAX:
        return (), [error("workload", f"{len(raw)} workloads, but a node runs {WORKLOADS_MAX} at the most")]
    specs: list[WorkloadSpec] = []
    problems: list[Problem] = []
    for name in sorted(raw):
        key = f"workload.{name}"
        spec, found = _read_one(name, raw[name])
        problems += [Problem(p.level, p.key, p.message, p.hint, lines.get(p.key, lines.get(key, ""))) for p in found]
        if spec is not None:
            specs.append(spec)
    return tuple(specs), problems


def _read_one(name: str, raw: object) -> tuple[WorkloadSpec | None, list[Problem]]:
    key = f"workload.{name}"
    if not NAME.fullmatch(name):
        return None, [error("workload", f"`{shown(name)}` is no name for a workload", "use letters, digits and `._/-`")]
    if not isinstance(raw, dict):
        return None, [error(key, "a workload is a table", f"write `[{key}]` and below it `command = [...]`")]
    problems = [
        error(f"{key}.{unknown}", f"`{unknown}` is no key of a workload", did_you_mean(unknown, _KEYS))
        for unknown in sorted(set(raw) - set(_KEYS))
    ]
    found: dict[str, Any] = {}
    for part, read in _READERS.items():
        if part not in raw:
            continue
        try:
            found[part] = read(raw[part])
        except ValueProblem as bad:
            problems.append(error(f"{key}.{part}", bad.message, bad.hint))
    checks, wrong = read_checks(raw.get("check", []), f"{key}.check", WORKLOAD_KINDS, name)
    problems += wrong
    if "command" not in raw:
        problems.append(error(f"{key}.command", "what to run is missing", 'write `command = ["python3", "-m", "bot"]`'))
    if not found.get("singleton", True) and len(name) > COPY_NAME_CHARS_MAX:
        why = f"a workload that runs on every node has a name of at most {COPY_NAME_CHARS_MAX} characters"
        problems.append(error(f"{key}.singleton", why, "give it a shorter name"))
    if problems:
        return None, problems
    return WorkloadSpec(
        name=name,
        argv=found["command"],
        cwd=found.get("cwd"),
        env=found.get("env", ()),
        inherit=found.get("inherit", INHERITED),
        stop_timeout_s=found.get("stop_timeout", STOP_TIMEOUT_S),
        preferred=found.get("preferred", ()),
        stop_timeout_given="stop_timeout" in found,
        checks=checks,
        **found.get("hooks", {}),
        stop_signal=found.get("stop_signal", "SIGTERM"),
        singleton=found.get("singleton", True),
    ), []


def on_node(specs: tuple[WorkloadSpec, ...], node: str) -> tuple[WorkloadSpec, ...]:
    """What this node may be asked to run: singletons as they are written, of all others its own copies."""
    return tuple(spec if spec.singleton else _copy(spec, copy_name(spec.name, node)) for spec in specs)


def _copy(spec: WorkloadSpec, name: str) -> WorkloadSpec:
    return replace(spec, name=name, checks=tuple(replace(check, workload=name) for check in spec.checks))


def _cwd(value: object) -> str:
    return absolute(value, "the directory", 'cwd = "/srv/bot"')


def _env(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise ValueProblem("`env` is a table of names and texts", 'write `env = { NAME = "text" }`')
    if len(value) > VARIABLES_MAX:
        raise ValueProblem(f"{len(value)} variables are more than {VARIABLES_MAX}")
    pairs = []
    for name in sorted(value):
        _variable(name)
        item = value[name]
        plain = str(item) if isinstance(item, int) and not isinstance(item, bool) else item
        pairs.append((name, text(plain, f"`{name}`")))
    return tuple(pairs)


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueProblem(f"`{shown(name)}` is no name of an environment variable")
    if name in WITHHELD:
        raise ValueProblem(f"`{name}` is never given to a workload", "take it out of the list")
    return name


def _inherit(value: object) -> tuple[str, ...]:
    return tuple(_variable(name) for name in texts(value, "name", VARIABLES_MAX))


def _singleton(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueProblem("`singleton` is true or false", "set `singleton = true`, or leave it out")


def _stop_timeout(value: object) -> float:
    return seconds(value, "stop_timeout", 0, STOP_TIMEOUT_MAX_S)


def _preferred(value: object) -> tuple[str, ...]:
    nodes = texts(value, "node", PREFERRED_MAX)
    for node in nodes:
        check_node_id(node)
    if len(set(nodes)) != len(nodes):
        raise ValueProblem("the same node is named twice")
    return nodes


def _hooks(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueProblem("hooks are a table", 'write `hooks = { pre_start = ["/usr/local/bin/prepare"] }`')
    known = (*HOOKS, "timeout")
    for name in sorted(set(value) - set(known)):
        raise ValueProblem(f"`{shown(str(name))}` is no hook", did_you_mean(str(name), known))
    found: dict[str, Any] = {"hooks": tuple((name, command(value[name])) for name in HOOKS if name in value)}
    if "timeout" in value:
        found["hook_timeout_s"] = seconds(value["timeout"], "timeout", 0.1, HOOK_TIMEOUT_MAX_S)
    return found


def _stop_signal(value: object) -> str:
    name = text(value, "the signal")
    if name not in STOP_SIGNALS:
        raise ValueProblem(f"`{shown(name)}` is no signal to stop by", f"use one of {', '.join(STOP_SIGNALS)}")
    return name


_READERS: Mapping[str, Callable[[object], Any]] = {
    "command": command,
    "cwd": _cwd,
    "env": _env,
    "inherit": _inherit,
    "singleton": _singleton,
    "stop_timeout": _stop_timeout,
    "preferred": _preferred,
    "hooks": _hooks,
    "stop_signal": _stop_signal,
}
