"""Where a node has its files and sockets unless it is told otherwise: the daemon and the command line look there.

platformdirs is loaded late, and for no root: it is a quarter of a `config validate`.
"""

from __future__ import annotations

import os
from pathlib import Path

APP = "mltb"
FOUNDER = "founder"
"""The mark in a state directory whose node founds the cluster."""
MET, MET_DAMAGED = "met.json", "met.json.bad"
"""In it: where other members were linked. What cannot be read is put aside under the second name: while it lies there
`mltbctl recover` refuses."""


def config_file(root: bool | None = None) -> Path:
    """Of whoever runs us, as everything here, unless `root` says for whom."""
    if is_root(root):
        return Path("/etc/mltb/mltb.toml")
    from platformdirs import user_config_path

    return user_config_path(APP) / "mltb.toml"


def state_dir(root: bool | None = None) -> Path:
    if is_root(root):
        return Path("/var/lib/mltb")
    from platformdirs import user_state_path

    return user_state_path(APP)


def runtime_dir(root: bool | None = None) -> Path:
    """The control sockets are in `mltb` of it; root's, where nothing else was said, in itself."""
    if is_root(root):
        return Path("/run/mltb")
    import warnings

    from platformdirs import user_runtime_path

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It falls back to a place in /tmp by itself, and says so.
        return user_runtime_path()


def is_root(root: bool | None = None) -> bool:
    return os.geteuid() == 0 if root is None else root
