"""`mltbctl init`, `join` and `recover`; they join the commands in cli.py."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mltbctl.options import Config
from mltbctl.session import Session

_File = Annotated[
    str, typer.Option("--config", "-c", metavar="FILE", help="The configuration to write.", show_default=False)
]
_State = Annotated[
    str, typer.Option("--state-dir", metavar="DIR", help="Where the node remembers.", show_default=False)
]
_Id = Annotated[str, typer.Option("--node-id", metavar="ID", help="Default: from the host's name.", show_default=False)]
_Address = Annotated[
    str,
    typer.Option("--address", metavar="HOST", help="Where the others reach this node.", show_default=False),
]
_Port = Annotated[int, typer.Option("--port", metavar="PORT", help="Gossip; PORT + 1 is used too.", min=1, max=65534)]
_Role = Annotated[
    Literal["voter", "witness", "observer"],
    typer.Option("--role", metavar="ROLE", help="voter, witness (votes, runs nothing) or observer."),
]


def init(
    session: Session,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Of the cluster, for people.")] = "mltb",
    node_id: _Id = "",
    address: _Address = "",
    port: _Port = 7946,
    state_dir: _State = "",
    config_file: _File = "",
    token: Annotated[
        bool, typer.Option("--token", help="Print the line of a node that was set up; write none.")
    ] = False,
) -> None:
    """Found a cluster here: write configuration and secret.

    Prints the line that lets another machine join. It holds the secret: paste it, do not mail it. The node founds
    when `mltbd run` starts it; others become voters by themselves, up to three.
    """
    from mltbctl.commands import founding

    place = founding.Place(config_file or session.settings.config, state_dir, name, node_id, address, port)
    session.finish(founding.init(session, place, token=token))


def join(
    session: Session,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="As `mltbctl init` printed it.")],
    node_id: _Id = "",
    address: _Address = "",
    port: _Port = 7946,
    role: _Role = "voter",
    config_file: _File = "",
) -> None:
    """Join a cluster: paste the line that `mltbctl init` printed."""
    from mltbctl.commands import founding

    place = founding.Place(config_file or session.settings.config, "", "", node_id, address, port, role)
    session.finish(founding.join(session, place, token))


def recover(
    session: Session,
    state_dir: _State = "",
    config_file: Config = "",
    confirm: Annotated[
        str,
        typer.Option("--confirm", metavar="NAME", help="The cluster's name, instead of typing it.", show_default=False),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say whether it could be done, change nothing.")] = False,
) -> None:
    """Go on alone when the majority is gone for good. Unsafe.

    On a stopped node. Refused while any other node answers. What the lost nodes alone had is lost; this node becomes
    the only voter of a new cluster, which the others, should they come back, do not join.
    """
    from mltbctl.commands import recover as command

    wish = command.Wish(config_file or session.settings.config, state_dir, confirm, dry_run)
    session.finish(command.recover(session, wish))
