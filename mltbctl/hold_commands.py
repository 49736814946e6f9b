"""The commands that hold the whole cluster still: `pause` and `resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from mltbctl.session import Session

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
    session: Session,
    for_: _For = "",
    reason: _Why = "",
) -> None:
    """Make no automatic moves for a while.

    Leases go on: what loses its node stops, and starts again on that node or nowhere. Moves by hand work.
    """
    from mltbctl.commands import pause as command

    session.ask(lambda client: command.pause(client, for_, reason))


def resume(session: Session) -> None:
    """Allow automatic moves again."""
    from mltbctl.commands import pause as command

    session.ask(lambda client: command.resume(client))
