"""The commands that look after a node: `service`, and what helps when something is wrong."""

from __future__ import annotations

from typing import Annotated

import typer

from mltbctl.lazy import LazyGroup, typer_group
from mltbctl.options import Yes, complete_node
from mltbctl.session import Session


class ServiceGroup(LazyGroup):
    """The commands of `mltbctl service`."""


service = typer_group(ServiceGroup, "Run this node under systemd: write, show and remove its unit.")


_User = Annotated[bool, typer.Option("--user", help="A unit of this user's own systemd, not of the system.")]
_RunAs = Annotated[
    str, typer.Option("--run-as", metavar="USER", help="Whose rights the node has. Default: root.", show_default=False)
]
_File = Annotated[
    str, typer.Option("--config", "-c", metavar="FILE", help="Configuration the unit names.", show_default=False)
]


@ServiceGroup.add("install")
def service_install(
    session: Session,
    user: _User = False,
    run_as: _RunAs = "",
    config_file: _File = "",
    now: Annotated[bool, typer.Option("--now", help="Enable and start it as well.")] = False,
) -> None:
    """Write the unit; `--now` starts it too.

    systemd restarts a node that hangs, and its stop waits until the workload is handed over.
    """
    from mltbctl.commands import service as command

    wish = command.Wish(user, run_as, config_file or session.settings.config)
    session.finish(command.install(session, wish, now=now))


@ServiceGroup.add("show")
def service_show(
    session: Session,
    user: _User = False,
    run_as: _RunAs = "",
    config_file: _File = "",
) -> None:
    """Print the unit, change nothing."""
    from mltbctl.commands import service as command

    session.finish(command.show(command.Wish(user, run_as, config_file or session.settings.config)))


@ServiceGroup.add("uninstall")
def service_uninstall(
    session: Session,
    user: _User = False,
    yes: Yes = False,
) -> None:
    """Stop the node and remove its unit.

    The workload is handed over first. State and configuration stay.
    """
    from mltbctl.commands import service as command

    session.finish(command.uninstall(command.Wish(user), yes=yes))


@ServiceGroup.add("reload")
def service_reload(session: Session) -> None:
    """Have a running node read its configuration anew.

    It takes over what it can; its log says what, and what needs a restart. The workload runs on.
    """
    from mltbctl.commands import service as command

    session.ask(lambda client: command.reload(client))


def doctor(
    session: Session,
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
) -> None:
    """Find out what is wrong, with a hint for each finding.

    Asks every node: who hears whom, round trips, clocks, event loops, disks, secrets, options that differ, and how
    many voters may still be lost. `mltbctl -v doctor` adds what each node has counted since its daemon started.
    """
    if pre:
        from mltbctl.commands.doctor_pre import pre as look

        session.finish(look(session.settings.config, strict=strict))
    from mltbctl.commands import doctor as command

    session.ask(lambda client: command.doctor(client, node, strict=strict, verbose=session.settings.verbose))


def reachability(session: Session) -> None:
    """Show which node hears which: rows hear columns.

    "by others": it hears of the node, but has no line to it. "no need": among many nodes each keeps lines to some.
    "keys": the other one has another secret. "?": nobody there could be asked.
    """
    from mltbctl.commands import reach as command

    session.ask(lambda client: command.reachability(client))


def rtt(session: Session) -> None:
    """Show the round trips between the nodes."""
    from mltbctl.commands import reach as command

    session.ask(lambda client: command.rtt(client))


def bundle(
    session: Session,
    file: Annotated[
        str, typer.Option("--file", metavar="FILE", help="Where to. Default: named by date.", show_default=False)
    ] = "",
) -> None:
    """Collect status, diagnosis, events and configuration in one file.

    Secrets are left out, and the file stays here: look through it before you send it to anybody.
    """
    from mltbctl.commands import bundle as command

    session.ask(lambda client: command.bundle(client, session.settings.config, file))
