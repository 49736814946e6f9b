"""What happened and what would happen, on the command line. Options and help only, as in cli.py."""

from __future__ import annotations

from typing import Annotated

import typer

from mltbctl.options import asked_of
from mltbctl.session import Session


def complete_event(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Ids of events for the shell, with what they are."""
    from mltbctl.completing import event_ids

    return event_ids(incomplete, *asked_of(ctx))


def complete_kind(incomplete: str) -> list[str]:
    """Kinds of events for the shell."""
    from mltbctl.commands.events import KINDS

    return [kind for kind in KINDS if kind.startswith(incomplete)]


def events(
    session: Session,
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
) -> None:
    """List what happened: moves, elections, who asked and why.

    The last 2,000 events are kept, in the replicated state. `mltbctl explain ID` tells the story of one.
    """
    from mltbctl.commands import events as command

    if follow:
        command.follow(session, since, kind, workload)
    session.ask(lambda client: command.events(client, since, kind, workload))


def explain(
    session: Session,
    event: Annotated[
        str, typer.Argument(metavar="[EVENT|last]", help="The id of an event.", autocompletion=complete_event)
    ] = "last",
) -> None:
    """Tell the story of an event: why, by whom, how long each step.

    `last` is the last change of place; where there was none, the last change of leader.
    In JSON downtime_seconds is the longest that the workload can have been down, null where nobody knows since when;
    downtime_at_least_seconds is the shortest.
    """
    from mltbctl.commands import explain as command

    session.ask(lambda client: command.explain(client, event))


AnswerTimeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", help="Time the answer may take. Default: 40.", show_default=False),
]


def complete_fault(ctx: typer.Context, incomplete: str) -> list[str]:
    """The first word of a fault, then names of nodes."""
    from mltbctl.commands.simulate import VERBS
    from mltbctl.completing import node_names

    return [verb for verb in VERBS if verb.startswith(incomplete)] + node_names(incomplete, *asked_of(ctx))


def simulate(
    session: Session,
    fault: Annotated[
        list[str], typer.Argument(metavar="FAULT", help="What would happen.", autocompletion=complete_fault)
    ],
) -> None:
    """Ask what would happen: nothing is touched.

    "kill n1" (its machine is lost), "stop n2" (mltbd is asked to stop there), "split n1 | n2 n3" (the network
    between the sides is lost), "cut n1 n2" (one line is lost). Instead of a node: leader, owner. Answered by the
    daemon's own decisions, played through several times from the present position.
    """
    from mltbctl.commands import simulate as command

    session.ask(lambda client: command.simulate(client, " ".join(fault)), command.CALL_S)
