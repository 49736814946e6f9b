"""The nested group `mltbctl lock`."""

from __future__ import annotations

from typing import Annotated

import typer

from mltbctl.errors import CliError
from mltbctl.lazy import LazyGroup, typer_group
from mltbctl.options import Stale, complete_lock, one_prefix
from mltbctl.session import Session


class LockGroup(LazyGroup):
    """The commands of `mltbctl lock`."""


lock = typer_group(
    LockGroup,
    "Locks that one holder at a time has, in the whole cluster.",
    "Most often: `mltbctl lock run NAME -- COMMAND`.",
)


_Name = Annotated[str, typer.Argument(metavar="NAME", help="The lock.", autocompletion=complete_lock)]
_LockId = Annotated[str, typer.Argument(metavar="LOCK_ID", help="The id that `lock acquire` printed.")]
_Ttl = Annotated[
    float | None,
    typer.Option(
        "--ttl",
        metavar="SECONDS",
        help="It ends by itself after this, unextended. By default the time its node gives, mostly 30.",
        show_default=False,
    ),
]
_Wait = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", help="Stand in line so long for it, an hour at most.")
]
_Delay = Annotated[
    float | None,
    typer.Option(
        "--delay",
        metavar="SECONDS",
        help="After it ran out (not after a release) nobody gets it for so long.",
        show_default=False,
    ),
]
_Holder = Annotated[
    str, typer.Option("--holder", metavar="TEXT", help="Who has it, for others to see.", show_default=False)
]
_Prefix = Annotated[
    str,
    typer.Argument(
        metavar="PREFIX", help="Only those that begin so.", autocompletion=complete_lock, show_default=False
    ),
]
_PrefixOption = Annotated[
    str,
    typer.Option(
        "--prefix", metavar="TEXT", help="The same as PREFIX.", autocompletion=complete_lock, show_default=False
    ),
]


@LockGroup.add("acquire")
def lock_acquire(
    session: Session,
    name: _Name,
    ttl: _Ttl = None,
    wait: _Wait = 0.0,
    delay: _Delay = None,
    holder: _Holder = "",
) -> None:
    """Get a lock, which stays yours for the time of --ttl.

    Exit code 1 when somebody else holds it. Nobody extends it: use `lock extend`, or `lock run`, which does.

    Example: mltbctl lock acquire backup --ttl 60 --wait 10 -o json
    """
    from mltbctl.commands import lock as command

    with session.client() as client:
        result = command.acquire(session, client, name, ttl=ttl, wait=wait, delay=delay, holder=holder)
        session.tell_endpoint(client)
        try:
            session.finish(result, must_be_read=result.data["acquired"])
        except CliError:
            command.give_back(client, result)
            raise


@LockGroup.add("release")
def lock_release(
    session: Session,
    name: _Name,
    lock_id: _LockId,
) -> None:
    """Give a lock back.

    Exit code 1 when that id did not hold it.

    Example: mltbctl lock release backup "$id"
    """
    from mltbctl.commands import lock as command

    session.ask(lambda client: command.release(session, client, name, lock_id))


@LockGroup.add("extend")
def lock_extend(
    session: Session,
    name: _Name,
    lock_id: _LockId,
    ttl: Annotated[
        float | None,
        typer.Option(
            "--ttl", metavar="SECONDS", help="A longer time from now on, never a shorter.", show_default=False
        ),
    ] = None,
) -> None:
    """Start the time of a lock anew.

    Exit code 1 when that id does not hold it.

    Example: mltbctl lock extend backup "$id" --ttl 120
    """
    from mltbctl.commands import lock as command

    session.ask(lambda client: command.extend(session, client, name, lock_id, ttl))


@LockGroup.add("show")
def lock_show(
    session: Session,
    name: _Name,
    stale: Stale = False,
) -> None:
    """Show who holds a lock, for how long still, and who waits.

    Exit code 1 when nobody holds it.
    """
    from mltbctl.commands import lock as command

    session.ask(lambda client: command.show(session, client, name, stale=stale))


@LockGroup.add("list")
def lock_list(
    session: Session,
    prefix: _Prefix = "",
    prefix_option: _PrefixOption = "",
    stale: Stale = False,
) -> None:
    """List the locks that are held."""
    from mltbctl.commands import lock as command

    session.ask(lambda client: command.list_(session, client, one_prefix(prefix, prefix_option), stale=stale))


@LockGroup.add("run")
def lock_run(
    session: Session,
    name: _Name,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What to run, after `--`.")],
    ttl: _Ttl = None,
    wait: _Wait = 0.0,
    delay: _Delay = None,
    holder: _Holder = "",
) -> None:
    """Run a command while a lock is held, and only then.

    The lock is extended while the command runs. Should it be lost, the command and all it started are dead
    before: SIGTERM some seconds ahead, then SIGKILL. What the command leaves running when it ends is killed
    too. It finds the fencing token in MLTB_LOCK_TOKEN and the name in MLTB_LOCK_NAME; SIGINT, SIGTERM and
    SIGHUP are passed on.

    Exit code: that of the command, 128+n for a signal; 1 not acquired, 5 lost, 126 and 127 not to be run.

    Example: mltbctl lock run backup --wait 60 -- restic backup /srv
    """
    from mltbctl.lock_run import run

    raise typer.Exit(run(session, name, command, ttl=ttl, wait=wait, delay=delay, holder=holder))
