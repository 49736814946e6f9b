"""`mltbctl bundle`: one file with all that a helper asks for, and nothing that must not leave the machine."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mltbctl.errors import CliError, MltbError
from mltbctl.result import Result

if TYPE_CHECKING:
    from mltbctl.client import Client

EVENTS_MAX = 500
PART_BYTES_MAX = 4 * 1024 * 1024
HIDDEN = "[hidden]"
_WORDS = r"(?:token|pass|passwd|password|passphrase|pwd|secret|key)"
_SECRETS = (
    re.compile(r"mltb1-(?:[a-z]+-)?[a-z2-7]{20,}"),  # ours
    re.compile(r"mltbj1-[A-Za-z0-9_-]+"),  # what lets a machine join holds ours
    re.compile(r"\b\d{6,12}:[A-Za-z0-9_-]{30,}"),  # of Telegram bots
    re.compile(r"(?<=://)[^\s\"']+(?=@)"),  # in addresses of databases, with a user or without
    re.compile(rf"(?i)(?P<kept>{_WORDS}[\\\"']*\s*[=:]\s*\\*[\"']?)(?:(?<=\")[^\"]+|(?<=')[^']+|[^\s\"'&]+)"),
    re.compile(r"(?i)(?P<kept>\bauthorization[\\\"']*\s*[=:][\s\\\"']*(?:[a-z]+\s+)?)[^\n\"']+"),
    re.compile(r"(?i)(?P<kept>\bbearer )[^\s\"'&]+"),
    re.compile(rf"(?i)(?<!\S)(?P<kept>--?[a-z-]*{_WORDS}[=\s]+)[^\s\"']+"),
)
_QUOTED = re.compile(r"`.*`", re.DOTALL)


def scrub(text: str) -> str:
    """Without anything that looks like a secret."""
    for pattern in _SECRETS:
        text = pattern.sub(lambda found: found.groupdict().get("kept", "") + HIDDEN, text)
    return text


def scrubbed(value: Any) -> Any:
    """The same of JSON: each text in it."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {scrub(str(name)): scrubbed(item) for name, item in value.items()}
    return [scrubbed(item) for item in value] if isinstance(value, list | tuple) else value


def bundle(client: Client, config: str, file: str) -> Result:
    """Collect what can be had into a new tar.gz; a part that cannot be had says why. Nothing is sent anywhere."""
    parts = {
        "about.json": _part(about),
        "status.json": _part(client.status),
        "doctor.json": _part(lambda: _doctor(client)),
        "survey.json": _part(client.survey),
        "events.json": _part(lambda: client.events(newest=EVENTS_MAX)),
        "config.json": _part(lambda: _config(config)),
    }
    path = Path(file or time.strftime("mltb-bundle-%Y%m%d-%H%M%S.tar.gz", time.gmtime()))
    try:
        size = write(path, parts)
    except FileExistsError:
        raise CliError(f"`{path}` exists: it stays as it is", "name another one with `--file`") from None
    except OSError as error:
        raise CliError(f"cannot write `{path}`: {(error.strerror or '').lower()}") from None
    missing = [name for name, text in parts.items() if text.startswith('{"missing"')]
    data = {"file": str(path), "bytes": size, "parts": list(parts), "missing": missing}
    lacks = f"; without {', '.join(missing)}" if missing else ""
    return Result(data, f"wrote {path} ({size} bytes{lacks}): look through it before you send it")


def about() -> dict[str, Any]:
    """This machine and this program."""
    from mltbctl.commands.version import version

    return {
        **version().data,
        "python": sys.version,
        "platform": platform.platform(),
        "load": os.getloadavg(),
        "user": os.geteuid(),
    }


def write(path: Path, parts: dict[str, str]) -> int:
    """A new file, mode 0600, of these parts; its size. FileExistsError rather than overwrite."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for name, text in parts.items():
            content = text.encode()[:PART_BYTES_MAX]
            entry = tarfile.TarInfo(f"{path.name.removesuffix('.tar.gz')}/{name}")
            entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(content))
    return path.stat().st_size


def _part(ask: Callable[[], dict[str, Any]]) -> str:
    try:
        return json.dumps(scrubbed(ask()), indent=2)
    except (MltbError, OSError) as error:
        return json.dumps({"missing": scrub(str(error))})


def _doctor(client: Client) -> dict[str, Any]:
    from mltbctl.commands.doctor import doctor

    return doctor(client, None, strict=False).data


def _config(config: str) -> dict[str, Any]:
    from mltbctl.commands.config import show

    data = show(None, config or None, [], effective=True).data
    for row in data["settings"]:
        if row["key"].endswith(".command"):
            row["value"] = _bare(row["value"])
        elif row["key"].endswith(".hooks"):
            row["value"] = {name: _bare(value) for name, value in row["value"].items()}
    for problem in (*data["errors"], *data["warnings"]):
        if not problem["key"].isupper():  # Of a workload or a check: it may quote what was written there.
            problem |= {part: _QUOTED.sub(f"`{HIDDEN}`", problem[part]) for part in ("message", "hint")}
    return data


def _bare(argv: Any) -> Any:
    """A command by its first word alone: any other may be a secret, whatever it looks like."""
    return [*argv[:1], *[HIDDEN] * len(argv[1:])] if isinstance(argv, list) else argv
