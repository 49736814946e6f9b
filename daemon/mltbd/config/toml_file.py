"""Reads mltb.toml: options, the preset, the workloads, and on which line each stands."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mltb_transport.regular import regular
from mltbd.config.names import shown
from mltbd.config.options import OPTIONS
from mltbd.config.problem import Problem, error
from mltbd.config.suggest import did_you_mean

FILE_BYTES_MAX = 1 << 20
DEPTH_MAX = 16
TABLES = ("preset", "workload", "api", "check")
"""What a file may hold beside options."""

_HEADER = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""\s*("[^"]+"|'[^']+'|[A-Za-z0-9_.-]+)\s*=""")


@dataclass(frozen=True, slots=True)
class TomlFile:
    """What a file holds: raw values by option name in capitals; `lines` has `path:line` by dotted key."""

    path: Path | None = None
    options: dict[str, object] = field(default_factory=dict)
    preset: object = None
    workload: object = None
    api: object = None
    check: object = None
    lines: dict[str, str] = field(default_factory=dict)
    readable_by_others: bool = False
    content: bytes = field(default=b"", repr=False)

    def origin(self, key: str) -> str:
        """`path:line` of a key, or the path alone."""
        return self.lines.get(key, str(self.path) if self.path else "")


def read_toml(path: Path, named: bool, kept: bytes | None = None) -> tuple[TomlFile, list[Problem]]:
    """The file's content, and what is wrong with its keys. A file that was not named may be absent.

    With `kept` the file counts as having this content, whatever it has by now.
    """
    where = str(path)
    try:
        content, mode = _read(path) if kept is None else (kept, 0)
    except FileNotFoundError:
        if not named:
            return TomlFile(), []
        return TomlFile(), [
            error("config", f"there is no file `{where}`", "run `mltbctl config init --preset full_ha > mltb.toml`")
        ]
    except (OSError, ValueError) as cause:
        reason = getattr(cause, "strerror", None) or str(cause)
        return TomlFile(), [error("config", f"cannot read `{where}`: {reason.lower()}", "", where)]
    if len(content) > FILE_BYTES_MAX:
        return TomlFile(content=content), [
            error("config", f"`{where}` is larger than {FILE_BYTES_MAX} bytes", "", where)
        ]
    try:
        text = content.decode("utf-8")
        table = _parse(text)
    except UnicodeDecodeError as cause:
        return TomlFile(content=content), [error("config", f"`{where}` is not UTF-8 at byte {cause.start}", "", where)]
    except (ValueError, RecursionError) as cause:
        reason = "nested too deeply" if isinstance(cause, RecursionError) else str(cause)
        reason = f"`{where}` is not TOML: {reason[:1].lower()}{reason[1:]}"
        return TomlFile(content=content), [error("config", reason, "", where)]
    file, problems = _sort_out(path, table, _lines(text, where))
    readable = bool(mode & (stat.S_IRGRP | stat.S_IROTH))
    return replace(file, content=content, readable_by_others=readable), problems


def _read(path: Path) -> tuple[bytes, int]:
    """The content, as far as it is looked at, and the mode."""
    with open(path, "rb", opener=regular) as file:
        return file.read(FILE_BYTES_MAX + 1), path.stat().st_mode


def _parse(text: str) -> dict[str, Any]:
    import tomllib  # Only a node with a file pays for it.

    table = tomllib.loads(text)
    _check(table)
    return table


def _check(table: dict[str, Any]) -> None:
    """Raises ValueError for what Python could read, but not say again: numbers beyond those of TOML, and depths."""
    level: list[tuple[str, object]] = [("", table)]
    for _ in range(DEPTH_MAX):
        below: list[tuple[str, object]] = []
        for key, value in level:
            if isinstance(value, dict):
                below += value.items()
            elif isinstance(value, list):
                below += ((key, item) for item in value)
            elif isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise ValueError(f"the number of `{shown(key)}` has more than 64 bits")
        level = below
    if level:
        raise ValueError("nested too deeply")


def _sort_out(path: Path, table: dict[str, Any], lines: dict[str, str]) -> tuple[TomlFile, list[Problem]]:
    options: dict[str, object] = {}
    rest: dict[str, Any] = {}
    problems = []
    for key, value in table.items():
        origin = lines.get(key, str(path))
        if key.lower() in TABLES and key.lower() not in rest:
            rest[key.lower()] = value
        elif (name := key.upper()) not in OPTIONS:
            hint = did_you_mean(key, (*OPTIONS, *TABLES)) or "run `mltbctl config show --effective` for all options"
            problems.append(error(key, f"`{key}` is no option", hint, origin))
        elif name in options:
            problems.append(error(name, f"`{name}` is set twice, in capitals and in small letters", "", origin))
        else:
            options[name] = value
            lines[name] = origin
    return TomlFile(path, options, lines=lines, **rest), problems


def _lines(text: str, where: str) -> dict[str, str]:
    """Where each key stands, as far as a glance can tell; for people, so a miss is no harm."""
    found: dict[str, str] = {}
    prefix = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            name = header.group(1).replace('"', "").replace("'", "")
            prefix = f"{name}."
            found.setdefault(name, f"{where}:{number}")
        elif key := _KEY.match(line):
            name = key.group(1).strip("\"'")
            found.setdefault(f"{prefix}{name}", f"{where}:{number}")
    return found
