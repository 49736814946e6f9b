"""The commands that hold the whole cluster still: `pause` and `resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from mltbctl.options import Output, Quiet, Timeout
from mltbctl.session import command_session

_For = Annotated[
    str,
    typer.Option(
        "--for",
        metavar="TIME",
        help="End by itself after this: 90 (seconds), 30m, 2h, 1d. Default: never.",
        show_default=False,
    ),
]
_Why = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Shown with the pause, to everybody.", show_default=False)
]


def pause(
    ctx: typer.Context,
    for_: _For = "",
    reason: _Why = "",
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Make no automatic moves for a while.

    Leases go on: what loses its node stops, and starts again on that node or nowhere. Moves by hand work.
    """
    from mltbctl.commands import pause as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        result = command.pause(client, for_, reason)
        session.tell_endpoint(client)
    session.finish(result)


def resume(ctx: typer.Context, output: Output = "", timeout: Timeout = None, quiet: Quiet = False) -> None:
    """Allow automatic moves again."""
    from mltbctl.commands import pause as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        result = command.resume(client)
        session.tell_endpoint(client)
    session.finish(result)
