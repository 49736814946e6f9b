"""`mltbctl service`: the systemd unit of a node, written, shown, taken away."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mltbctl.errors import CliError
from mltbctl.operation import confirm, require_terminal
from mltbctl.result import Result

if TYPE_CHECKING:
    from mltbctl.client import Client
    from mltbctl.session import Session

NAME = "mltbd.service"
MARK = "# Made by `mltbctl service install`: change it with `systemctl edit mltbd`, not here."
SYSTEM_DIRECTORY = Path("/etc/systemd/system")
PROGRAM = "/usr/bin/mltbd"
SYSTEMCTL_S = 60.0


@dataclass(frozen=True, slots=True)
class Wish:
    """Which unit: of the system or of this user, run as whom, and the configuration it names."""

    user: bool = False
    run_as: str = ""
    config: str = ""


def show(wish: Wish) -> Result:
    """The unit as `install` would write it."""
    _check(wish)
    text = unit(wish, _program(), stop_timeout_s(wish.config))
    return Result({"path": str(_path(wish)), "unit": text}, text.rstrip("\n"))


def install(session: Session, wish: Wish, *, now: bool) -> Result:
    """Write the unit and let systemd read it; with `now` enable and start it too."""
    _check(wish)
    path = _path(wish)
    systemctl = _systemctl(wish)
    text = unit(wish, _program(), stop_timeout_s(wish.config))
    _check_ours(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        hint = "run it with `sudo`, or install for this user alone with `--user`"
        raise CliError(f"cannot write `{path}`: {(error.strerror or '').lower()}", "" if wish.user else hint) from None
    _run([*systemctl, "daemon-reload"])
    if now:
        _run([*systemctl, "enable", "--now", NAME], patient=True)
    else:
        session.say(f"start it with `{' '.join(systemctl)} enable --now mltbd`")
    if wish.run_as:
        session.say(f"the secret file must belong to {wish.run_as}, with mode 600")
    if wish.user:
        session.say("it ends when you log out, unless `loginctl enable-linger` is run once")
    return Result({"path": str(path), "started": now}, f"wrote {path}" + (", enabled and started" if now else ""))


def uninstall(wish: Wish, *, yes: bool) -> Result:
    """Stop the node (its workload is handed over) and take the unit away. State and configuration stay."""
    path = _path(wish)
    if not path.exists():
        return Result({"path": str(path), "removed": False}, f"nothing to do: there is no {path}")
    _check_ours(path)
    if not yes:
        require_terminal()
        confirm("mltbd")
    systemctl = _systemctl(wish)
    _run([*systemctl, "disable", "--now", NAME], patient=True)
    try:
        path.unlink()
    except OSError as error:
        raise CliError(f"cannot remove `{path}`: {(error.strerror or '').lower()}") from None
    _run([*systemctl, "daemon-reload"])
    return Result({"path": str(path), "removed": True}, f"stopped, and removed {path}; state and configuration stay")


def reload(client: Client) -> Result:
    """As SIGHUP, whatever started the node."""
    node = client.reload()["node"]
    return Result({"node": node, "reloading": True}, f"{node} reads its configuration anew")


def stop_timeout_s(config: str) -> float:
    """How long a graceful stop of a node with this configuration may take, and a margin. CliError if it is invalid."""
    from mltbctl.commands.config import show as config_show

    shown: dict[str, Any] = config_show(None, config or None).data
    if shown["errors"]:
        first = shown["errors"][0]
        raise CliError(
            f"the configuration is invalid: {first['key']}: {first['message']}",
            "run `mltbctl config validate" + (f" --config {config}`" if config else "`"),
            code="usage",
        )
    return float(shown["service_stop_seconds"])


def unit(wish: Wish, program: str, timeout_s: float) -> str:
    """The text of the unit."""
    run = f"{_quoted(program)} run" + (f" --config {_quoted(os.path.abspath(wish.config))}" if wish.config else "")
    who = _RUN_AS.format(user=wish.run_as) if wish.run_as else ""
    sandbox = _USER if wish.user else _SYSTEM
    target = "default.target" if wish.user else "multi-user.target"
    network = "" if wish.user else "Wants=network-online.target\nAfter=network-online.target\n"
    return f"""{MARK}
