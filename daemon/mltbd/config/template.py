"""Writes a commented mltb.toml for a preset: what there is to set, with defaults, and a workload."""

from __future__ import annotations

import json
import textwrap

from mltbd.config.options import NOT_BUILT, OPTIONS, Option, Value
from mltbd.config.presets import Preset

COLUMNS = 100

_SECTIONS = {
    "cluster": "Who this node is and whom it meets.",
    "security": "Without a secret a node listens on loopback only.",
    "election": "Who leads.",
    "lease": "How soon another node may take over; the most important number.",
    "failover": "When a workload moves.",
    "health": "How its checks, and those of this node, are run.",
    "state": "Key-values and locks for programs, scripts and people.",
}
_EXAMPLES: dict[str, Value] = {
    "CLUSTER_NODE_ID": "n1",
    "CLUSTER_ADDRESS": "0.0.0.0",
    "CLUSTER_ADVERTISE_ADDRESS": "10.0.1.10",
    "CLUSTER_SEED_NODES": ("10.0.1.10:7946", "10.0.1.11:7946", "10.0.1.12:7946"),
    "CLUSTER_BOOTSTRAP": True,
    "CLUSTER_SECRET": "mltb1-...",
    "CLUSTER_SECRET_FILE": "/etc/mltb/secret",
    "CLUSTER_SECRET_SECOND": "mltb1-...",
    "CLUSTER_LEASE_DURATION": 3.0,
    "FAILOVER_PRIMARY_NODE": "n1",
    "FAILOVER_SECONDARY_NODES": ("n2", "n3"),
    "HA_ENCRYPTION_ENABLED": True,
}
_WORKLOAD = """\
# What to run, on one node at a time. Take the marks away and fill it in.
# [workload.main]
# command = ["python3", "-m", "bot"]  # a list, never read by a shell
# cwd = "/srv/bot"
# env = {}  # added to a clean environment
# stop_timeout = 1.0  # seconds from SIGTERM to SIGKILL
# stop_signal = "SIGTERM"
# preferred = ["n1"]
# singleton = true  # false: on every node at once, with HA_STRATEGY = "active_active"
#
# What runs around it, in its process tree; a pre_start that fails keeps it from being started here.
# [workload.main.hooks]
# pre_start = ["/usr/local/bin/prepare"]  # and post_start, pre_stop, post_stop
# timeout = 10.0
#
# Is it well? When a check fails `failures` times in a row it is restarted, then moved to another node.
# [[workload.main.check]]
# kind = "http"  # process, tcp, http, command or heartbeat
# url = "http://127.0.0.1:8080/"
# grace = 20.0  # seconds it may take to become well after a start
#
# Is this node fit to run anything? While a check fails, nothing is placed here.
# [[check]]
# kind = "disk"  # disk, memory, tcp, http or command
# path = "/"
# min_free_percent = 5
"""


def toml_for(preset: Preset) -> str:
    """The text of a configuration file that is valid as it stands. Every option that is built is in it."""
    lines = [
        f"# mltb.toml for {preset.nodes} node{'' if preset.nodes == '1' else 's'}: {preset.doc}.",
        "# Check it with `mltbctl config validate --config FILE`, start with `mltbd run --config FILE`.",
        "# The environment and `--set` win over this file, this file wins over the preset.",
        "",
        f'preset = "{preset.name}"',
    ]
    for feature, title in _SECTIONS.items():
        lines += ["", f"# --- {title}"]
        for option in OPTIONS.values():
            if option.feature == feature:
                lines += _option_lines(option, preset)
    lines += ["", _WORKLOAD]
    absent = ", ".join(NOT_BUILT)
    lines += textwrap.wrap(f"Not in this version: {absent}.", COLUMNS, initial_indent="# ", subsequent_indent="# ")
    return "\n".join(lines) + "\n"


def toml_value(value: Value) -> str:
    """The value as TOML writes it. None has no form in TOML: a TypeError."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case str():
            return json.dumps(value, ensure_ascii=True)
        case tuple():
            return f"[{', '.join(toml_value(item) for item in value)}]"
        case _:
            raise TypeError("there is no such value in TOML")


def _option_lines(option: Option, preset: Preset) -> list[str]:
    about = [option.doc]
    if option.unit == "s":
        about.append("seconds")
    if option.choices:
        about.append(" | ".join(option.choices))
    value = preset.values.get(option.name, _EXAMPLES.get(option.name, option.default))
    if option.name in preset.values:
        about.append("as the preset sets it")
    return [f"# {'; '.join(about)}", f"# {option.name} = {toml_value(value)}"]
