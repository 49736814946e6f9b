"""`mltbctl recover`: the majority is gone for good, and this node goes on alone. Unsafe, so it is asked twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mltb_transport.places import MET, MET_DAMAGED
from mltbctl.commands.founding import Place, effective, known_config, state_directory
from mltbctl.errors import CliError, Timeout, UnknownOutcome
from mltbctl.operation import confirm, require_terminal
from mltbctl.result import Result

if TYPE_CHECKING:
    from mltbctl.session import Session

TOOL = "mltbd.runtime.recover"
TOOL_S = 120.0
UNSURE = 6
MET_BYTES_MAX = 64 * 1024
DANGER = """\
UNSAFE. Everything that only the lost nodes had is lost. If any of them still runs, there will be two clusters,
and two of every workload. Be certain that they are switched off and stay so."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which node of this machine, and whether the operator has confirmed already (by the cluster's name)."""

    config: str = ""
    state_dir: str = ""
    confirmed: str = ""
    dry_run: bool = False


def recover(session: Session, wish: Wish) -> Result:
    """Listen for the others through one lease, then make this node a cluster of its own."""
    place = Place(wish.config, wish.state_dir)
    config, state = known_config(place, os.environ), state_directory(place, os.environ)
    settings = effective(config)
    node = str(settings["CLUSTER_NODE_ID"])
    found = _tool("look", str(state), node)
    if not wish.confirmed and not wish.dry_run:
        require_terminal("--confirm NAME")
    others = _places(settings, state)
    session.say(DANGER)
    session.say(
        f"cluster {found['name']}: voters {' '.join(found['voters'])}; this node, {node}, would be the only one"
    )
    lease_s = max(float(settings["CLUSTER_LEASE_DURATION"]), float(found.pop("lease_s")))
    _listen(session, config, others, lease_s, state / MET)
    if wish.dry_run:
        return Result({**found, "recovered": False, "dry_run": True}, f"{node} could go on alone: nobody else answers")
    if not wish.confirmed:
        confirm(found["name"])
    elif wish.confirmed != found["name"]:
        raise CliError(f"this is not the cluster `{wish.confirmed}`; nothing was changed", code="cancelled")
    done = _tool("go", str(state), node, found["name"])
    text = (
        f"{node} is the only voter of a new cluster, {done['cluster']}; start it, wipe the others, have them join anew"
    )
    return Result({**found, **done, "before": found["cluster"], "recovered": True}, text)


def _places(settings: dict[str, Any], state: Path) -> list[str]:
    """Control ports of all that were ever met, but for our own."""
    from mltb_transport.addresses import spelled

    seeds = [*(settings["CLUSTER_SEED_NODES"] or []), *_met(state / MET)]
    own = (settings["CLUSTER_ADVERTISE_ADDRESS"], int(settings["CLUSTER_PORT"]))
    found = {}
    for seed in seeds:
        host, colon, port = seed.rpartition(":")
        gossip = int(port) if colon and port.isascii() and port.isdigit() else own[1]
        place = ((host if colon else seed).removeprefix("[").removesuffix("]"), gossip)
        if place != own:
            found[spelled(place[0], gossip + 1)] = True
    return list(found)


def _met(path: Path) -> list[str]:
    """What the daemon kept (mltbd/runtime/met.py). What cannot be read names nobody to listen for, and neither does
    what a start of the daemon found damaged and put aside: refused."""
    damaged = path.with_name(MET_DAMAGED)
    try:
        if os.path.lexists(damaged):
            raise _unread(damaged, "it is damaged")
        with path.open("rb") as file:
            found = json.loads(file.read(MET_BYTES_MAX))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        raise _unread(path, str(error)) from None
    if not isinstance(found, list) or not all(isinstance(place, str) for place in found):
        raise _unread(path, "it is no list of places")
    return found


def _unread(path: Path, why: str) -> CliError:
    return CliError(
        f"`{path}` cannot be read, so who else may live is not known: {why}; nothing was changed",
        "if you are certain that every other node is gone, remove it",
        code="refused",
    )


def _listen(session: Session, config: str, others: list[str], lease_s: float, met: Path) -> None:
    """Nobody may answer while one lease runs out: then no other node runs a workload under the old cluster either."""
    from mltbctl.commands.silence import listen
    from mltbctl.settings import find_secret

    found = find_secret(config, os.environ)
    session.say(f"listening for {', '.join(others) or 'nobody: no other node is known'} for {lease_s:g} s")
    out = f"take it out of CLUSTER_SEED_NODES and of `{met}`"
    listen(others, found.text if found else None, lease_s, out)


def _tool(*arguments: str) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", TOOL, *arguments], capture_output=True, text=True, timeout=TOOL_S, check=False
        )
    except subprocess.TimeoutExpired:
        late = f"the disk did not answer for {TOOL_S:g} s"
        raise (
            _unsure(late, "mend the disk") if arguments[0] == "go" else Timeout(f"{late}; nothing was changed")
        ) from None
    try:
        body: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise CliError(f"`{TOOL}` failed: {done.stderr.strip()[-500:] or done.returncode}") from None
    if done.returncode == UNSURE:
        raise _unsure(body["error"], body["hint"])
    if done.returncode:
        raise CliError(f"{body['error']}; nothing was changed", body.get("hint", ""), code="refused")
    return body


def _unsure(why: str, first: str) -> UnknownOutcome:
    return UnknownOutcome(
        f"{why}: it may yet go on alone", f"{first}; then run it again: where it was done already, that is said"
    )
