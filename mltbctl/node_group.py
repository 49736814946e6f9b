"""The nested group `mltbctl node`: one member, looked at or emptied."""

from __future__ import annotations

from typing import Annotated, ClassVar

import typer

from mltbctl.lazy import LazyGroup, Member, print_help, typer_group
from mltbctl.options import MoveTimeout, Output, Quiet, Timeout, Wait, complete_node
from mltbctl.session import command_session


class NodeGroup(LazyGroup):
    """The commands of `mltbctl node`."""

    members: ClassVar[dict[str, Member]] = {}


node = typer_group(NodeGroup, "One node: look at it, empty it for maintenance, take it back.")


@node.callback(invoke_without_command=True)
def _node(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        print_help(ctx)


_Node = Annotated[str, typer.Argument(metavar="NODE", help="The node.", autocompletion=complete_node)]
_Why = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Shown with the node, to everybody.", show_default=False)
]


@NodeGroup.add("show")
def node_show(
    ctx: typer.Context, node: _Node, output: Output = "", timeout: Timeout = None, quiet: Quiet = False
) -> None:
    """Show one node: role, health, what it runs."""
    from mltbctl.commands import node as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        result = command.show(client, node)
        session.tell_endpoint(client)
    session.finish(result)


@NodeGroup.add("drain")
def node_drain(
    ctx: typer.Context,
    node: _Node,
    reason: _Why = "",
    force: Annotated[
        bool,
        typer.Option("--force", help="Although something could run nowhere else; it runs on there until it can."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say whether it could be, change nothing.")] = False,
    wait: Wait = True,
    output: Output = "",
    timeout: MoveTimeout = None,
    quiet: Quiet = False,
) -> None:
    """Empty a node, and place nothing there until it is undrained.

    Workloads and leadership leave it. It stays so until `mltbctl node undrain`. Ctrl-C detaches; the drain goes on.
    """
    from mltbctl.commands import node as command

    session = command_session(ctx, output, timeout, quiet)
    session.finish(command.drain(session, command.Drain(node, reason, force, dry_run, wait)))


@NodeGroup.add("undrain")
def node_undrain(
    ctx: typer.Context, node: _Node, output: Output = "", timeout: Timeout = None, quiet: Quiet = False
) -> None:
    """Let a drained node have workloads again."""
    from mltbctl.commands import node as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        result = command.undrain(client, node)
        session.tell_endpoint(client)
    session.finish(result)
