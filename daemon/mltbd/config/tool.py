"""The configuration as a program: `python -m mltbd.config.tool COMMAND` prints one JSON object.

Exit code 0 when the configuration is valid, 2 when it is not or the arguments are wrong.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mltbd.config import leaving
from mltbd.config.checks import KINDS, CheckSpec
from mltbd.config.layers import Sourced
from mltbd.config.names import shown
from mltbd.config.options import OPTIONS, Value
from mltbd.config.presets import PRESETS, Preset
from mltbd.config.problem import Problem, errors, warnings
from mltbd.config.settings import Loaded, load
from mltbd.config.suggest import did_you_mean
from mltbd.config.template import toml_for
from mltbd.config.workloads import WorkloadSpec

VALID, INVALID = 0, 2
COMMANDS = ("validate", "show", "presets", "init")
SET = "(set)"
"""Shown instead of a secret."""

OWN_NUMBERS = {"status": "status", "max_age": "max_age_s", "min_free_percent": "min_free_percent"}
"""Of some kinds of checks, and what they are called in a CheckSpec."""

Answer = tuple[dict[str, Any], int]


@dataclass(slots=True)
class Arguments:
    """The command line, taken apart."""

    command: str
    preset: str | None = None
    config: Path | None = None
    sets: list[str] = field(default_factory=list)
    effective: bool = False


class UsageError(ValueError):
    """Arguments that cannot be understood."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def answer(argv: Sequence[str], environ: Mapping[str, str]) -> Answer:
    """The JSON object and the exit code for these arguments. Never raises for what an operator wrote."""
    try:
        arguments = parse_arguments(argv)
        match arguments.command:
            case "presets":
                return {"presets": [describe(preset) for preset in PRESETS.values()]}, VALID
            case "init":
                return _init(arguments)
            case _:
                loaded = load(arguments.preset, arguments.config, arguments.sets, environ)
                verdict = _verdict(loaded)
                if arguments.command == "show":
                    verdict["service_stop_seconds"] = leaving.service_s(loaded.workloads)
                    verdict = {"settings": settings_of(loaded, arguments.effective)} | verdict
                return verdict, VALID if verdict["valid"] else INVALID
    except UsageError as wrong:
        return {"error": {"code": "usage", "message": wrong.message, "hint": wrong.hint}}, INVALID


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """The command and its options. Raises UsageError."""
    if not argv or argv[0] not in COMMANDS:
        raise UsageError("a command is needed", f"one of {', '.join(f'`{name}`' for name in COMMANDS)}")
    arguments = Arguments(argv[0])
    rest = list(argv[1:])
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if flag == "--effective" and not equals:
            arguments.effective = True
            continue
        if flag not in ("--preset", "--config", "--set"):
            raise UsageError(
                f"`{shown(flag)}` is no option here", did_you_mean(flag, ("--preset", "--config", "--set"))
            )
        if not equals:
            if not rest:
                raise UsageError(f"`{flag}` needs a value")
            value = rest.pop(0)
        if flag == "--set":
            arguments.sets.append(value)
        elif flag == "--config":
            arguments.config = Path(value)
        else:
            arguments.preset = value
    return arguments


def settings_of(loaded: Loaded, effective: bool) -> list[dict[str, Any]]:
    """Each option as it runs, or only those that were given, as they were given. Secrets are not in it."""
    source = loaded.effective if effective else loaded.asked
    found = [
        {
            "key": name,
            "value": _printable(name, sourced),
            "origin": sourced.origin,
            "default": _plain(OPTIONS[name].default),
            "unit": OPTIONS[name].unit,
            "feature": OPTIONS[name].feature,
            "built": OPTIONS[name].built,
            "doc": OPTIONS[name].doc,
        }
        for name, sourced in source.items()
        if effective or sourced.given
    ]
    found += [row for workload in loaded.workloads for row in _workload_rows(workload, loaded.config_path)]
    return found + [_check_row(check, loaded.config_path) for check in loaded.checks]


def describe(preset: Preset) -> dict[str, Any]:
    """A preset, the values it sets, and what this version lacks of it."""
    missing = {
        OPTIONS[name].feature
        for name, value in preset.values.items()
        if not OPTIONS[name].built and value != OPTIONS[name].default
    }
    return {
        "name": preset.name,
        "nodes": preset.nodes,
        "doc": preset.doc,
        "values": {name: _plain(value) for name, value in preset.values.items()},
        "runs_without": sorted(missing),
    }


def main() -> int:
    """Entry point: prints the answer."""
    body, code = answer(sys.argv[1:], os.environ)
    json.dump(body, sys.stdout, ensure_ascii=True)
    sys.stdout.write("\n")
    return code


def _init(arguments: Arguments) -> Answer:
    known = ", ".join(f"`{name}`" for name in PRESETS)
    if arguments.preset is None:
        raise UsageError(f"a preset is needed: {known}", "run `mltbctl config init --preset simple_failover`")
    preset = PRESETS.get(arguments.preset)
    if preset is None:
        hint = did_you_mean(arguments.preset, PRESETS) or "run `mltbctl config presets`"
        raise UsageError(f"`{shown(arguments.preset)}` is no preset; there are {known}", hint)
    return {"preset": preset.name, "text": toml_for(preset)}, VALID


def _verdict(loaded: Loaded) -> dict[str, Any]:
    return {
        "valid": loaded.settings is not None,
        "errors": [_problem(problem) for problem in errors(loaded.problems)],
        "warnings": [_problem(problem) for problem in warnings(loaded.problems)],
        "preset": loaded.preset,
        "config": str(loaded.config_path) if os.path.isfile(loaded.config_path) else None,
    }


def _problem(problem: Problem) -> dict[str, str]:
    return {
        "key": problem.key,
        "message": problem.message,
        "hint": problem.hint,
        "origin": problem.origin,
    }


def _workload_rows(workload: WorkloadSpec, config: Path) -> list[dict[str, Any]]:
    """One row a key. Of the environment only the names: its values are where bots keep their tokens."""
    values: dict[str, Any] = {
        "command": list(workload.argv),
        "cwd": workload.cwd,
        "env": {name: SET for name, _ in workload.env},
        "inherit": list(workload.inherit),
        "singleton": workload.singleton,
        "stop_timeout": workload.stop_timeout_s,
        "stop_signal": workload.stop_signal,
        "preferred": list(workload.preferred),
        "hooks": {name: list(argv) for name, argv in workload.hooks}
        | ({"timeout": workload.hook_timeout_s} if workload.hooks else {}),
    }
    return [
        {
            "key": f"workload.{workload.name}.{part}",
            "value": value,
            "origin": str(config),
            "feature": "workload",
        }
        for part, value in values.items()
    ]


def _check_row(check: CheckSpec, config: Path) -> dict[str, Any]:
    """Its numbers as it runs. Not what it looks at: a URL may have a bot's token in it."""
    value: dict[str, Any] = {
        "kind": check.kind,
        "interval": check.interval_s,
        "timeout": check.timeout_s,
        "failures": check.failures,
        "successes": check.successes,
        "grace": check.grace_s,
    }
    value |= {part: getattr(check, name) for part, name in OWN_NUMBERS.items() if part in KINDS[check.kind]}
    of = f"workload.{check.workload}." if check.workload else ""
    return {"key": f"{of}check.{check.name}", "value": value, "origin": str(config), "feature": "health"}


def _printable(name: str, sourced: Sourced) -> Any:
    if OPTIONS[name].secret:
        return SET if sourced.value else None
    return _plain(sourced.value)


def _plain(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value


if __name__ == "__main__":
    sys.exit(main())
