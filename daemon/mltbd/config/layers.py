"""Lays the layers over each other: default, preset, TOML, environment, `--set`. Each value has an origin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mltbd.config.checks import NODE_KINDS, CheckSpec, read_checks
from mltbd.config.names import shown
from mltbd.config.options import OPTIONS, PREFIXES, Value
from mltbd.config.parsing import parse_text, parse_value
from mltbd.config.presets import PRESETS, Preset
from mltbd.config.problem import Problem, ValueProblem, error, warning
from mltbd.config.suggest import did_you_mean
from mltbd.config.toml_file import TomlFile, read_toml
from mltbd.config.workloads import WorkloadSpec, read_workloads

SETS_MAX = 200
UNKNOWN_SHOWN_MAX = 20

Layer = Literal["default", "preset", "file", "environment", "set", "derived"]
_EXPLICIT = ("file", "environment", "set")
_SERVICE_LINK_MARKS = ("_SERVICE_HOST", "_SERVICE_PORT", "_PORT_", "_TCP_", "_UDP_")


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value and where it came from: `origin` for people, `layer` for rules."""

    value: Value
    origin: str = "default"
    layer: Layer = "default"

    @property
    def explicit(self) -> bool:
        """The operator wrote it, and not by way of a preset."""
        return self.layer in _EXPLICIT

    @property
    def given(self) -> bool:
        """It comes from the operator, be it by way of a preset."""
        return self.explicit or self.layer == "preset"


@dataclass(frozen=True, slots=True)
class Layers:
    """What the operator asked for, before anything is worked out from it."""

    values: dict[str, Sourced]
    preset: Preset | None
    workloads: tuple[WorkloadSpec, ...]
    checks: tuple[CheckSpec, ...]
    """Of the node itself."""
    api_port: Sourced
    content: bytes = field(repr=False)
    """Of the file."""
    problems: tuple[Problem, ...]


def merge(
    preset: str | None,
    config: tuple[Path, bool],
    sets: Sequence[str],
    environ: Mapping[str, str],
    kept: bytes | None = None,
) -> Layers:
    """All layers in one. `config`: the file, and whether it was named. What is wrong becomes a Problem.

    `kept`: what counts as the content of the file.
    """
    file, problems = read_toml(*config, kept)
    chosen, found = _choose_preset(preset, file, environ)
    problems += found
    values = {name: Sourced(option.default) for name, option in OPTIONS.items()}
    if chosen is not None:
        for name, value in chosen.values.items():
            values[name] = Sourced(value, f"preset {chosen.name}", "preset")
    for layer in (_from_file(file), _from_environment(environ), _from_sets(sets)):
        found_values, found = layer
        values |= found_values
        problems += found
    workloads, found = read_workloads(file.workload, file.lines) if file.workload is not None else ((), [])
    problems += found
    api_port, found = _api(file)
    problems += found
    checks, found = _node_checks(file)
    problems += found
    return Layers(values, chosen, workloads, checks, api_port, file.content, tuple(problems))


def _choose_preset(flag: str | None, file: TomlFile, environ: Mapping[str, str]) -> tuple[Preset | None, list[Problem]]:
    if flag is not None:
        name, origin = flag, "--preset"
    elif environ.get("MLTB_PRESET"):
        name, origin = environ["MLTB_PRESET"], "env MLTB_PRESET"
    elif file.preset is not None:
        origin = file.origin("preset")
        if not isinstance(file.preset, str):
            return None, [error("preset", "the name of a preset is text", 'write `preset = "full_ha"`', origin)]
        name = file.preset
    else:
        return None, []
    if name in PRESETS:
        return PRESETS[name], []
    known = ", ".join(f"`{known}`" for known in PRESETS)
    hint = did_you_mean(name, PRESETS) or "run `mltbctl config presets`"
    return None, [error("preset", f"`{shown(name)}` is no preset; there are {known}", hint, origin)]


def _from_file(file: TomlFile) -> tuple[dict[str, Sourced], list[Problem]]:
    values: dict[str, Sourced] = {}
    problems = []
    for name, raw in file.options.items():
        origin = file.origin(name)
        try:
            values[name] = Sourced(parse_value(OPTIONS[name], raw), origin, "file")
        except ValueProblem as bad:
            problems.append(error(name, bad.message, bad.hint, origin))
    if file.options.get("CLUSTER_SECRET") and file.readable_by_others:
        problems.append(
            warning(
                "CLUSTER_SECRET",
                f"`{file.path}` holds the secret, and others than its owner may read it",
                f"run `chmod 600 {file.path}`, or move the secret to CLUSTER_SECRET_FILE",
                file.origin("CLUSTER_SECRET"),
            )
        )
    return values, problems