[Unit]
Description=mltbd, one node of a cluster that runs a process exactly once
{network}# A node that cannot start tries on for ever: its port or its network may come later.
StartLimitIntervalSec=0

[Service]
# READY comes when the journal is open, the ports are bound and guard and daemon have met.
Type=notify
# Only the guard speaks to systemd. A workload never learns where, so it cannot keep a hung node alive.
NotifyAccess=main
ExecStart={run}
ExecReload=/bin/kill -HUP $MAINPID
{who}# SIGTERM must reach the guard alone: it hands the workload over while daemon and workload still run. What is left
# after TimeoutStopSec, anywhere in the cgroup, is killed.
KillMode=mixed
TimeoutStopSec={math.ceil(timeout_s)}
# Fed by decisions, not by a timer. The lease has ended the workload of a hung daemon long before; this brings the
# node back.
WatchdogSec=30
Restart=on-failure
RestartSec=2
# 2: the configuration is invalid. That takes a person.
RestartPreventExitStatus=2
# A workload that eats the memory is the guard's to judge; it must not take the node with it.
OOMPolicy=continue
# The guard kills by cgroup, so it needs one of its own that it may write to: no ProtectControlGroups.
Delegate=yes
{sandbox}
[Install]
WantedBy={target}
"""


def _quoted(word: str) -> str:
    """One word of a command line as systemd reads it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    is_plain = escaped == word and "'" not in word and not any(map(str.isspace, word))
    return escaped if is_plain else f'"{escaped}"'


# Another user than root would look in its own directories.
_RUN_AS = """User={user}
Environment=MLTB_STATE_DIR=%S/mltb MLTB_RUNTIME_DIR=%t/mltb MLTB_CONFIG=%E/mltb/mltb.toml
"""
_SYSTEM = """StateDirectory=mltb
StateDirectoryMode=0700
RuntimeDirectory=mltb
RuntimeDirectoryMode=0700
ConfigurationDirectory=mltb
UMask=0077

# The workload lives in this sandbox too, so nothing here hides home directories or forbids what bots do. Where it is
# too tight (`rclone mount`, `sudo`), loosen it: `systemctl edit mltbd`.
NoNewPrivileges=yes
ProtectSystem=full
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
"""
_USER = """UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
"""


def _check(wish: Wish) -> None:
    if wish.user and wish.run_as:
        raise CliError("a unit of your own runs as you: `--run-as` goes without `--user`", code="usage")
    if wish.run_as and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}", wish.run_as):
        raise CliError(f"`{wish.run_as}` is no name of a user", code="usage")


def _path(wish: Wish) -> Path:
    if not wish.user:
        return SYSTEM_DIRECTORY / NAME
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "systemd" / "user" / NAME


def _program() -> str:
    """Where `mltbd` is: beside this program, else on the path."""
    beside = Path(sys.argv[0]).resolve().with_name("mltbd")
    near = Path(sys.executable).with_name("mltbd")
    found = next((str(path) for path in (beside, near) if path.is_file()), None) or shutil.which("mltbd")
    return found or PROGRAM


def _check_ours(path: Path) -> None:
    """A unit that somebody else wrote stays."""
    try:
        head = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    except FileNotFoundError:
        return
    except OSError as error:
        raise CliError(f"cannot read `{path}`: {(error.strerror or '').lower()}", "run it with `sudo`") from None
    if head != MARK:
        raise CliError(f"`{path}` was not made by mltbctl: it stays as it is", f"move it away: `mv {path} {path}.old`")


def _systemctl(wish: Wish) -> list[str]:
    if shutil.which("systemctl") is None:
        raise CliError("no systemctl here", "without systemd, let something else start `mltbd run` and restart it")
    return ["systemctl", *(["--user"] if wish.user else [])]


def _run(argv: list[str], *, patient: bool = False) -> None:
    """`patient`: a node starts or stops, and systemd has limits for that, from the unit and what was added to it."""
    limit_s = None if patient else SYSTEMCTL_S
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise CliError(f"`{' '.join(argv)}` takes longer than {SYSTEMCTL_S:g} s", code="timeout") from None
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        raise CliError(f"`{' '.join(argv)}`: {last}", "see `journalctl -u mltbd`")
