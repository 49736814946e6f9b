"""`mltbctl config`: check, show and write configurations. The rules are mltbd's; it is asked as a program."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mltbctl.errors import CliError
from mltbctl.result import ExitCode, Result, Style
from mltbctl.tables import wrapped

TOOL = "mltbd.config.tool"
TOOL_TIMEOUT_S = 30.0
LIST_ITEMS_SHOWN = 8


def validate(preset: str | None = None, config: str | Path | None = None, sets: Sequence[str] = ()) -> Result:
    """The verdict on the configuration from all layers. Exit code 0 when valid, warnings allowed, else 2."""
    data, code = _ask("validate", preset, config, sets)
    return Result(data, lambda style: render_verdict(data, style), code)


def show(
    preset: str | None = None,
    config: str | Path | None = None,
    sets: Sequence[str] = (),
    *,
    effective: bool = False,
    origin: bool = False,
) -> Result:
    """What was set, or with `effective` every option as it runs; with `origin` where each value came from.

    Exit code 2 when the configuration is invalid; what could be read is shown all the same.
    """
    data, code = _ask("show", preset, config, sets, *(["--effective"] if effective else []))
    return Result(data, lambda style: render_settings(data, style, origin=origin), code, rows="settings")


def presets() -> Result:
    """The presets and what each sets."""
    data, code = _ask("presets")
    return Result(data, lambda style: render_presets(data, style), code, rows="presets")


def init(preset: str | None) -> Result:
    """A commented configuration file for a preset, as text to be redirected into a file."""
    data, code = _ask("init", preset)
    return Result(data, str(data["text"]).rstrip("\n"), code)


def render_verdict(data: dict[str, Any], style: Style) -> str:
    """Each problem with its place and its remedy, then the verdict in one line."""
    found = [("error", style.red, item) for item in data["errors"]]
    found += [("warning", style.yellow, item) for item in data["warnings"]]
    lines = []
    for level, paint, item in found:
        lines.append(f"{paint(level)}: {style.bold(item['key'])}: {item['message']}")
        if item["origin"] not in ("", "default"):
            lines.append(f"  {style.dim('origin:')} {item['origin']}")
        if item["hint"]:
            lines.append(f"  {style.dim('hint:')} {item['hint']}")
        lines.append("")
    verdict = style.green("valid") if data["valid"] else style.red("invalid")
    counts = [_count(data["errors"], "error"), _count(data["warnings"], "warning")]
    about = ", ".join(count for count in counts if count)
    sources = [f"preset {data['preset']}" if data["preset"] else "", data["config"] or ""]
    source = " and ".join(part for part in sources if part)
    return "\n".join([*lines, verdict + (f": {about}" if about else "") + (f" ({source})" if source else "")])


def render_settings(data: dict[str, Any], style: Style, *, origin: bool) -> str:
    """One `KEY = value` a line, then what is wrong with them, if anything."""
    rows = [(str(row["key"]), _value(row["value"]), str(row["origin"])) for row in data["settings"]]
    keys = max((len(key) for key, _, _ in rows), default=0)
    values = max((len(value) for _, value, _ in rows), default=0)
    lines = [
        f"{style.bold(key.ljust(keys))} = {value.ljust(values)}  {style.dim(source)}" if origin
        else f"{style.bold(key.ljust(keys))} = {value}"
        for key, value, source in rows
    ]  # fmt: skip
    if not rows:
        lines.append("nothing is set: all options have their defaults (`--effective` lists them)")
    if not data["valid"]:
        lines += ["", render_verdict(data | {"warnings": []}, style)]
    return "\n".join(lines)


def render_presets(data: dict[str, Any], style: Style) -> str:
    """Each preset in a paragraph."""
    paragraphs = []
    for preset in data["presets"]:
        nodes = f"{preset['nodes']} {'node' if preset['nodes'] == '1' else 'nodes'}"
        lines = wrapped(preset["doc"], style, f"{preset['name']} ({nodes}): ")
        lines[0] = lines[0].replace(preset["name"], style.bold(preset["name"]), 1)
        lines += [f"  {name} = {_value(value)}" for name, value in preset["values"].items()]
        if preset["runs_without"]:
            missing = wrapped(", ".join(preset["runs_without"]), style, "  not in this version: ", 4)
            lines += [missing[0].replace("not in this version", style.yellow("not in this version")), *missing[1:]]
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def _ask(
    command: str,
    preset: str | None = None,
    config: str | Path | None = None,
    sets: Sequence[str] = (),
    *more: str,
) -> tuple[dict[str, Any], ExitCode]:
    """The tool's answer. Raises CliError when there is none, or when the tool was called wrongly."""
    argv = [sys.executable, "-P", "-m", TOOL, command, *more]
    argv += [f"--preset={preset}"] if preset else []
    argv += [f"--config={config}"] if config else []
    argv += [f"--set={item}" for item in sets]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=False
        )
    except ValueError:
        raise CliError("a zero byte is among the arguments", code="usage") from None
    except (OSError, subprocess.TimeoutExpired) as cause:
        raise CliError(f"cannot run `{TOOL}`: {cause}") from None
    try:
        data = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        raise CliError(f"`{TOOL}` gave no answer: {last}", "install mltbctl anew: both come in one package") from None
    if not isinstance(data, dict):
        raise CliError(f"`{TOOL}` gave no object")
    if wrong := data.get("error"):
        raise CliError(str(wrong["message"]), str(wrong["hint"]), code="usage")
    return data, ExitCode(done.returncode)


def _count(items: Sequence[object], word: str) -> str:
    return f"{len(items)} {word}{'' if len(items) == 1 else 's'}" if items else ""


def _value(value: object) -> str:
    match value:
        case None:
            return "(none)"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case list():
            more = f", ... {len(value) - LIST_ITEMS_SHOWN} more" if len(value) > LIST_ITEMS_SHOWN else ""
            return f"[{', '.join(_value(item) for item in value[:LIST_ITEMS_SHOWN])}{more}]"
        case dict():
            return f"{{{', '.join(f'{key}: {_value(item)}' for key, item in value.items())}}}"
        case _:
            return str(value)
