"""`mltbctl init` and `mltbctl join`: the files of a node that founds a cluster, and of one that joins it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mltb_transport import places
from mltbctl.errors import CliError
from mltbctl.result import Result

if TYPE_CHECKING:
    from mltb_transport.invitation import Invitation
    from mltbctl.session import Session

MEMBERS_S = 2.0
_WORKLOAD = """
# What to run, on one node at a time; the same on every node that may run it.
# [workload.main]
# command = ["python3", "-m", "bot"]
# cwd = "/srv/bot"
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Who this node shall be and where its files go. Empty: as this machine has it."""

    config: str = ""
    state_dir: str = ""
    name: str = ""
    node_id: str = ""
    address: str = ""
    port: int = 0
    role: str = ""


def init(session: Session, place: Place, *, token: bool = False) -> Result:
    """Write configuration, secret and the founder's mark; the line for the others is the data. `token`: only that."""
    from mltb_transport.keys import new_secret

    if token:
        return _invite(session, known_config(place, os.environ), {}, _members(session))
    config = config_file(place, os.environ)
    state = state_directory(place, os.environ)
    if _journal(state):
        raise CliError(
            f"the node that keeps its state in `{state}` has begun already: it founds nothing any more",
            f"for the line that lets others join, run `mltbctl init --token --config {config}`",
            code="refused",
        )
    with _Written() as written:
        secret = written.secret(config, new_secret())
        written.file(config, _text(place, secret, {"CLUSTER_NAME": place.name, "CLUSTER_SEED_NODES": []}), 0o644)
        written.directory(state)
        written.file(state / places.FOUNDER, "", 0o600)
        result = _invite(session, str(config), {"secret_file": str(secret), "state_dir": str(state)}, [])
        written.keep()
    start = f"mltbd run --config {config}" + (f" --state-dir {state}" if place.state_dir else "")
    session.say(f"wrote {config} and {secret}; start this node with `{start}`, then on each other:")
    return result


def join(session: Session, place: Place, token: str) -> Result:
    """Write the configuration and the secret of a node that joins."""
    from mltb_transport.invitation import InvitationError, invitation_of

    try:
        invitation = invitation_of(token)
    except InvitationError as error:
        hint = "copy the whole line anew; `mltbctl init --token` on the founder prints it again"
        raise CliError(str(error), hint, code="usage") from None
    config = config_file(place, os.environ)
    with _Written() as written:
        secret = written.secret(config, invitation.secret)
        more = {"CLUSTER_NAME": invitation.name, "CLUSTER_SEED_NODES": list(invitation.seeds)}
        written.file(config, _text(place, secret, more), 0o644)
        settings = effective(str(config))
        written.keep()
    data = {
        "config": str(config), "secret_file": str(secret), "node": settings["CLUSTER_NODE_ID"],
        "name": invitation.name, "seeds": list(invitation.seeds),
    }  # fmt: skip
    session.say(f"wrote {config} and {secret}")
    start = f"`{data['node']}` is ready to join `{invitation.name}`: mltbd run --config {config}"
    return Result(data, start)


def _members(session: Session) -> list[str]:
    """Where the members are that the daemon here knows and that answer; none while it does not run."""
    from mltb_transport.addresses import spelled
    from mltbctl.errors import MltbError

    try:
        with session.client(MEMBERS_S) as client:
            nodes = client.status()["nodes"]
    except MltbError:
        return []
    return [spelled(node["address"], node["port"]) for node in nodes if node.get("answers")]


def _invite(session: Session, config: str, more: dict[str, Any], members: list[str]) -> Result:
    from mltb_transport.invitation import token_of

    invitation = _invitation(config, members)
    if invitation.seeds[0].startswith(("127.", "localhost", "[::1]")):
        session.say("warning: this node is known at a loopback address; other machines need `--address`")
    line = f"mltbctl join {token_of(invitation)}"
    data = {"config": config or None, "name": invitation.name, "seeds": list(invitation.seeds), "join": line}
    return Result({**data, **more}, line)


