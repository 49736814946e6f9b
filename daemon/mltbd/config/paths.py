"""Where things are: configuration file, state directory, control socket. A flag wins over the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mltb_transport import places


def config_file(flag: Path | None, environ: Mapping[str, str], root: bool | None = None) -> tuple[Path, bool]:
    """The configuration file, and whether it was named (a file that was named has to exist)."""
    if flag is not None:
        return flag, True
    if named := environ.get("MLTB_CONFIG"):
        return Path(named), True
    return places.config_file(root), False


def state_dir(flag: Path | None, environ: Mapping[str, str], root: bool | None = None) -> Path:
    """The directory a node remembers in; not created here."""
    if flag is not None:
        return flag
    if named := environ.get("MLTB_STATE_DIR"):
        return Path(named)
    return places.state_dir(root)


def socket_dir(flag: Path | None, environ: Mapping[str, str], root: bool | None = None) -> Path:
    """The directory of the control sockets: `mltb` in the runtime directory; not created here."""
    if named := flag or environ.get("MLTB_RUNTIME_DIR"):
        return Path(os.path.abspath(named)) / places.APP  # A workload is told of it, and may be elsewhere.
    usual = places.runtime_dir(root)
    return usual if places.is_root(root) else usual / places.APP


def socket_path(node_id: str, flag: Path | None, environ: Mapping[str, str], root: bool | None = None) -> Path:
    """The control socket of a node on this machine. A flag wins over $MLTB_SOCKET."""
    named = environ.get("MLTB_SOCKET")
    if named and flag is None:
        return Path(os.path.abspath(named))
    return socket_dir(flag, environ, root) / f"{node_id}.sock"
