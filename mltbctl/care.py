"""The commands that look after a node: `service`, and what helps when something is wrong."""

from __future__ import annotations

from typing import Annotated, ClassVar

import typer

from mltbctl.lazy import LazyGroup, Member, print_help, typer_group
from mltbctl.options import Output, Quiet, Timeout, Yes
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
