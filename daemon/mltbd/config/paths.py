"""Where things are: configuration file, state directory, control socket. A flag wins over the environment."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

APP = "mltb"
ROOT_CONFIG = Path("/etc/mltb/mltb.toml")
ROOT_STATE = Path("/var/lib/mltb")
ROOT_RUNTIME = Path("/run/mltb")


def config_file(flag: Path | None, environ: Mapping[str, str], root: bool | None = None) -> tuple[Path, bool]:
    """The configuration file, and whether it was named (a file that was named has to exist)."""
    if flag is not None:
        return flag, True
    if named := environ.get("MLTB_CONFIG"):
        return Path(named), True
    if _is_root(root):
        return ROOT_CONFIG, False
    from platformdirs import user_config_path  # Loaded late: a quarter of a `config validate`.

    return user_config_path(APP) / "mltb.toml", False


def state_dir(flag: Path | None, environ: Mapping[str, str], root: bool | None = None) -> Path:
    """The directory a node remembers in; not created here."""
    if flag is not None:
        return flag
    if named := environ.get("MLTB_STATE_DIR"):
        return Path(named)
    if _is_root(root):
        return ROOT_STATE
    from platformdirs import user_state_path

    return user_state_path(APP)


def socket_dir(flag: Path | None, environ: Mapping[str, str], root: bool | None = None) -> Path:
    """The directory of the control sockets: `mltb` in the runtime directory; not created here."""
    if flag is not None:
        return Path(os.path.abspath(flag)) / APP  # The workload is told of it, and has a directory of its own.
    if named := environ.get("MLTB_RUNTIME_DIR"):
        return Path(os.path.abspath(named)) / APP
    if _is_root(root):
        return ROOT_RUNTIME
    from platformdirs import user_runtime_path

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It falls back to a place in /tmp by itself, and says so.
        return user_runtime_path() / APP


def socket_path(node_id: str, flag: Path | None, environ: Mapping[str, str], root: bool | None = None) -> Path:
    """The control socket of a node on this machine. A flag wins over $MLTB_SOCKET."""
    named = environ.get("MLTB_SOCKET")
    if named and flag is None:
        return Path(os.path.abspath(named))
    return socket_dir(flag, environ, root) / f"{node_id}.sock"


def _is_root(root: bool | None) -> bool:
    return os.geteuid() == 0 if root is None else root