def _from_environment(environ: Mapping[str, str]) -> tuple[dict[str, Sourced], list[Problem]]:
    values: dict[str, Sourced] = {}
    problems = []
    in_kubernetes = "KUBERNETES_SERVICE_HOST" in environ
    for name in sorted(name for name in environ if name.startswith(PREFIXES)):
        origin = f"env {shown(name)}"
        option = OPTIONS.get(name)
        if option is None:
            if in_kubernetes and any(mark in name for mark in _SERVICE_LINK_MARKS):
                continue  # Kubernetes describes its services in variables like these.
            hint = did_you_mean(name, OPTIONS) or "unset it, or run `mltbctl config show --effective` for all options"
            problems.append(error(shown(name), f"`{shown(name)}` is no option", hint, origin))
            continue
        text = environ[name]
        if not text.strip() and option.kind not in ("addresses", "nodes"):
            continue  # Compose files hand over what is unset as an empty text.
        try:
            values[name] = Sourced(parse_text(option, text), origin, "environment")
        except ValueProblem as bad:
            problems.append(error(name, bad.message, bad.hint, origin))
    return values, _at_most(problems, UNKNOWN_SHOWN_MAX)


def _from_sets(sets: Sequence[str]) -> tuple[dict[str, Sourced], list[Problem]]:
    if len(sets) > SETS_MAX:
        return {}, [error("--set", f"{len(sets)} of them are more than {SETS_MAX}", "write a configuration file")]
    values: dict[str, Sourced] = {}
    problems = []
    for item in sets:
        key, equals, text = item.partition("=")
        name = key.strip().upper()
        if not equals:
            problems.append(error("--set", f"`{shown(item)}` has no `=`", "write `--set CLUSTER_PORT=7946`"))
            continue
        if name not in OPTIONS:
            table = name.partition(".")[0].lower()
            in_file = f"`[{table}]` is a table of the configuration file: see `mltbctl config init`"
            hint = in_file if table in ("workload", "api", "check") else did_you_mean(name, OPTIONS)
            problems.append(error(shown(key), f"`{shown(key)}` is no option", hint, "--set"))
            continue
        try:
            values[name] = Sourced(parse_text(OPTIONS[name], text), "--set", "set")
        except ValueProblem as bad:
            problems.append(error(name, bad.message, bad.hint, "--set"))
    if values.get("CLUSTER_SECRET", Sourced(None)).value is not None:
        problems.append(
            warning(
                "CLUSTER_SECRET",
                "a secret on the command line is shown to every user of this machine by `ps`",
                "use CLUSTER_SECRET_FILE",
                "--set",
            )
        )
    return values, problems


def _api(file: TomlFile) -> tuple[Sourced, list[Problem]]:
    nothing = Sourced(0)
    if file.api is None:
        return nothing, []
    if not isinstance(file.api, dict):
        return nothing, [error("api", "`api` is a table", "write `[api]` and below it `port = 0`", file.origin("api"))]
    problems = [
        error(
            f"api.{key}",
            f"`{key}` is no key of `[api]`",
            did_you_mean(key, ("port",)),
            file.origin(f"api.{key}"),
        )
        for key in sorted(file.api)
        if key != "port"
    ]
    port = file.api.get("port", 0)
    origin = file.origin("api.port")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        return nothing, [
            *problems,
            error("api.port", "a port from 0 to 65535 is needed", "write `port = 0`", origin),
        ]
    return Sourced(port, origin, "file"), problems


def _node_checks(file: TomlFile) -> tuple[tuple[CheckSpec, ...], list[Problem]]:
    if file.check is None:
        return (), []
    specs, found = read_checks(file.check, "check", NODE_KINDS)
    return specs, [Problem(p.level, p.key, p.message, p.hint, file.origin(p.key)) for p in found]


def _at_most(problems: Iterable[Problem], most: int) -> list[Problem]:
    found = list(problems)
    if len(found) <= most:
        return found
    last = error("environment", f"{len(found) - most} more variables are wrong")
    return [*found[:most], last]
