"""Where the daemon is and which secret opens it: options, then environment, then files. It only reads."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mltb_transport import places
from mltbctl.errors import CliError, Unreachable

TIMEOUT_S = 5.0  # of one call, unless --timeout says otherwise
TIMEOUT_S_MAX = 86_400.0
NODES_MAX = 16  # fall-backs one command tries
SOCKETS_MAX = 64  # daemons of one machine that are looked at
CONFIG_FILE_BYTES_MAX = 1024 * 1024
PROBE_S = 0.2

_NODE_ID = "abcdefghijklmnopqrstuvwxyz0123456789-"
_START_HINT = "start one with `mltbd run`, or name a node: `mltbctl --node HOST:PORT status`"


@dataclass(frozen=True, slots=True)
class Settings:
    """The global options of one command line. Empty or None: not given."""

    nodes: tuple[str, ...] = ()
    output: str = ""
    colour: str = "auto"
    timeout_s: float | None = None
    config: str = ""
    quiet: bool = False
    verbose: bool = False
    debug: bool = False

    def overridden(self, *, output: str, timeout_s: float | None, quiet: bool) -> Settings:
        """These settings with what was said after the command's name; that wins."""
        return replace(
            self,
            output=output or self.output,
            timeout_s=self.timeout_s if timeout_s is None else timeout_s,
            quiet=quiet or self.quiet,
        )


@dataclass(frozen=True, slots=True)
class Secret:
    """The cluster's secret and, for people, where it came from."""

    text: str = field(repr=False)
    origin: str
    other: str = field(default="", repr=False)
    which: str = ""
    file: str = ""
    """The secret file it is in; `other` and `which` as in mltb_transport.keys.Secrets."""


