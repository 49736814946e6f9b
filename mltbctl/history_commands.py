"""What happened and what would happen, on the command line: events, explain. Options and help only, as in cli.py."""

from __future__ import annotations

from typing import Annotated

import typer

from mltbctl.options import Output, Quiet, Timeout
from mltbctl.session import command_session


def complete_event(incomplete: str) -> list[tuple[str, str]]:
    """Ids of events for the shell, with what they are."""
    from mltbctl.completing import event_ids

    return event_ids(incomplete)


def complete_kind(incomplete: str) -> list[str]:
    """Kinds of events for the shell."""
    from mltbctl.commands.events import KINDS

    return [kind for kind in KINDS if kind.startswith(incomplete)]


def events(
    ctx: typer.Context,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show each event as it happens, until Ctrl-C.")
    ] = False,
    since: Annotated[
        str, typer.Option("--since", metavar="T", help="10m, 2h, 1d ago, or an RFC 3339 instant.", show_default=False)
    ] = "",
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="K",
            help="Only this kind: failover, election ...",
            autocompletion=complete_kind,
            show_default=False,
        ),
    ] = "",
    workload: Annotated[
        str, typer.Option("--workload", "-w", metavar="NAME", help="Only this workload.", show_default=False)
    ] = "",
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """List what happened: moves, elections, who asked and why.

    The last 2,000 events are kept, in the replicated state. `mltbctl explain ID` tells the story of one.
    """
    from mltbctl.commands import events as command

    session = command_session(ctx, output, timeout, quiet)
    if follow:
        command.follow(session, since, kind, workload)
    with session.client() as client:
        result = command.events(client, since, kind, workload)
        session.tell_endpoint(client)
    session.finish(result)


def explain(
    ctx: typer.Context,
    event: Annotated[
        str, typer.Argument(metavar="[EVENT|last]", help="The id of an event.", autocompletion=complete_event)
    ] = "last",
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Tell the story of an event: why, by whom, how long each step.

    `last` is the last change of place; where there was none, the last change of leader.
    """
    from mltbctl.commands import explain as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        result = command.explain(client, event)
        session.tell_endpoint(client)
    session.finish(result)
