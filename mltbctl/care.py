"""The commands that look after a node: `service`, and what helps when something is wrong."""

from __future__ import annotations

from typing import Annotated, ClassVar

import typer

from mltbctl.lazy import LazyGroup, Member, print_help, typer_group
from mltbctl.options import Output, Quiet, Timeout, Yes, complete_node
from mltbctl.session import command_session


class ServiceGroup(LazyGroup):
    """The commands of `mltbctl service`."""

    members: ClassVar[dict[str, Member]] = {}


service = typer_group(ServiceGroup, "Run this node under systemd: write, show and remove its unit.")


@service.callback(invoke_without_command=True)
def _service(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        print_help(ctx)


_User = Annotated[bool, typer.Option("--user", help="A unit of this user's own systemd, not of the system.")]
_RunAs = Annotated[
    str, typer.Option("--run-as", metavar="USER", help="Whose rights the node has. Default: root.", show_default=False)
]
_File = Annotated[
    str, typer.Option("--config", "-c", metavar="FILE", help="Configuration the unit names.", show_default=False)
]


@ServiceGroup.add("install")
def service_install(
    ctx: typer.Context,
    user: _User = False,
    run_as: _RunAs = "",
    config_file: _File = "",
    now: Annotated[bool, typer.Option("--now", help="Enable and start it as well.")] = False,
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Write the unit; `--now` starts it too.

    systemd restarts a node that hangs, and its stop waits until the workload is handed over.
    """
    from mltbctl.commands import service as command

    session = command_session(ctx, output, timeout, quiet)
    wish = command.Wish(user, run_as, config_file or session.settings.config)
    session.finish(command.install(session, wish, now=now))


@ServiceGroup.add("show")
def service_show(
    ctx: typer.Context,
    user: _User = False,
    run_as: _RunAs = "",
    config_file: _File = "",
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Print the unit, change nothing."""
    from mltbctl.commands import service as command

    session = command_session(ctx, output, timeout, quiet)
    session.finish(command.show(command.Wish(user, run_as, config_file or session.settings.config)))


@ServiceGroup.add("uninstall")
def service_uninstall(
    ctx: typer.Context,
    user: _User = False,
    yes: Yes = False,
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Stop the node and remove its unit.

    The workload is handed over first. State and configuration stay.
    """
    from mltbctl.commands import service as command

    session = command_session(ctx, output, timeout, quiet)
    session.finish(command.uninstall(command.Wish(user), yes=yes))


@ServiceGroup.add("reload")
def service_reload(ctx: typer.Context, output: Output = "", timeout: Timeout = None, quiet: Quiet = False) -> None:
    """Have a running node read its configuration anew.

    It takes over what it can; its log says what, and what needs a restart. The workload runs on.
    """
    from mltbctl.commands import service as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        session.finish(command.reload(client))


def doctor(
    ctx: typer.Context,
    node: Annotated[
        str | None,
        typer.Argument(
            metavar="NODE",
            help="Only what concerns this node. Default: all.",
            autocompletion=complete_node,
            show_default=False,
        ),
    ] = None,
    pre: Annotated[bool, typer.Option("--pre", help="Before the first start: asks this machine, no daemon.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 8 when there is a problem or a warning.")] = False,
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Find out what is wrong, with a hint for each finding.

    Asks every node: who hears whom, round trips, clocks, event loops, disks, secrets, options that differ, and how
    many voters may still be lost.
    """
    session = command_session(ctx, output, timeout, quiet)
    if pre:
        from mltbctl.commands.doctor_pre import pre as look

        session.finish(look(session.settings.config, strict=strict))
    from mltbctl.commands import doctor as command

    with session.client() as client:
        result = command.doctor(client, node, strict=strict)
        session.tell_endpoint(client)
    session.finish(result)


def reachability(ctx: typer.Context, output: Output = "", timeout: Timeout = None, quiet: Quiet = False) -> None:
    """Show which node hears which: rows hear columns.

    "by others": it hears of the node, but has no line to it. "no need": among many nodes each keeps lines to some.
    "keys": the other one has another secret. "?": nobody there could be asked.
    """
    from mltbctl.commands import reach as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        session.finish(command.reachability(client))


def rtt(ctx: typer.Context, output: Output = "", timeout: Timeout = None, quiet: Quiet = False) -> None:
    """Show the round trips between the nodes."""
    from mltbctl.commands import reach as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        session.finish(command.rtt(client))


def bundle(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Option("--file", metavar="FILE", help="Where to. Default: named by date.", show_default=False)
    ] = "",
    output: Output = "",
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Collect status, diagnosis, events and configuration in one file.

    Secrets are left out, and the file stays here: look through it before you send it to anybody.
    """
    from mltbctl.commands import bundle as command

    session = command_session(ctx, output, timeout, quiet)
    with session.client() as client:
        session.finish(command.bundle(client, session.settings.config, file))
