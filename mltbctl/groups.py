"""The nested groups `mltbctl config` and `mltbctl secret`. Only `secret rotate` asks a daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from mltbctl.errors import CliError
from mltbctl.lazy import LazyGroup, typer_group
from mltbctl.session import Session


class ConfigGroup(LazyGroup):
    """The commands of `mltbctl config`."""


class SecretGroup(LazyGroup):
    """The commands of `mltbctl secret`."""


config = typer_group(ConfigGroup, "Check, show and write the configuration of a node.")
secret = typer_group(SecretGroup, "Make, show or change the cluster's secret; keys for others.")


_Preset = Annotated[str, typer.Option("--preset", metavar="NAME", help="Start from this preset.", show_default=False)]
_File = Annotated[str, typer.Option("--config", "-c", metavar="FILE", help="Configuration file.", show_default=False)]
_Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set an option; repeatable.", show_default=False),
]


@ConfigGroup.add("validate")
def config_validate(
    session: Session,
    preset: _Preset = "",
    config_file: _File = "",
    sets: _Set = None,
) -> None:
    """Check a configuration.

    Exit code 0 when it is valid, warnings allowed; 2 when it is not.
    """
    from mltbctl.commands import config as command

    session.finish(command.validate(preset or None, config_file or session.settings.config, sets or []))


@ConfigGroup.add("show")
def config_show(
    session: Session,
    effective: Annotated[bool, typer.Option("--effective", help="Every option, not only those that were set.")] = False,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value comes from.")] = False,
    preset: _Preset = "",
    config_file: _File = "",
    sets: _Set = None,
) -> None:
    """Show the configuration as a node would read it.

    Secrets stay hidden.
    """
    from mltbctl.commands import config as command

    named = config_file or session.settings.config
    session.finish(command.show(preset or None, named, sets or [], effective=effective, origin=origin))


@ConfigGroup.add("init")
def config_init(
    session: Session,
    preset: _Preset = "",
) -> None:
    """Print a commented configuration file of a preset to start from."""
    from mltbctl.commands import config as command

    session.finish(command.init(preset or None))


@ConfigGroup.add("presets")
def config_presets(session: Session) -> None:
    """List the presets and what each is for."""
    from mltbctl.commands import config as command

    session.finish(command.presets())


@SecretGroup.add("new")
def secret_new(session: Session) -> None:
    """Make a secret for a new cluster; every node needs the same one."""
    from mltbctl.commands import secret as command

    result = command.new()
    session.say(command.NEW_HINT)
    session.finish(result)


@SecretGroup.add("show")
def secret_show(
    session: Session,
    reveal: Annotated[bool, typer.Option("--reveal", help="Print the secret itself.")] = False,
    viewer: Annotated[bool, typer.Option("--viewer", help="Print a key that may look, and change nothing.")] = False,
    admin: Annotated[bool, typer.Option("--admin", help="Print a key for `mltbctl` alone, not for a node.")] = False,
) -> None:
    """Tell where the secret comes from; or print a key for others.

    A viewer or admin key takes the secret's place in CLUSTER_SECRET on a machine that runs `mltbctl` and no node.
    """
    from mltbctl.commands import secret as command

    if reveal + viewer + admin > 1:
        raise CliError("only one of `--reveal`, `--viewer` and `--admin` at a time", code="usage")
    if viewer or admin:
        session.finish(command.key(session.settings.config, "viewer" if viewer else "admin"))
    session.finish(command.show(session.settings.config, reveal=reveal))


@SecretGroup.add("rotate")
def secret_rotate(
    session: Session,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="NODE", help="Do not wait for this node; repeatable.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which step is next and who is not ready.")] = False,
) -> None:
    """Change the secret without a pause: the next of three steps.

    Each step is taken here, copied to the other nodes, and checked on all of them before the next one. Workloads
    run on.
    """
    from mltbctl.commands import rotate as command

    session.finish(command.rotate(session, session.settings.config, without or (), dry_run=dry_run))
