"""The nested group `mltbctl state`."""

from __future__ import annotations

from typing import Annotated

import typer

from mltbctl.lazy import LazyGroup, typer_group
from mltbctl.options import Stale, complete_key, complete_lock, one_prefix
from mltbctl.session import Session


class StateGroup(LazyGroup):
    """The commands of `mltbctl state`."""


state = typer_group(StateGroup, "Key-values that every node holds.", "What was written is on disk at a majority.")


_Key = Annotated[str, typer.Argument(metavar="KEY", help="The key.", autocompletion=complete_key)]
_Value = Annotated[
    str,
    typer.Argument(
        metavar="VALUE",
        help="JSON when it parses, else text; - reads stdin. After -- if it is text that begins with -.",
    ),
]
_IfVersion = Annotated[
    int | None,
    typer.Option(
        "--if-version",
        metavar="N",
        min=0,
        help="Only if the key has this version; 0: only if there is none.",
        show_default=False,
    ),
]
_Token = Annotated[
    int | None,
    typer.Option("--token", metavar="N", help="Only while a lock is held with this fencing token.", show_default=False),
]
_GuardLock = Annotated[
    str,
    typer.Option(
        "--lock",
        metavar="NAME",
        envvar="MLTB_LOCK_NAME",
        help="The lock that --token is of. Default: whichever is held with it.",
        autocompletion=complete_lock,
        show_default=False,
        show_envvar=True,
    ),
]
_Prefix = Annotated[
    str,
    typer.Argument(metavar="PREFIX", help="Only those that begin so.", autocompletion=complete_key, show_default=False),
]
_PrefixOption = Annotated[
    str,
    typer.Option(
        "--prefix", metavar="TEXT", help="The same as PREFIX.", autocompletion=complete_key, show_default=False
    ),
]


@StateGroup.add("get")
def state_get(
    session: Session,
    key: _Key,
    stale: Stale = False,
) -> None:
    """Print the value of a key: text as it is, else JSON.

    Exit code 1 where there is no such key.

    Example: mltbctl state get config/limits -o json
    """
    from mltbctl.commands import state as command

    session.ask(lambda client: command.get(session, client, key, stale=stale))


@StateGroup.add("set", negative=True)
def state_set(
    session: Session,
    key: _Key,
    value: _Value,
    if_version: _IfVersion = None,
    token: _Token = None,
    guard: _GuardLock = "",
) -> None:
    """Write a key.

    Exit code 1 when it has not the version of --if-version.

    Example: mltbctl state set config/limits '{"jobs": 4}'
    """
    from mltbctl.commands import state as command

    meant = command.value_of(value)
    session.ask(
        lambda client: command.set_(session, client, key, meant, if_version, command.guard_of(client, token, guard))
    )


@StateGroup.add("cas", negative=True)
def state_cas(
    session: Session,
    key: _Key,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=0, help="What it must have; 0: no such key.")],
    value: _Value,
    token: _Token = None,
    guard: _GuardLock = "",
) -> None:
    """Write a key if it has this version: compare and swap.

    Exit code 1 when it has another.

    Example: mltbctl state cas counter 7 8
    """
    from mltbctl.commands import state as command

    meant = command.value_of(value)
    session.ask(
        lambda client: command.set_(session, client, key, meant, version, command.guard_of(client, token, guard))
    )


@StateGroup.add("delete")
def state_delete(
    session: Session,
    key: _Key,
    if_version: _IfVersion = None,
    token: _Token = None,
    guard: _GuardLock = "",
) -> None:
    """Remove a key.

    Exit code 1 where there was none, or not in that version.
    """
    from mltbctl.commands import state as command

    session.ask(lambda client: command.delete(session, client, key, if_version, command.guard_of(client, token, guard)))


@StateGroup.add("list")
def state_list(
    session: Session,
    prefix: _Prefix = "",
    prefix_option: _PrefixOption = "",
    stale: Stale = False,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Not more than so many.", show_default=False)
    ] = None,
) -> None:
    """List keys and values in the order of the keys."""
    from mltbctl.commands import state as command

    session.ask(
        lambda client: command.list_(session, client, one_prefix(prefix, prefix_option), stale=stale, limit=limit)
    )


@StateGroup.add("watch")
def state_watch(
    session: Session,
    prefix: _Prefix = "",
    prefix_option: _PrefixOption = "",
    after: Annotated[
        int | None,
        typer.Option(
            "--after", metavar="REVISION", min=0, help="Begin after this one. Default: now.", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="End after so many.", show_default=False)
    ] = None,
) -> None:
    """Print every change as it happens, until Ctrl-C.

    Example: mltbctl state watch jobs/ -o jsonl
    """
    from mltbctl.commands import state as command

    with session.client() as client:
        command.watch(session, client, one_prefix(prefix, prefix_option), after, limit)
