"""The nested group `mltbctl node`: one member, looked at or emptied."""

from __future__ import annotations

from typing import Annotated

import typer

from mltbctl.lazy import LazyGroup, typer_group
from mltbctl.options import MoveTimeout, Wait, complete_node
from mltbctl.session import Session


class NodeGroup(LazyGroup):
    """The commands of `mltbctl node`."""


node = typer_group(NodeGroup, "One node: look at it, empty it for maintenance, take it back.")


_Node = Annotated[str, typer.Argument(metavar="NODE", help="The node.", autocompletion=complete_node)]
_Why = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Shown with the node, to everybody.", show_default=False)
]


@NodeGroup.add("show")
def node_show(session: Session, node: _Node) -> None:
    """Show one node: role, health, what it runs."""
    from mltbctl.commands import node as command

    session.ask(lambda client: command.show(client, node))


@NodeGroup.add("drain", timeout=MoveTimeout)
def node_drain(
    session: Session,
    node: _Node,
    reason: _Why = "",
    force: Annotated[
        bool,
        typer.Option("--force", help="Although something could run nowhere else; it runs on there until it can."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say whether it could be, change nothing.")] = False,
    wait: Wait = True,
) -> None:
    """Empty a node, and place nothing there until it is undrained.

    Workloads and leadership leave it. It stays so until `mltbctl node undrain`. Ctrl-C detaches; the drain goes on.
    """
    from mltbctl.commands import node as command

    session.finish(command.drain(session, command.Drain(node, reason, force, dry_run, wait)))


@NodeGroup.add("undrain")
def node_undrain(session: Session, node: _Node) -> None:
    """Let a drained node have workloads again."""
    from mltbctl.commands import node as command

    session.ask(lambda client: command.undrain(client, node))
