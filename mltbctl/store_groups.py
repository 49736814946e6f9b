"""The nested groups `mltbctl lock` and `mltbctl state`."""

from __future__ import annotations

from typing import Annotated, ClassVar

import typer

from mltbctl.lazy import LazyGroup, Member, print_help, typer_group
from mltbctl.options import Output, Quiet, Timeout
from mltbctl.session import command_session


class LockGroup(LazyGroup):
    """The commands of `mltbctl lock`."""

    members: ClassVar[dict[str, Member]] = {}


class StateGroup(LazyGroup):
    """The commands of `mltbctl state`."""

    members: ClassVar[dict[str, Member]] = {}


lock = typer_group(
    LockGroup,
    "Locks that one holder at a time has, in the whole cluster.",
    "Most often: mltbctl lock run NAME -- COMMAND",
)
state = typer_group(StateGroup, "Key-values that every node holds; a write that succeeded is on disk at a majority.")


@lock.callback(invoke_without_command=True)
def _lock(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        print_help(ctx)


@state.callback(invoke_without_command=True)
def _state(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        print_help(ctx)


def _complete_lock(incomplete: str) -> list[str]:
    from mltbctl.completing import lock_names

    return lock_names(incomplete)


def _complete_key(incomplete: str) -> list[str]:
    from mltbctl.completing import key_names

    return key_names(incomplete)


_Name = Annotated[str, typer.Argument(metavar="NAME", help="The lock.", autocompletion=_complete_lock)]
_LockId = Annotated[str, typer.Argument(metavar="LOCK_ID", help="The id that `lock acquire` printed.")]
_Ttl = Annotated[float, typer.Option("--ttl", metavar="SECONDS", help="It ends by itself after this, unextended.")]
_Wait = Annotated[float, typer.Option("--wait", metavar="SECONDS", help="Stand in line so long for it.")]
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
_Key = Annotated[str, typer.Argument(metavar="KEY", help="The key.", autocompletion=_complete_key)]
_Value = Annotated[str, typer.Argument(metavar="VALUE", help="JSON when it parses, else text; - reads stdin.")]
_Stale = Annotated[bool, typer.Option("--stale", help="What this node has, without asking any other.")]
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
    typer.Option("--token", metavar="N", help="Only while the lock --lock has this fencing token.", show_default=False),
]
_GuardLock = Annotated[
    str,
    typer.Option(
        "--lock",
        metavar="NAME",
        envvar="MLTB_LOCK_NAME",
        help="The lock that --token is of.",
        autocompletion=_complete_lock,
        show_default=False,
        show_envvar=True,
    ),
]
_PrefixArgument = Annotated[str, typer.Argument(metavar="PREFIX", help="Only those that begin so.", show_default=False)]
_Prefix = Annotated[str, typer.Option("--prefix", metavar="TEXT", help="The same as PREFIX.", show_default=False)]


@LockGroup.add("acquire")
def lock_acquire(
    ctx: typer.Context,
    name: _Name,
    ttl: _Ttl = 30.0,
    wait: _Wait = 0.0,
    delay: _Delay = None,
    holder: _Holder = "",
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Get a lock; it stays yours for --ttl. Exit code 1 when somebody else holds it.

    Nobody extends it: use `lock extend`, or `lock run`, which does.

    Example: mltbctl lock acquire backup --ttl 60 --wait 10 -o json
    """
    from mltbctl.commands import lock as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        result = command.acquire(session, client, name, ttl=ttl, wait=wait, delay=delay, holder=holder)
        session.tell_endpoint(client)
    session.finish(result)


@LockGroup.add("release")
def lock_release(
    ctx: typer.Context,
    name: _Name,
    lock_id: _LockId,
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Give a lock back. Exit code 1 when that id did not hold it.

    Example: mltbctl lock release backup "$id"
    """
    from mltbctl.commands import lock as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        result = command.release(session, client, name, lock_id)
    session.finish(result)


@LockGroup.add("extend")
def lock_extend(
    ctx: typer.Context,
    name: _Name,
    lock_id: _LockId,
    ttl: Annotated[
        float | None,
        typer.Option("--ttl", metavar="SECONDS", help="Another time from now on.", show_default=False),
    ] = None,
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Start the time of a lock anew. Exit code 1 when that id does not hold it.

    Example: mltbctl lock extend backup "$id" --ttl 120
    """
    from mltbctl.commands import lock as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        result = command.extend(session, client, name, lock_id, ttl)
    session.finish(result)


@LockGroup.add("show")
def lock_show(
    ctx: typer.Context,
    name: _Name,
    stale: _Stale = False,
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Show who holds a lock, for how long still, and who waits. Exit code 1 when nobody holds it."""
    from mltbctl.commands import lock as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        result = command.show(session, client, name, stale=stale)
    session.finish(result)


@LockGroup.add("list")
def lock_list(
    ctx: typer.Context,
    prefix: _PrefixArgument = "",
    prefix_option: _Prefix = "",
    stale: _Stale = False,
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """List the locks that are held."""
    from mltbctl.commands import lock as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        result = command.list_(client, prefix or prefix_option, stale=stale)
    session.finish(result)


@LockGroup.add("run")
def lock_run(
    ctx: typer.Context,
    name: _Name,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What to run, after `--`.")],
    ttl: _Ttl = 30.0,
    wait: _Wait = 0.0,
    delay: _Delay = None,
    holder: _Holder = "",
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
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

    session = command_session(ctx, output, timeout, quiet)
    raise typer.Exit(run(session, name, command, ttl=ttl, wait=wait, delay=delay, holder=holder))


@StateGroup.add("get")
def state_get(
    ctx: typer.Context,
    key: _Key,
    stale: _Stale = False,
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Print the value of a key: text as it is, else JSON. Exit code 1 where there is none.

    Example: mltbctl state get config/limits -o json
    """
    from mltbctl.commands import state as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        result = command.get(session, client, key, stale=stale)
        session.tell_endpoint(client)
    session.finish(result)


@StateGroup.add("set")
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
    """Write a key. Exit code 1 when it has not the version of --if-version.

    Example: mltbctl state set config/limits '{"jobs": 4}'
    """
    from mltbctl.commands import state as command

    session = command_session(ctx, output, timeout, quiet)
    meant, depends = command.value_of(value), command.guard_of(token, guard)
    with session.client() as client:
        result = command.set_(session, client, key, meant, if_version, depends)
    session.finish(result)


@StateGroup.add("cas")
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
    """Write a key if it has this version: compare and swap. Exit code 1 when it has not.

    Example: mltbctl state cas counter 7 8
    """
    from mltbctl.commands import state as command

    session = command_session(ctx, output, timeout, quiet)
    meant, depends = command.value_of(value), command.guard_of(token, guard)
    with session.client() as client:
        result = command.set_(session, client, key, meant, version, depends)
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
    """Remove a key. Exit code 1 where there was none, or not in that version."""
    from mltbctl.commands import state as command

    session = command_session(ctx, output, timeout, quiet)
    depends = command.guard_of(token, guard)
    with session.client() as client:
        result = command.delete(session, client, key, if_version, depends)
    session.finish(result)


@StateGroup.add("list")
def state_list(
    ctx: typer.Context,
    prefix: _PrefixArgument = "",
    prefix_option: _Prefix = "",
    stale: _Stale = False,
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
        result = command.list_(client, prefix or prefix_option, stale=stale, limit=limit)
    session.finish(result)


@StateGroup.add("watch")
def state_watch(
    ctx: typer.Context,
    prefix: _PrefixArgument = "",
    prefix_option: _Prefix = "",
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
        command.watch(session, client, prefix or prefix_option, after, limit)