def _invitation(config: str, members: list[str]) -> Invitation:
    """Of several nodes where there are several: the line shall be good while any of them is down."""
    from mltb_transport.addresses import spelled
    from mltb_transport.invitation import Invitation
    from mltbctl.commands.secret import needed

    found = needed(config)
    settings = effective(config)
    own = spelled(settings["CLUSTER_ADVERTISE_ADDRESS"], settings["CLUSTER_PORT"])
    here = members if own in members else []  # Else the daemon that answered is of another cluster.
    seeds = dict.fromkeys([own, *here, *(settings["CLUSTER_SEED_NODES"] or [])])
    return Invitation(settings["CLUSTER_NAME"], tuple(seeds)[:8], found.text)


def effective(config: str) -> dict[str, Any]:
    """Every option as the daemon would run with it, by `known_config`. CliError when it would not."""
    from mltbctl.commands.config import show

    data = show(None, config or None, (), effective=True).data
    if not data["valid"]:
        first = data["errors"][0]
        raise CliError(f"{first['key']}: {first['message']}", first["hint"], code="usage")
    return {row["key"]: row["value"] for row in data["settings"]}


def _text(place: Place, secret: Path, more: Mapping[str, Any]) -> str:
    own = {"CLUSTER_NODE_ID": place.node_id, "CLUSTER_ADVERTISE_ADDRESS": place.address, "CLUSTER_PORT": place.port}
    if place.address.startswith("127.") or place.address == "::1":
        own["CLUSTER_ADDRESS"] = place.address  # Everything on one machine: nothing listens beyond it.
    # Founding is settled by the mark alone: FAILOVER_PRIMARY_NODE, added later, names no second founder.
    values = {**own, "CLUSTER_ROLE": place.role, **more, "CLUSTER_BOOTSTRAP": False, "CLUSTER_SECRET_FILE": str(secret)}
    # JSON's texts, numbers, booleans and lists of texts are TOML's as well.
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if value not in ("", 0) or value is False]
    return "\n".join(["# Options: OPTIONS.md, or `mltbctl config show --effective`.", *lines]) + "\n" + _WORKLOAD


def config_file(place: Place, environ: Mapping[str, str]) -> Path:
    named = place.config or environ.get("MLTB_CONFIG", "")
    return Path(named).absolute() if named else places.config_file()


def known_config(place: Place, environ: Mapping[str, str]) -> str:
    """The configuration file of a node that is there. Empty: none was named, and there is none in the usual place, for
    the environment holds all of it."""
    path = config_file(place, environ)
    if not place.config and not environ.get("MLTB_CONFIG"):
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError:
            pass  # Whoever reads it says what is wrong.
    return str(path)


def state_directory(place: Place, environ: Mapping[str, str]) -> Path:
    named = place.state_dir or environ.get("MLTB_STATE_DIR", "")
    return Path(named).absolute() if named else places.state_dir()


def _journal(state: Path) -> bool:
    try:
        return any(state.glob("journal*"))
    except OSError as error:
        raise CliError(f"cannot look into `{state}`: {(error.strerror or str(error)).lower()}") from None


class _Written:
    """Files that are taken back unless all of it was done. What was there before is never written over."""

    def __init__(self) -> None:
        self._made: list[Path] = []
        self._kept = False

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *_: object) -> None:
        for path in [] if self._kept else reversed(self._made):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()

    def keep(self) -> None:
        self._kept = True

    def secret(self, config: Path, text: str) -> Path:
        path = config.parent / f"{config.stem}.secret"
        self.file(path, f"{text}\n", 0o600)
        return path

    def directory(self, path: Path) -> None:
        try:
            if path.is_dir():
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700)
        except OSError as error:
            raise CliError(f"cannot make `{path}`: {(error.strerror or str(error)).lower()}") from None
        self._made.append(path)

    def file(self, path: Path, text: str, mode: int) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except FileExistsError:
            hint = "move it away, or name another file with `--config`"
            raise CliError(f"`{path}` is there already; nothing was changed", hint, code="refused") from None
        except OSError as error:
            raise CliError(f"cannot write `{path}`: {(error.strerror or str(error)).lower()}") from None
        self._made.append(path)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CliError(f"cannot write `{path}`: {(error.strerror or str(error)).lower()}") from None