def named_nodes(nodes: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The nodes to talk to, best first: those given, else `$MLTB_NODE`, else `$MLTB_SOCKET`, else none."""
    if nodes:
        names = tuple(nodes)
    elif environ.get("MLTB_NODE"):
        names = tuple(environ["MLTB_NODE"].replace(",", " ").split())
    elif environ.get("MLTB_SOCKET"):
        names = (environ["MLTB_SOCKET"],)
    else:
        names = ()
    if len(names) > NODES_MAX:
        raise CliError(f"{len(names)} nodes named, at most {NODES_MAX} are tried", code="usage")
    return names


def endpoint_of(node: str) -> str | None:
    """What `node` spells out: a socket path or `host:port`. None when it is a node id."""
    node = node.removeprefix("ipc://").removeprefix("tcp://")
    if "/" in node:
        return node
    host, colon, port = node.rpartition(":")
    if colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        return node
    if 0 < len(node) < 64 and not node.strip(_NODE_ID):
        return None
    raise CliError(
        f"`{node}` is no node",
        "give a socket path with a `/`, `HOST:PORT` of a control port, or a node id (a-z, 0-9, `-`)",
        code="usage",
    )


def is_local(endpoint: str) -> bool:
    """A socket of this machine: opened by file permissions, without a secret."""
    return "/" in endpoint


def runtime_directories(environ: Mapping[str, str]) -> list[Path]:
    """Where daemons of this machine put their sockets, best first."""
    named = environ.get("MLTB_RUNTIME_DIR")
    base = Path(named) if named else places.runtime_dir()
    return [base / places.APP, base]


def local_sockets(environ: Mapping[str, str]) -> list[str]:
    """The sockets of this machine that a daemon listens on: those named by `$MLTB_SOCKET` and `$MLTB_NODE`, in this
    order, else those of the runtime directories, by name; Unreachable when there is none."""
    named = _named_sockets(environ)
    listening = [path for path in named if listens(path)]
    if listening:
        return listening
    paths: list[Path] = []
    for directory in runtime_directories(environ):
        try:
            paths += sorted(directory.glob("*.sock"))
        except PermissionError:
            raise _forbidden(str(directory)) from None
        except OSError as error:
            raise _unable(str(directory), error) from error
    listening = [str(path) for path in paths[:SOCKETS_MAX] if listens(str(path))]
    if listening:
        return listening
    stopped = [*map(Path, named), *paths]
    if stopped:
        names = ", ".join(f"`{path.stem}`" for path in stopped[:3])
        raise Unreachable(f"mltbd of {names} does not run", _START_HINT)
    raise Unreachable("no mltbd found on this machine", _START_HINT)


def _named_sockets(environ: Mapping[str, str]) -> list[str]:
    words = [environ.get("MLTB_SOCKET", ""), *environ.get("MLTB_NODE", "").replace(",", " ").split()]
    return list(dict.fromkeys(path for word in words if is_local(path := word.removeprefix("ipc://"))))[:NODES_MAX]


def listens(path: str) -> bool:
    """Whether a daemon does, at this socket."""
    import socket

    try:
        probe = socket.socket(socket.AF_UNIX)
    except OSError as error:
        raise _unable(path, error) from error
    with probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(path)
        except PermissionError:
            raise _forbidden(path) from None
        except (TimeoutError, BlockingIOError):
            return True  # Someone listens and is busy; how busy is for the caller's own timeout to find out.
        except OSError:
            return False  # A socket left behind, or a path too long to be one.
    return True


def _unable(path: str, error: OSError) -> Unreachable:
    """It is this process that cannot look: for it has too many files open, say."""
    from mltb_transport.control import unable

    told = unable(path, error)
    return Unreachable(told.message, told.hint)


def _forbidden(path: str) -> CliError:
    return CliError(f"no permission to open `{path}`", "run it as the user mltbd runs as, or with `sudo`", code="auth")


def find_secret(config: str, environ: Mapping[str, str]) -> Secret | None:
    """The secret for a daemon on another machine: environment, then secret file, then configuration file."""
    if environ.get("CLUSTER_SECRET"):
        return Secret(environ["CLUSTER_SECRET"], "$CLUSTER_SECRET", environ.get("CLUSTER_SECRET_SECOND", ""))
    if environ.get("CLUSTER_SECRET_FILE"):
        return _secret_in(environ["CLUSTER_SECRET_FILE"], "$CLUSTER_SECRET_FILE")
    path = config_path(config, environ)
    if path is None:
        return None
    values = {key.upper(): value for key, value in _read_toml(path).items()}
    if isinstance(values.get("CLUSTER_SECRET"), str) and values["CLUSTER_SECRET"]:
        second = values.get("CLUSTER_SECRET_SECOND")
        origin = f"CLUSTER_SECRET in `{path}`"
        return Secret(values["CLUSTER_SECRET"], origin, second if isinstance(second, str) else "")
    if isinstance(values.get("CLUSTER_SECRET_FILE"), str) and values["CLUSTER_SECRET_FILE"]:
        return _secret_in(values["CLUSTER_SECRET_FILE"], f"CLUSTER_SECRET_FILE in `{path}`")
    return None


def config_path(config: str, environ: Mapping[str, str]) -> Path | None:
    """The configuration file: named, or found in its usual place and readable; None when there is none."""
    named = config or environ.get("MLTB_CONFIG", "")
    if named:
        return Path(named)
    usual = places.config_file()
    return usual if os.access(usual, os.R_OK) else None


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    text = _read(path, CONFIG_FILE_BYTES_MAX)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise CliError(
            f"`{path}` is no valid TOML: {error}",
            f"run `mltbctl config validate --config {path}`",
            code="usage",
        ) from None


def _secret_in(name: str, origin: str) -> Secret:
    from mltb_transport.keys import SecretError, read_secrets

    try:
        found = read_secrets(Path(name))
        return Secret(found.used, f"{origin} (`{name}`)", found.other, found.which, name)
    except SecretError as error:
        raise CliError(error.message, error.hint, code="usage") from None


def _read(path: Path, bytes_max: int) -> str:
    from mltb_transport.regular import regular

    try:
        with open(path, "rb", opener=regular) as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CliError(f"cannot read `{path}`: {reason}", code="usage") from None
    if len(content) > bytes_max:
        raise CliError(f"`{path}` is larger than {bytes_max} bytes", code="usage")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise CliError(f"`{path}` is not UTF-8 text", code="usage") from None
