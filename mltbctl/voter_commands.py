"""The commands of `mltbctl node` that change who belongs to the cluster; they join the group in cli.py."""

from __future__ import annotations

from typing import Annotated

import typer

from mltbctl.options import Yes, complete_node
from mltbctl.session import Session

_Node = Annotated[str, typer.Argument(metavar="NODE", help="The node.", autocompletion=complete_node)]
_Removed = Annotated[str, typer.Argument(metavar="NODE", help="The node that was removed.")]
_Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept in the history.", show_default=False)]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what it would mean for the quorum, change nothing.")]


def remove(
    session: Session,
    node: _Node,
    reason: _Why = "",
    dry_run: _DryRun = False,
    yes: Yes = False,
) -> None:
    """Take a node out of the cluster, and out of the voters, for good.

    Refused where the voters that are left would have no quorum, and while the node runs a workload. It stays
    refused until its disk is wiped, or `mltbctl node admit` lets it in again.
    """
    from mltbctl.commands import voters

    session.finish(voters.remove(session, voters.Change(node, reason, yes, dry_run)))


def promote(
    session: Session,
    node: _Node,
    reason: _Why = "",
    dry_run: _DryRun = False,
) -> None:
    """Make an observer a voter.

    Up to three voters the leader does so by itself; five or seven are for you to ask for. An even number may lose
    no more nodes than the odd one below.
    """
    from mltbctl.commands import voters

    session.finish(voters.promote(session, voters.Change(node, reason, dry_run=dry_run)))


def admit(
    session: Session,
    node: _Removed,
    reason: _Why = "",
) -> None:
    """Let a removed node in again, with the disk it has."""
    from mltbctl.commands import voters

    session.finish(voters.admit(session, voters.Change(node, reason)))
