"""The nested group `mltbctl state`."""

from __future__ import annotations

from typing import Annotated, ClassVar

import typer

from mltbctl.lazy import LazyGroup, Member, print_help, typer_group
from mltbctl.options import Output, Quiet, Stale, Timeout, complete_key, complete_lock, one_prefix
from mltbctl.session import command_session


class StateGroup(LazyGroup):
    """The commands of `mltbctl state`."""

    members: ClassVar[dict[str, Member]] = {}


state = typer_group(StateGroup, "Key-values that every node holds.", "What was written is on disk at a majority.")


@state.callback(invoke_without_command=True)
def _state(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        print_help(ctx)


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
    ctx: typer.Context,
    key: _Key,
    stale: Stale = False,
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Print the value of a key: text as it is, else JSON.

    Exit code 1 where there is no such key.

    Example: mltbctl state get config/limits -o json
    """
    from mltbctl.commands import state as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        result = command.get(session, client, key, stale=stale)
        session.tell_endpoint(client)
    session.finish(result)


@StateGroup.add("set", negative=True)
def state_set(
    ctx: typer.Context,
    key: _Key,
    value: _Value,
    if_version: _IfVersion = None,
    token: _Token = None,
    guard: _GuardLock = "",
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Write a key.

    Exit code 1 when it has not the version of --if-version.

    Example: mltbctl state set config/limits '{"jobs": 4}'
    """
    from mltbctl.commands import state as command

    session = command_session(ctx, output, timeout, quiet)
    meant = command.value_of(value)
    with session.client() as client:
        depends = command.guard_of(client, token, guard)
        result = command.set_(session, client, key, meant, if_version, depends)
        session.tell_endpoint(client)
    session.finish(result)


@StateGroup.add("cas", negative=True)
def state_cas(
    ctx: typer.Context,
    key: _Key,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=0, help="What it must have; 0: no such key.")],
    value: _Value,
    token: _Token = None,
    guard: _GuardLock = "",
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Write a key if it has this version: compare and swap.

    Exit code 1 when it has another.

    Example: mltbctl state cas counter 7 8
    """
    from mltbctl.commands import state as command

    session = command_session(ctx, output, timeout, quiet)
    meant = command.value_of(value)
    with session.client() as client:
        depends = command.guard_of(client, token, guard)
        result = command.set_(session, client, key, meant, version, depends)
        session.tell_endpoint(client)
    session.finish(result)


@StateGroup.add("delete")
def state_delete(
    ctx: typer.Context,
    key: _Key,
    if_version: _IfVersion = None,
    token: _Token = None,
    guard: _GuardLock = "",
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Remove a key.

    Exit code 1 where there was none, or not in that version.
    """
    from mltbctl.commands import state as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        depends = command.guard_of(client, token, guard)
        result = command.delete(session, client, key, if_version, depends)
        session.tell_endpoint(client)
    session.finish(result)


@StateGroup.add("list")
def state_list(
    ctx: typer.Context,
    prefix: _Prefix = "",
    prefix_option: _PrefixOption = "",
    stale: Stale = False,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Not more than so many.", show_default=False)
    ] = None,
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """List keys and values in the order of the keys."""
    from mltbctl.commands import state as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        result = command.list_(session, client, one_prefix(prefix, prefix_option), stale=stale, limit=limit)
        session.tell_endpoint(client)
    session.finish(result)


@StateGroup.add("watch")
def state_watch(
    ctx: typer.Context,
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
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Print every change as it happens, until Ctrl-C.

    Example: mltbctl state watch jobs/ -o jsonl
    """
    from mltbctl.commands import state as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        command.watch(session, client, one_prefix(prefix, prefix_option), after, limit)
